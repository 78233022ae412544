package chdb

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/ClickHouse/ch-go/compress"
	chproto "github.com/ClickHouse/ch-go/proto"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// decompress undoes Content-Encoding, and with blocks ClickHouse's own framing
// (decompress=1). It returns nil when there is no body.
func decompress(r *http.Request, blocks bool) (io.Reader, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	var body io.Reader = r.Body
	switch enc := r.Header.Get("Content-Encoding"); enc {
	case "", "identity":
	case "gzip":
		// Deferred: the header is read with the first byte.
		body = &lazy{open: func() (io.Reader, error) { return gzip.NewReader(r.Body) }}
	case "deflate":
		body = &lazy{open: func() (io.Reader, error) { return zlib.NewReader(r.Body) }}
	case "zstd":
		body = &lazy{open: func() (io.Reader, error) {
			return zstd.NewReader(r.Body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
		}}
	case "lz4":
		body = lz4.NewReader(r.Body)
	default:
		return nil, engineError(fmt.Sprintf("Code: 117. DB::Exception: Content-Encoding %q is not one of gzip, deflate, zstd, lz4. (INCORRECT_DATA)", enc))
	}
	if blocks {
		cr := chproto.NewReader(body)
		cr.EnableCompression()
		body = blockReader{cr}
	}
	return body, nil
}

// blockReader gives the end of the data as io.EOF: the library wraps it. An end
// inside a block is io.ErrUnexpectedEOF there and stays so.
type blockReader struct{ *chproto.Reader }

func (r blockReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = io.EOF
	}
	return n, err
}

// lazy opens a reader at the first Read, so that an error of a bad header comes
// where errors of the data come.
type lazy struct {
	open func() (io.Reader, error)
	r    io.Reader
}

func (l *lazy) Read(p []byte) (int, error) {
	if l.r == nil {
		r, err := l.open()
		if err != nil {
			return 0, err
		}
		l.r = r
	}
	return l.r.Read(p)
}

// compressResult answers compress=1 with ClickHouse's framing, and
// enable_http_compression=1 with the best of what the client accepts.
func compressResult(head http.Header, r *http.Request, data []byte) []byte {
	q := r.URL.Query()
	if len(data) == 0 {
		return data
	}
	if q.Get("compress") == "1" {
		method := compress.LZ4
		if strings.EqualFold(q.Get("network_compression_method"), "ZSTD") {
			method = compress.ZSTD
		}
		return frame(data, method)
	}
	if q.Get("enable_http_compression") != "1" {
		return data
	}
	var out bytes.Buffer
	accept := r.Header.Get("Accept-Encoding")
	switch {
	case strings.Contains(accept, "zstd"):
		enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
		if err != nil {
			return data
		}
		defer enc.Close()
		head.Set("Content-Encoding", "zstd")
		return enc.EncodeAll(data, nil)
	case strings.Contains(accept, "gzip"):
		gz := gzip.NewWriter(&out)
		_, _ = gz.Write(data)
		_ = gz.Close()
		head.Set("Content-Encoding", "gzip")
		return out.Bytes()
	}
	return data
}

func frame(data []byte, method compress.Method) []byte {
	const block = 1 << 20
	w := compress.NewWriter(compress.LevelZero, method)
	var out []byte
	for len(data) > 0 {
		n := min(block, len(data))
		if err := w.Compress(data[:n]); err != nil {
			return out // the client sees a result that breaks off, as an error
		}
		out = append(out, w.Data...)
		data = data[n:]
	}
	return out
}
