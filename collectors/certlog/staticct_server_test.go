package certlog

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
)

// noteSigner signs checkpoints as static-ct logs do.
type noteSigner struct {
	*signer
	name string
	at   func() uint64
}

func (n *noteSigner) Name() string { return n.name }

func (n *noteSigner) KeyHash() uint32 {
	id := sha256.Sum256(n.der())
	sum := sha256.Sum256(append([]byte(n.name+"\n\x05"), id[:]...))
	return binary.BigEndian.Uint32(sum[:])
}

func (n *noteSigner) Sign(text []byte) ([]byte, error) {
	lines := strings.Split(string(text), "\n")
	size, err := strconv.ParseUint(lines[1], 10, 64)
	if err != nil {
		return nil, err
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil {
		return nil, err
	}
	at := n.at()
	return append(binary.BigEndian.AppendUint64(nil, at), n.sign(size, at, root)...), nil
}

// staticLog is a log of tessera's in a folder, with the static-ct layout, behind a file server with faults.
type staticLog struct {
	*signer
	server *httptest.Server
	append func(context.Context, *logged) tessera.IndexFuture
	await  *tessera.PublicationAwaiter
	dir    string // of this log's files

	mu    sync.Mutex // guards what follows
	serve string     // the folder that is served
	// fault, if not nil, may answer instead.
	fault func(w http.ResponseWriter, path string) bool
	asked map[string]int
}

const staticOrigin = "ct.example.test/2026"

// newStaticLog begins a log; key nil: a new key. The server serves it.
func newStaticLog(t testing.TB, key *signer) *staticLog {
	t.Helper()
	if key == nil {
		key = newSigner(t)
	}
	l := &staticLog{signer: key, dir: t.TempDir(), asked: map[string]int{}}
	l.serve = l.dir
	driver, err := posix.New(t.Context(), posix.Config{Path: l.dir})
	if err != nil {
		t.Fatal(err)
	}
	begin := uint64(time.Now().UnixMilli())
	sign := &noteSigner{signer: key, name: staticOrigin, at: func() uint64 { return max(begin, uint64(time.Now().UnixMilli())) }}
	opts := tessera.NewAppendOptions().WithCheckpointSigner(sign).WithCTLayout().
		WithBatching(256, 5*time.Millisecond).WithCheckpointInterval(100 * time.Millisecond)
	ctx, cancel := context.WithCancel(context.Background())
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, opts)
	if err != nil {
		t.Fatal(err)
	}
	l.await = tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, 10*time.Millisecond)
	add := tessera.NewCertificateTransparencyAppender(appender)
	l.append = func(ctx context.Context, e *logged) tessera.IndexFuture { return add(ctx, e.entry) }
	l.server = httptest.NewServer(l)
	t.Cleanup(func() {
		l.server.Close()
		if err := shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		cancel()
	})
	return l
}

// add waits until the entries are under a checkpoint. The order among them is tessera's.
func (l *staticLog) add(entries ...*logged) {
	l.t.Helper()
	futures := make([]tessera.IndexFuture, len(entries))
	for i, e := range entries {
		futures[i] = l.append(l.t.Context(), e)
	}
	for _, future := range futures {
		if _, _, err := l.await.Await(l.t.Context(), future); err != nil {
			l.t.Fatal(err)
		}
	}
}

// issuer puts a certificate where chains are looked up.
func (l *staticLog) issuer(a *authority) {
	l.t.Helper()
	sum := sha256.Sum256(a.cert.Raw)
	dir := filepath.Join(l.dir, "issuer")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, hex.EncodeToString(sum[:])), a.cert.Raw, 0o644); err != nil {
		l.t.Fatal(err)
	}
}

func (l *staticLog) set(change func(l *staticLog)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
}

func (l *staticLog) config() LogConfig {
	return LogConfig{Name: "tiles", URL: l.server.URL, Kind: KindStaticCT, PublicKeyFile: l.file(), Origin: staticOrigin}
}

func (l *staticLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked[r.URL.Path]++
	if l.fault != nil && l.fault(w, r.URL.Path) {
		return
	}
	text, err := os.ReadFile(filepath.Join(l.serve, filepath.FromSlash(r.URL.Path)))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	if strings.HasPrefix(r.URL.Path, "/tile/data/") { // packed whether asked for or not
		var packed bytes.Buffer
		zip := gzip.NewWriter(&packed)
		fmt.Fprintf(zip, "%s", text)
		zip.Close()
		w.Header().Set("Content-Encoding", "gzip")
		text = packed.Bytes()
	}
	if _, err := w.Write(text); err != nil {
		l.t.Log(err)
	}
}
