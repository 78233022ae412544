package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"
)

// What an issuer is asked for.
const (
	opLookup  = "lookup"
	opRevoke  = "revoke"
	opVerify  = "verify"
	opReissue = "reissue"
	opTell    = "tell"
)

// issuer holds the credentials and counts what is done to each. It lives in the parent, so it remembers what a killed
// process had done. Some of its answers are failures, before the act and after it.
type issuer struct {
	url string

	mu       sync.Mutex          // guards what follows
	rand     *rand.Rand          // nil: nothing fails
	tokens   map[string]*holding // by credential key
	reissued map[string]int      // calls carried out, by ladder id
	heard    map[int]time.Time   // when each process asked first, by its id
	faults   map[string]int      // how often each kind of failure was given
	wrong    []string            // what was done and must not be
	children map[string][]string // keys of what ends with a key when the log says so
}

// holding is one credential at the issuer.
type holding struct {
	gone     bool
	ended    bool      // by the fleet itself, as the log says
	revokes  int       // calls that reached the issuer and were carried out, on a credential that was gone already, too
	revokeAt time.Time // the time last announced to its owner
	told     int
}

// act acts that may fail, and how. The shares are of a hundred.
type fault struct {
	name   string
	share  int
	done   bool // carried out all the same
	answer func(w http.ResponseWriter, r *http.Request)
}

const hangs = 1500 * time.Millisecond // longer than the enforcer waits

func answer500(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }
func cutOff(http.ResponseWriter, *http.Request)        { panic(http.ErrAbortHandler) }
func hang(_ http.ResponseWriter, r *http.Request) {
	wait(r.Context(), hangs)
	panic(http.ErrAbortHandler)
}

var faults = map[string][]fault{
	opLookup: {{"500", 6, false, answer500}},
	opVerify: {{"500", 6, false, answer500}},
	opTell:   {{"500", 4, false, answer500}, {"done, 500", 3, true, answer500}},
	opRevoke: {{"500", 8, false, answer500}, {"done, 500", 10, true, answer500}, {"done, timeout", 6, true, hang},
		{"done, cut off", 6, true, cutOff}},
	opReissue: {{"500", 6, false, answer500}, {"done, 500", 6, true, answer500}},
}

// startIssuer serves until ctx ends.
func startIssuer(ctx context.Context, keys []string, children map[string][]string, random *rand.Rand) (*issuer, error) {
	i := &issuer{rand: random, tokens: make(map[string]*holding, len(keys)), reissued: map[string]int{}, heard: map[int]time.Time{},
		faults: map[string]int{}, children: children}
	for _, key := range keys {
		i.tokens[key] = &holding{}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the issuer: %w", err)
	}
	i.url = "http://" + listener.Addr().String()
	mux := http.NewServeMux()
	for _, op := range []string{opLookup, opRevoke, opVerify, opReissue, opTell} {
		mux.HandleFunc("POST /"+op, func(w http.ResponseWriter, r *http.Request) { i.serve(w, r, op) })
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() { _ = server.Serve(listener) }()
	return i, nil
}

func (i *issuer) serve(w http.ResponseWriter, r *http.Request, op string) {
	var a ask
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&a); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest) // a killed process sends half a request: nothing is done
		return
	}
	got, failing := i.take(op, a)
	if failing != nil {
		failing.answer(w, r)
		return
	}
	_ = json.NewEncoder(w).Encode(got)
}

// take draws whether this call fails, and carries it out unless it fails before the act.
func (i *issuer) take(op string, a ask) (answer, *fault) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if _, ok := i.heard[a.PID]; !ok {
		i.heard[a.PID] = time.Now()
	}
	failing := i.draw(op)
	if failing != nil {
		i.faults[op+" "+failing.name]++
		if !failing.done {
			return answer{}, failing
		}
	}
	t := i.tokens[a.Credential]
	if t == nil {
		i.wrong = append(i.wrong, fmt.Sprintf("%s of %s, which the issuer never issued", op, a.Credential))
		return answer{}, failing
	}
	switch op {
	case opRevoke:
		i.revoke(a.Credential, t)
	case opReissue:
		i.reissued[a.Ladder]++
	case opTell:
		t.told++
		if !a.RevokeAt.IsZero() {
			t.revokeAt = a.RevokeAt
		}
	}
	return answer{Known: true, Alive: !t.gone}, failing
}

func (i *issuer) draw(op string) *fault {
	if i.rand == nil {
		return nil
	}
	n := i.rand.IntN(100)
	for k := range faults[op] {
		f := &faults[op][k]
		if n -= f.share; n < 0 {
			return f
		}
	}
	return nil
}

// revoke is where harm would show. Ended by its holder in the meantime is no harm: nobody could have known.
func (i *issuer) revoke(key string, t *holding) {
	now := time.Now()
	switch {
	case t.told == 0 || t.revokeAt.IsZero():
		i.wrong = append(i.wrong, key+" was revoked and its owner was not told when")
	case now.Before(t.revokeAt):
		i.wrong = append(i.wrong, fmt.Sprintf("%s was revoked %s before the time its owner was told", key, t.revokeAt.Sub(now)))
	}
	t.revokes++
	t.gone = true
}

// end is the fleet's own word: the credential was revoked by its holder, and its children end with it.
func (i *issuer) end(key string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, k := range append([]string{key}, i.children[key]...) {
		i.tokens[k].gone, i.tokens[k].ended = true, true
	}
}

// heardFrom reports whether a process has asked for anything.
func (i *issuer) heardFrom(pid int) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	_, ok := i.heard[pid]
	return ok
}

// revocations gives how often each credential was revoked.
func (i *issuer) revocations() map[string]int {
	i.mu.Lock()
	defer i.mu.Unlock()
	out := map[string]int{}
	for key, t := range i.tokens {
		if t.revokes > 0 {
			out[key] = t.revokes
		}
	}
	return out
}

// reissues gives how often something was given back for a ladder.
func (i *issuer) reissues(ladder string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.reissued[ladder]
}

// failures gives how many calls failed by the issuer's will.
func (i *issuer) failures() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	n := 0
	for _, count := range i.faults {
		n += count
	}
	return n
}
