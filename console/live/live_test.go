package live

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leastwise/leastwise/console/contract"
)

// stream is what one browser was sent.
type stream struct {
	mu   sync.Mutex
	head http.Header
	text strings.Builder
}

func (s *stream) Header() http.Header { return s.head }
func (s *stream) WriteHeader(int)     {}
func (s *stream) Flush()              {}
func (s *stream) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *stream) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func listen(ctx context.Context, h *Hub, done chan struct{}, until time.Time) (*stream, chan struct{}) {
	s, ended := &stream{head: http.Header{}}, make(chan struct{})
	go func() {
		defer close(ended)
		r := httptest.NewRequest(http.MethodGet, "/v1/live", nil).WithContext(ctx)
		h.Serve(s, r, func() contract.Status { return contract.Status{Mode: "observe"} }, done, until)
	}()
	return s, ended
}

func TestWhoDoesNotKeepUpGetsOneHintForMany(t *testing.T) {
	h := New()
	l := h.join()
	for range 1000 {
		h.Changed("fleet", []string{"a", "b"})
	}
	h.Changed("ladders", nil)
	got := h.take(l)
	if len(got) != 2 || got[0].What != "fleet" || len(got[0].Keys) != 2 || got[1].What != "ladders" || got[1].Keys == nil || len(got[1].Keys) != 0 {
		t.Errorf("got %+v", got)
	}
	many := make([]string, maxKeys+1)
	for i := range many {
		many[i] = string(rune('a' + i))
	}
	h.Changed("fleet", many)
	h.Changed("fleet", []string{"a"})
	if got := h.take(l); len(got) != 1 || len(got[0].Keys) != 0 {
		t.Errorf("too many to name: %+v", got)
	}
}

func TestAStreamBeatsAndEndsWithItsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New()
		done := make(chan struct{})
		s, ended := listen(t.Context(), h, done, time.Now().Add(time.Hour))
		synctest.Wait()
		if h.Listeners() != 1 || !strings.HasPrefix(s.String(), "event: status\ndata: {") || s.head.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("%d listen: %s", h.Listeners(), s)
		}
		time.Sleep(heartbeat + time.Second)
		synctest.Wait()
		if !strings.Contains(s.String(), ": still here\n\n") {
			t.Error("no heartbeat")
		}
		h.Changed("control", nil)
		synctest.Wait()
		if text := s.String(); strings.Count(text, "event: status") != 3 || !strings.Contains(text, "event: changed\ndata: {\"what\":\"control\",\"keys\":[]}") {
			t.Errorf("after a setting: %s", text)
		}
		close(done)
		<-ended
		if h.Listeners() != 0 {
			t.Error("it is still listened")
		}
		_, ended = listen(t.Context(), h, make(chan struct{}), time.Now().Add(time.Minute))
		time.Sleep(61 * time.Second)
		<-ended // the session's time is over
	})
}

func TestNoMoreListenThanThereIsRoomFor(t *testing.T) {
	h := New()
	for range MaxListeners {
		if h.join() == nil {
			t.Fatal("refused too early")
		}
	}
	w := httptest.NewRecorder()
	h.Serve(w, httptest.NewRequest(http.MethodGet, "/v1/live", nil), nil, nil, time.Time{})
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d", w.Code)
	}
}
