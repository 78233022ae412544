package chdb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// maxQuery bounds a query's text, with inline data, that comes in the body.
const maxQuery = 256 << 20

// notSettings are the parameters of the protocol itself.
var notSettings = map[string]bool{
	"query": true, "database": true, "default_format": true, "query_id": true, "quota_key": true,
	"user": true, "password": true, "role": true, "client_protocol_version": true,
	"compress": true, "decompress": true, "enable_http_compression": true, "http_zlib_compression_level": true,
	"network_compression_method": true, "network_zstd_compression_level": true,
	"wait_end_of_query": true, "buffer_size": true, "send_progress_in_http_headers": true,
	"http_headers_progress_interval_ms": true, "add_http_cors_header": true, "stacktrace": true,
	"session_id": true, "session_timeout": true, "session_check": true, "close_session": true,
}

// Handler speaks ClickHouse's HTTP protocol with all rights: for this process.
func (e *Engine) Handler() http.Handler { return &handler{e: e} }

// ReadOnly speaks the same, and refuses everything that writes, and the table
// functions that read files or the network.
func (e *Engine) ReadOnly() http.Handler { return &handler{e: e, readonly: true} }

type handler struct {
	e        *Engine
	readonly bool
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/ping", "/replicas_status":
		_, _ = io.WriteString(w, "Ok.\n")
		return
	case "", "/", "/query":
	default:
		http.Error(w, "There is no handle "+r.URL.Path+"; queries go to /", http.StatusNotFound)
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		http.Error(w, "GET or POST", http.StatusMethodNotAllowed)
		return
	}
	req, err := h.request(r)
	if err != nil {
		writeError(w, err)
		return
	}
	res, err := h.e.do(r.Context(), req)
	if err != nil {
		writeError(w, err)
		return
	}
	format := req.stmt.format
	if format == "" || req.stmt.insert {
		format = req.format
	}
	if strings.EqualFold(format, "Native") {
		revision, _ := strconv.ParseUint(r.URL.Query().Get("client_protocol_version"), 10, 64)
		if res.data, err = upgradeNative(res.data, revision); err != nil {
			writeError(w, err)
			return
		}
	}
	writeResult(w, r, res, format)
}

// request reads what the protocol says about one statement.
func (h *handler) request(r *http.Request) (request, error) {
	q := r.URL.Query()
	if ct, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); ct == "multipart/form-data" {
		return request{}, engineError("Code: 48. DB::Exception: external tables are not supported by the embedded engine. (NOT_IMPLEMENTED)")
	}
	if q.Get("session_id") != "" {
		return request{}, engineError("Code: 48. DB::Exception: sessions are not supported by the embedded engine. (NOT_IMPLEMENTED)")
	}
	req := request{
		database: firstOf(q.Get("database"), r.Header.Get("X-ClickHouse-Database")),
		format:   firstOf(q.Get("default_format"), r.Header.Get("X-ClickHouse-Format"), "TabSeparated"),
		settings: map[string]string{},
		params:   map[string]string{},
		readonly: h.readonly || r.Method != http.MethodPost, // as the server does for GET
	}
	for k, v := range q {
		value := v[len(v)-1]
		switch {
		case strings.HasPrefix(k, "param_"):
			req.params[strings.TrimPrefix(k, "param_")] = value
		case !notSettings[k]:
			req.settings[k] = value
		}
	}
	body, err := decompress(r, q.Get("decompress") == "1")
	if err != nil {
		return request{}, err
	}
	if err := req.text(q, body); err != nil {
		return request{}, err
	}
	return req, nil
}

// text finds the query: the parameter followed by the body, where the body of
// an insert is streamed.
func (req *request) text(q url.Values, body io.Reader) error {
	text := q.Get("query")
	if text != "" {
		if req.stmt = parse(text, body != nil); req.stmt.insert {
			req.data = body
			return nil
		}
		text += "\n"
	}
	if body != nil {
		raw, err := io.ReadAll(io.LimitReader(body, maxQuery+1))
		if err != nil {
			return fmt.Errorf("read the query: %w", err)
		}
		if len(raw) > maxQuery {
			return engineError("Code: 62. DB::Exception: the query is too large: give it in the parameter and its data in the body. (SYNTAX_ERROR)")
		}
		text += string(raw)
	}
	if req.stmt = parse(text, false); req.stmt.many {
		return engineError("Code: 62. DB::Exception: Syntax error: multi-statements are not allowed. (SYNTAX_ERROR)")
	}
	if strings.TrimSpace(text) == "" {
		return engineError("Code: 62. DB::Exception: Syntax error: empty query. (SYNTAX_ERROR)")
	}
	return nil
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

var contentTypes = []struct{ prefix, contentType string }{
	{"JSONEachRow", "application/x-ndjson; charset=UTF-8"},
	{"JSON", "application/json; charset=UTF-8"},
	{"CSV", "text/csv; charset=UTF-8; header=absent"},
	{"TSV", "text/tab-separated-values; charset=UTF-8"},
	{"TabSeparated", "text/tab-separated-values; charset=UTF-8"},
	{"Pretty", "text/plain; charset=UTF-8"},
	{"Vertical", "text/plain; charset=UTF-8"},
	{"Markdown", "text/markdown; charset=UTF-8"},
}

func contentType(format string) string {
	for _, ct := range contentTypes {
		if strings.HasPrefix(strings.ToLower(format), strings.ToLower(ct.prefix)) {
			return ct.contentType
		}
	}
	return "application/octet-stream"
}

func writeResult(w http.ResponseWriter, r *http.Request, res result, format string) {
	head := w.Header()
	head.Set("Content-Type", contentType(format))
	head.Set("X-ClickHouse-Format", format)
	head.Set("X-ClickHouse-Server-Display-Name", "leastwise")
	head.Set("X-ClickHouse-Summary", fmt.Sprintf(
		`{"read_rows":"%d","read_bytes":"%d","written_rows":"%d","written_bytes":"%d","elapsed_ns":"%d"}`,
		res.rowsRead, res.bytesRead, res.rowsWritten, res.byteCount, int64(res.elapsed*1e9)))
	if id := r.URL.Query().Get("query_id"); id != "" {
		head.Set("X-ClickHouse-Query-Id", id)
	}
	body := compressResult(head, r, res.data)
	head.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

var errorCode = regexp.MustCompile(`Code: (\d+)\.`)

// writeError answers with the engine's own text, its code in the header, and
// the status the server would use.
func writeError(w http.ResponseWriter, err error) {
	var own engineError
	code, text := 0, err.Error()
	switch {
	case errors.As(err, &own):
		if m := errorCode.FindStringSubmatch(text); m != nil {
			code, _ = strconv.Atoi(m[1])
		}
	case errors.Is(err, ErrClosed):
		code, text = 210, "Code: 210. DB::Exception: "+text+" (NETWORK_ERROR)"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		code, text = 394, "Code: 394. DB::Exception: Query was cancelled. (QUERY_WAS_CANCELLED)"
	default:
		code, text = 1000, "Code: 1000. DB::Exception: "+text+" (POCO_EXCEPTION)"
	}
	w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
	w.Header().Set("X-ClickHouse-Exception-Code", strconv.Itoa(code))
	w.WriteHeader(status(code))
	_, _ = io.WriteString(w, strings.TrimRight(text, "\n")+"\n")
}

// status follows the server's table, shortened to the codes that a client can
// bring about here.
func status(code int) int {
	switch code {
	case 164, 291, 344, 497: // READONLY, DATABASE_ACCESS_DENIED, SUPPORT_IS_DISABLED, ACCESS_DENIED
		return http.StatusForbidden
	case 6, 26, 27, 36, 38, 41, 42, 43, 53, 62, 72, 117, 386, 440, 456, 457: // CANNOT_PARSE_*, BAD_ARGUMENTS, TYPE_MISMATCH, SYNTAX_ERROR, …
		return http.StatusBadRequest
	case 16, 46, 47, 50, 56, 60, 63, 73, 81, 107, 115: // UNKNOWN_* and NO_SUCH_COLUMN_IN_TABLE
		return http.StatusNotFound
	case 48:
		return http.StatusNotImplemented
	case 159:
		return http.StatusRequestTimeout
	case 394, 210:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
