package certlog

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
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

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/merkle/testonly"
)

// signer is a log's key.
type signer struct {
	t   testing.TB
	key *ecdsa.PrivateKey
}

func newSigner(t testing.TB) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{t, key}
}

func (s *signer) der() []byte {
	der, err := x509.MarshalPKIXPublicKey(&s.key.PublicKey)
	if err != nil {
		s.t.Fatal(err)
	}
	return der
}

func (s *signer) logID() string {
	sum := sha256.Sum256(s.der())
	return base64.StdEncoding.EncodeToString(sum[:])
}

// file of the public key.
func (s *signer) file() string {
	path := filepath.Join(s.t.TempDir(), "log.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: s.der()})
	if err := os.WriteFile(path, text, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// sign gives the TLS encoding of the signature of a tree head.
func (s *signer) sign(size, timestamp uint64, root []byte) []byte {
	sth := ct.SignedTreeHead{Version: ct.V1, TreeSize: size, Timestamp: timestamp}
	copy(sth.SHA256RootHash[:], root)
	input, err := ct.SerializeSTHSignatureInput(sth)
	if err != nil {
		s.t.Fatal(err)
	}
	sum := sha256.Sum256(input)
	signature, err := ecdsa.SignASN1(rand.Reader, s.key, sum[:])
	if err != nil {
		s.t.Fatal(err)
	}
	raw, err := tls.Marshal(tls.DigitallySigned{Algorithm: tls.SignatureAndHashAlgorithm{Hash: tls.SHA256, Signature: tls.ECDSA}, Signature: signature})
	if err != nil {
		s.t.Fatal(err)
	}
	return raw
}

// dynamicLog is a log with the API of RFC 6962, and faults.
type dynamicLog struct {
	*signer
	server *httptest.Server

	mu      sync.Mutex // guards what follows
	tree    *testonly.Tree
	entries []*logged
	clock   uint64 // timestamp of heads
	// most entries in one answer; 0: all
	most int
	// show is the size of the tree that heads tell of; 0: all
	show int
	// fault, if not nil, answers instead, if it returns true.
	fault func(w http.ResponseWriter, r *http.Request) bool
	// change, if not nil, changes what is answered.
	change func(answer any)
	asked  map[string]int
}

func newDynamicLog(t testing.TB) *dynamicLog {
	l := &dynamicLog{signer: newSigner(t), tree: testonly.New(rfc6962.DefaultHasher), clock: uint64(time.Now().UnixMilli()), asked: map[string]int{}}
	l.server = httptest.NewServer(l)
	t.Cleanup(l.server.Close)
	return l
}

func (l *dynamicLog) add(entries ...*logged) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range entries {
		l.tree.AppendData(e.input(l.t))
		l.entries = append(l.entries, e)
	}
	l.clock++
}

// set changes faults while nobody is served.
func (l *dynamicLog) set(change func(l *dynamicLog)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
}

// rewrite replaces all entries.
func (l *dynamicLog) rewrite(entries ...*logged) {
	l.set(func(l *dynamicLog) { l.tree, l.entries = testonly.New(rfc6962.DefaultHasher), nil })
	l.add(entries...)
}

func (l *dynamicLog) config() LogConfig {
	return LogConfig{Name: "dynamic", URL: l.server.URL + "/log/", Kind: KindRFC6962, PublicKeyFile: l.file()}
}

func (l *dynamicLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	method := strings.TrimPrefix(r.URL.Path, "/log/ct/v1/")
	l.asked[method]++
	if l.fault != nil && l.fault(w, r) {
		return
	}
	number := func(name string) uint64 {
		n, err := strconv.ParseUint(r.FormValue(name), 10, 64)
		if err != nil {
			l.t.Errorf("%s: %s: %v", method, name, err)
		}
		return n
	}
	size := l.tree.Size()
	if l.show > 0 {
		size = uint64(l.show)
	}
	var answer any
	var err error
	switch method {
	case "get-sth":
		root := l.tree.HashAt(size)
		answer = &ct.GetSTHResponse{TreeSize: size, Timestamp: l.clock, SHA256RootHash: root, TreeHeadSignature: l.sign(size, l.clock, root)}
	case "get-entries":
		from, to := number("start"), min(number("end")+1, size)
		if from >= to {
			http.Error(w, "beyond the tree", http.StatusBadRequest)
			return
		}
		if l.most > 0 {
			to = min(to, from+uint64(l.most))
		}
		got := &ct.GetEntriesResponse{}
		for _, e := range l.entries[from:to] {
			got.Entries = append(got.Entries, ct.LeafEntry{LeafInput: e.input(l.t), ExtraData: e.extra})
		}
		answer = got
	case "get-sth-consistency":
		got := &ct.GetSTHConsistencyResponse{}
		got.Consistency, err = l.tree.ConsistencyProof(number("first"), number("second"))
		answer = got
	case "get-proof-by-hash":
		hash, _ := base64.StdEncoding.DecodeString(r.FormValue("hash"))
		got := &ct.GetProofByHashResponse{LeafIndex: -1}
		for i := range l.tree.Size() {
			if string(l.tree.LeafHash(i)) == string(hash) {
				got.LeafIndex = int64(i)
			}
		}
		if got.LeafIndex < 0 {
			http.Error(w, "no such leaf", http.StatusNotFound)
			return
		}
		got.AuditPath, err = l.tree.InclusionProof(uint64(got.LeafIndex), number("tree_size"))
		answer = got
	default:
		http.NotFound(w, r)
		return
	}
	if err != nil {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	if l.change != nil {
		l.change(answer)
	}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		l.t.Error(err)
	}
}

func newTree(t testing.TB, entries []*logged) *testonly.Tree {
	tree := testonly.New(rfc6962.DefaultHasher)
	for _, e := range entries {
		tree.AppendData(e.input(t))
	}
	return tree
}

// proofOf answers every request for a proof by hash with the proof of one leaf.
func proofOf(index uint64) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "get-proof-by-hash") {
			return false
		}
		fmt.Fprintf(w, `{"leaf_index":%d,"audit_path":[]}`, index)
		return true
	}
}
