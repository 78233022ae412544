package certlog

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// client asks a log. What it returns is not verified, but for the signature of a head.
type client interface {
	head(ctx context.Context) (Head, error)
	// entries gives at least one of the entries from..to-1, from the first one on without gaps.
	entries(ctx context.Context, from, to uint64, in Head) ([]entry, error)
	// consistency proves that the tree of first entries continues to that of second.
	consistency(ctx context.Context, first, second uint64) ([][]byte, error)
	// inclusion proves that a leaf stands at index in the tree of size entries.
	inclusion(ctx context.Context, index uint64, leafHash []byte, size uint64) ([][]byte, error)
}

// entry is one entry as get-entries gives it.
type entry struct{ leaf, extra []byte }

// errWithheld says that a log does not give what it must have, since it signed for it.
var errWithheld = errors.New("the log does not give what its signed tree head promises")

const (
	// maxBody holds the largest entry that RFC 6962 allows, in base64.
	maxBody = 96 << 20
	// maxSmall holds every answer that is neither entries nor tiles.
	maxSmall = 1 << 20
	timeout  = time.Minute
)

// statusError is an answer other than 200.
type statusError struct {
	path  string
	code  int
	after time.Duration // that the log asks to wait
}

func (e *statusError) Error() string {
	return fmt.Sprintf("GET %s: the log answers %d %s", e.path, e.code, http.StatusText(e.code))
}

// refused is whether the log will not answer, rather than can not now.
func (e *statusError) refused() bool {
	switch e.code {
	case http.StatusUnauthorized, http.StatusProxyAuthRequired, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return e.code >= 400 && e.code < 500
}

// withheld wraps errors of an answer that the log owes.
func withheld(err error) error {
	var status *statusError
	if errors.As(err, &status) && status.refused() || errors.Is(err, errUnreadable) {
		return fmt.Errorf("%w: %w", errWithheld, err)
	}
	return err
}

// errUnreadable says that an answer is not what the protocol says.
var errUnreadable = errors.New("the answer can not be read")

// getter does HTTP for both kinds of logs.
type getter struct {
	base string
	http *http.Client
}

func newGetter(cfg LogConfig) (*getter, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true // done here: static-ct logs may send gzip whether it was asked for or not
	transport.ResponseHeaderTimeout = timeout / 2
	if cfg.CAFile != "" {
		text, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("ca_file: %s holds no certificate in PEM", cfg.CAFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &getter{base: strings.TrimRight(cfg.URL, "/"), http: &http.Client{Transport: transport, Timeout: timeout}}, nil
}

// get gives the body of base/path?query, unpacked, of at most limit bytes.
func (g *getter) get(ctx context.Context, path string, query url.Values, limit int64) ([]byte, error) {
	at := g.base + "/" + path
	if len(query) > 0 {
		at += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", path, err)
	}
	req.Header.Set("Accept-Encoding", "gzip, identity")
	req.Header.Set("User-Agent", "leastwise-certlog")
	resp, err := g.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", path, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return nil, &statusError{path: path, code: resp.StatusCode, after: min(max(time.Duration(seconds), 0), 3600) * time.Second}
	}
	var body io.Reader = resp.Body
	if strings.EqualFold(resp.Header.Get("Content-Encoding"), "gzip") {
		unzip, err := gzip.NewReader(io.LimitReader(resp.Body, limit))
		if err != nil {
			return nil, fmt.Errorf("GET %s: %w as gzip", path, errUnreadable)
		}
		body = unzip
	}
	text, err := io.ReadAll(io.LimitReader(body, limit+1))
	if errors.Is(err, gzip.ErrChecksum) || errors.Is(err, gzip.ErrHeader) {
		return nil, fmt.Errorf("GET %s: %w as gzip", path, errUnreadable)
	}
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", path, err)
	}
	if int64(len(text)) > limit {
		return nil, fmt.Errorf("GET %s: %w: it is longer than %d bytes", path, errUnreadable, limit)
	}
	return text, nil
}
