// Package web serves the page: what `make page` built into dist, embedded. Files whose names carry a hash are kept by
// browsers for ever, everything else is asked for again; the path of every view gives the one index.html.
package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"regexp"
	"strings"
)

//go:embed all:dist
var dist embed.FS

// Built is the page as it was embedded.
func Built() fs.FS {
	sub, err := fs.Sub(dist, "dist")
	if err != nil {
		return dist // the folder is embedded
	}
	return sub
}

// hashed are names that change with their content, as Vite gives them: name-HASH.ext below assets.
var hashed = regexp.MustCompile(`^assets/.*-[A-Za-z0-9_-]{8,}\.[a-z0-9]+$`)

const notBuilt = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<title>Leastwise</title></head><body><main><h1>The page is not built into this binary</h1>
<p>Run <code>make page</code>, then <code>make build</code>, and start it again. The API answers under <code>/v1</code> meanwhile.</p></main></body></html>
`

type file struct {
	body, zipped []byte
	kind, tag    string
	immutable    bool
}

// Handler serves the files of a built page. Each is read once, and what becomes smaller is also kept compressed.
func Handler(built fs.FS) http.Handler {
	files := map[string]*file{}
	_ = fs.WalkDir(built, ".", func(name string, entry fs.DirEntry, err error) error { // a folder that is not there is no page
		if err != nil || entry.IsDir() || strings.HasPrefix(path.Base(name), ".") {
			return nil
		}
		if body, err := fs.ReadFile(built, name); err == nil {
			files[name] = made(name, body)
		}
		return nil
	})
	index := files["index.html"]
	status := http.StatusOK
	if index == nil {
		index, status = made("index.html", []byte(notBuilt)), http.StatusServiceUnavailable
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "this is a page: GET it", http.StatusMethodNotAllowed)
			return
		}
		name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
		if f := files[name]; f != nil && name != "index.html" {
			f.serve(w, r, http.StatusOK)
			return
		}
		if strings.HasPrefix(name, "assets/") || path.Ext(name) != "" && path.Ext(name) != ".html" {
			http.Error(w, "no such file in this version: reload the page", http.StatusNotFound)
			return
		}
		index.serve(w, r, status)
	})
}

func made(name string, body []byte) *file {
	kind := mime.TypeByExtension(path.Ext(name))
	if kind == "" {
		kind = "application/octet-stream"
	}
	sum := sha256.Sum256(body)
	f := &file{body: body, kind: kind, tag: `"` + hex.EncodeToString(sum[:12]) + `"`, immutable: hashed.MatchString(name)}
	if len(body) > 1000 {
		var out bytes.Buffer
		z, _ := gzip.NewWriterLevel(&out, gzip.BestCompression) // the level is valid
		_, _ = z.Write(body)                                    // memory takes all
		_ = z.Close()
		if out.Len() < len(body)*9/10 {
			f.zipped = out.Bytes()
		}
	}
	return f
}

func (f *file) serve(w http.ResponseWriter, r *http.Request, status int) {
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("ETag", f.tag)
	h.Set("Vary", "Accept-Encoding")
	if f.immutable {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		h.Set("Cache-Control", "no-cache")
	}
	if status == http.StatusOK && strings.Contains(r.Header.Get("If-None-Match"), f.tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := f.body
	if f.zipped != nil && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = f.zipped
	}
	w.WriteHeader(status)
	if r.Method == http.MethodGet {
		_, _ = io.Copy(w, bytes.NewReader(body)) // the client may be gone
	}
}
