// Package mototest runs moto, which answers as IAM and STS do, for tests, with a
// proxy before it that breaks what a test says.
//
// moto believes every signature, looks at no condition of a policy and
// simulates none.
package mototest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// ErrNotSet says that moto is not to be tested.
var ErrNotSet = errors.New("LEASTWISE_MOTO is not set: moto is not tested (make moto installs it)")

// Launch starts moto and waits until it answers.
func Launch() (endpoint string, stop func(), err error) {
	binary := os.Getenv("LEASTWISE_MOTO")
	if binary == "" {
		return "", nil, ErrNotSet
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("find a free port: %w", err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	process := exec.Command(binary, "-H", "127.0.0.1", "-p", port)
	if err := process.Start(); err != nil {
		return "", nil, fmt.Errorf("start moto: %w", err)
	}
	stop = func() {
		_ = process.Process.Kill()
		_ = process.Wait()
	}
	endpoint = "http://127.0.0.1:" + port
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get(endpoint + "/moto-api/data.json")
		if err == nil {
			_ = resp.Body.Close()
			return endpoint, stop, nil
		}
		if time.Now().After(deadline) {
			stop()
			return "", nil, fmt.Errorf("moto is not ready: %w", err)
		}
	}
}

// Reset forgets everything.
func Reset(t *testing.T, endpoint string) {
	t.Helper()
	resp, err := http.Post(endpoint+"/moto-api/reset", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
}

// Proxy in front of moto.
type Proxy struct {
	*httptest.Server
	mu     sync.Mutex
	breaks func(action string) Fault
	seen   []string
}

// Fault of one request.
type Fault uint8

// The faults.
const (
	None Fault = iota
	Lost       // it is done and the answer is lost
	Busy       // AWS's rate limit
	Dead       // it does not arrive
)

// NewProxy in front of to, which ends with the test.
func NewProxy(t *testing.T, to string) *Proxy {
	t.Helper()
	address, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(address)
	x := &Proxy{}
	x.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // a request that is cut off is broken anyway
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		form, _ := url.ParseQuery(string(body))
		switch x.take(form.Get("Action")) {
		case Lost:
			forward.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		case Dead:
			panic(http.ErrAbortHandler)
		case Busy:
			Refuse(w, 400, "Throttling", "Rate exceeded")
		default:
			forward.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(x.Close)
	return x
}

func (x *Proxy) take(action string) Fault {
	x.mu.Lock()
	defer x.mu.Unlock()
	broken := None
	if x.breaks != nil {
		broken = x.breaks(action)
	}
	if broken == None || broken == Lost {
		x.seen = append(x.seen, action)
	}
	return broken
}

// Break asks breaks about each request from now on, by its action, one at a
// time; nil: nothing is broken.
func (x *Proxy) Break(breaks func(action string) Fault) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.breaks = breaks
}

// Next breaks the next request that fits.
func (x *Proxy) Next(f Fault, fits func(action string) bool) {
	done := false
	x.Break(func(action string) Fault {
		if done || !fits(action) {
			return None
		}
		done = true
		return f
	})
}

// Count of the requests that reached moto.
func (x *Proxy) Count(action string) (n int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, a := range x.seen {
		if a == action {
			n++
		}
	}
	return n
}

// Seen are the actions that reached moto, in order.
func (x *Proxy) Seen() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.seen)
}

// Changes tells whether an action of IAM changes something.
func Changes(action string) bool {
	return slices.ContainsFunc([]string{"Update", "Put", "Delete", "Attach", "Detach"}, func(verb string) bool { return strings.HasPrefix(action, verb) })
}

// Refuse answers as IAM does.
func Refuse(w http.ResponseWriter, status int, code, text string) {
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>1</RequestId></ErrorResponse>", code, text)
}
