package web_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/leastwise/leastwise/console/web"
)

var built = fstest.MapFS{
	"index.html":               {Data: []byte("<!doctype html><title>Leastwise</title>")},
	"icon.svg":                 {Data: []byte("<svg/>")},
	"assets/index-BL6aA.js":    {Data: []byte("short hash")},
	"assets/index-BL6aAipK.js": {Data: bytes.Repeat([]byte("let a = 1;\n"), 1000)},
	".keep":                    {Data: []byte("secret")},
}

func ask(t *testing.T, h http.Handler, path string, head map[string]string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for name, value := range head {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestEveryViewsPathGivesTheOnePage(t *testing.T) {
	h := web.Handler(built)
	for _, path := range []string{"/", "/fleet", "/credential", "/policy", "/index.html", "/../fleet"} {
		r := ask(t, h, path, nil)
		if r.StatusCode != http.StatusOK || !strings.Contains(body(t, r), "<title>Leastwise") || r.Header.Get("Cache-Control") != "no-cache" {
			t.Errorf("%s: %d %v", path, r.StatusCode, r.Header)
		}
	}
	for _, path := range []string{"/assets/gone-12345678.js", "/.keep", "/robots.txt"} {
		if r := ask(t, h, path, nil); strings.Contains(body(t, r), "secret") || path != "/.keep" && r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", path, r.StatusCode)
		}
	}
}

func TestHashedFilesAreKeptAndSentSmall(t *testing.T) {
	h := web.Handler(built)
	r := ask(t, h, "/assets/index-BL6aAipK.js", map[string]string{"Accept-Encoding": "gzip"})
	if r.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" || r.Header.Get("Content-Encoding") != "gzip" ||
		!strings.HasPrefix(r.Header.Get("Content-Type"), "text/javascript") {
		t.Errorf("%v", r.Header)
	}
	z, err := gzip.NewReader(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := io.ReadAll(z); err != nil || !bytes.Equal(raw, built["assets/index-BL6aAipK.js"].Data) {
		t.Errorf("%d bytes, %v", len(raw), err)
	}
	if r := ask(t, h, "/assets/index-BL6aAipK.js", nil); r.Header.Get("Content-Encoding") != "" || len(body(t, r)) != 11000 {
		t.Error("who takes no gzip gets it")
	}
	if r := ask(t, h, "/assets/index-BL6aA.js", nil); strings.Contains(r.Header.Get("Cache-Control"), "immutable") {
		t.Error("a name without a hash is kept for ever")
	}
	if r := ask(t, h, "/icon.svg", map[string]string{"If-None-Match": ask(t, h, "/icon.svg", nil).Header.Get("ETag")}); r.StatusCode != http.StatusNotModified {
		t.Errorf("the same icon again: %d", r.StatusCode)
	}
}

func TestWithoutAPageItSaysHowToBuildIt(t *testing.T) {
	r := ask(t, web.Handler(fstest.MapFS{".keep": {}}), "/fleet", nil)
	if text := body(t, r); r.StatusCode != http.StatusServiceUnavailable || !strings.Contains(text, "make page") {
		t.Errorf("%d %s", r.StatusCode, text)
	}
}
