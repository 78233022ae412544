package agentusage

import (
	"compress/gzip"
	"errors"
	"io"
	"mime"
	"net/http"

	"github.com/valyala/fastjson"
	logs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	traces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

// handler takes OTLP over HTTP, as protobuf and as JSON: POST /v1/traces and /v1/logs.
func (r *receiver) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", func(w http.ResponseWriter, request *http.Request) {
		r.receive(w, request, func(body []byte) ([][]byte, error) {
			var export traces.ExportTraceServiceRequest
			if err := proto.Unmarshal(body, &export); err != nil {
				return nil, err
			}
			return spanRecords(&export), nil
		})
	})
	mux.HandleFunc("POST /v1/logs", func(w http.ResponseWriter, request *http.Request) {
		r.receive(w, request, func(body []byte) ([][]byte, error) {
			var export logs.ExportLogsServiceRequest
			if err := proto.Unmarshal(body, &export); err != nil {
				return nil, err
			}
			return logRecords(&export), nil
		})
	})
	return mux
}

func (r *receiver) receive(w http.ResponseWriter, request *http.Request, read func([]byte) ([][]byte, error)) {
	if !r.permitted(request.Header.Get("Authorization")) {
		http.Error(w, "give the collector's token as authorization: Bearer TOKEN", http.StatusUnauthorized)
		return
	}
	body, status := r.body(request)
	if status != 0 {
		http.Error(w, http.StatusText(status), status)
		return
	}
	kind, _, _ := mime.ParseMediaType(request.Header.Get("Content-Type"))
	var answer []byte
	switch kind {
	case "application/x-protobuf":
	case "application/json":
		read, answer = jsonRecords, []byte("{}")
	default:
		http.Error(w, "want application/x-protobuf or application/json", http.StatusUnsupportedMediaType)
		return
	}
	records, err := read(body)
	if err != nil { // whose text may quote the body
		http.Error(w, "the export can not be read", http.StatusBadRequest)
		return
	}
	if err := r.publish(request.Context(), records); err != nil {
		w.Header().Set("Retry-After", "1")
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(answer) // a sender that has gone sends again
}

// body reads a request's body, unpacked, up to the limit; status is 0 if all went well.
func (r *receiver) body(request *http.Request) (body []byte, status int) {
	from := io.Reader(http.MaxBytesReader(nil, request.Body, int64(r.cfg.MaxExportBytes)))
	switch request.Header.Get("Content-Encoding") {
	case "", "identity":
	case "gzip":
		unzip, err := gzip.NewReader(from)
		if err != nil {
			return nil, http.StatusBadRequest
		}
		from = unzip
	default:
		return nil, http.StatusUnsupportedMediaType
	}
	body, err := io.ReadAll(io.LimitReader(from, int64(r.cfg.MaxExportBytes)+1))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large), len(body) > r.cfg.MaxExportBytes:
		return nil, http.StatusRequestEntityTooLarge
	case err != nil:
		return nil, http.StatusBadRequest
	}
	return body, 0
}

var errNotOTLP = errors.New("the body is no export of spans or logs")

// jsonRecords gives an export's records in the normal form.
func jsonRecords(body []byte) ([][]byte, error) {
	parser := parsers.Get()
	defer parsers.Put(parser)
	root, err := parser.ParseBytes(body)
	if err != nil || root.Type() != fastjson.TypeObject {
		return nil, errNotOTLP
	}
	var records [][]byte
	eachJSON(root, func(u usage) { records = append(records, u.marshal()) })
	return records, nil
}
