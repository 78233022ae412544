package fleet

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

func TestClientsTakeNothingFromTheUsersOwnVaultSettings(t *testing.T) {
	t.Setenv("VAULT_TOKEN", "theirs")
	t.Setenv("VAULT_NAMESPACE", "theirs")
	t.Setenv("VAULT_ADDR", "http://127.0.0.1:1")
	client, err := newClient("http://127.0.0.1:2")
	if err != nil {
		t.Fatal(err)
	}
	if client.Token() != "" || client.Namespace() != "" || client.Address() != "http://127.0.0.1:2" {
		t.Errorf("token %q, namespace %q, address %q", client.Token(), client.Namespace(), client.Address())
	}
}

// answering is a session whose Vault answers every call in one way.
func answering(t *testing.T, answer http.HandlerFunc) *Session {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	site := &Site{Addr: server.URL, day: time.Second}
	s, err := site.session(Steady, 0, RunOptions{}, func(Report) {})
	if err != nil {
		t.Fatal(err)
	}
	s.alive, s.denied = true, map[string]struct{}{}
	return s
}

func TestAnswersAreCountedAsWhatTheyAre(t *testing.T) {
	text := func(code int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			_, _ = w.Write([]byte(body))
		}
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   Calls
		lost   bool
	}{
		"allowed":              {text(200, `{"data":{}}`), Calls{OK: 2}, false},
		"denied":               {text(403, `{"errors":["1 error occurred:\n\t* permission denied\n\n"]}`), Calls{Denied: 2, DeniedPermissions: 1}, false},
		"token unknown":        {text(403, `{"errors":["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}`), Calls{}, true},
		"server error":         {text(500, `{"errors":["broken"]}`), Calls{Failed: 2, Failure: "GET secret/data/x: 500 broken"}, false},
		"connection cut":       {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, Calls{Unanswered: 2}, false},
		"server error of text": {text(503, "invalid token, says the proxy"), Calls{Failed: 2, Failure: "GET secret/data/x: 503 invalid token, says the proxy"}, false},
	} {
		s := answering(t, c.answer)
		for range 2 {
			if err := s.read(t.Context(), "secret/data/x"); errors.Is(err, errLost) != c.lost || err != nil && !c.lost {
				t.Errorf("%s: error %v", name, err)
			}
		}
		if s.calls != c.want || s.alive == c.lost {
			t.Errorf("%s: %+v, alive %v; want %+v", name, s.calls, s.alive, c.want)
		}
	}
}

func TestACallCutOffByTheFleetsEndIsCountedApart(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := answering(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	if err := s.read(ctx, "secret/data/x"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
	if s.calls != (Calls{CutOff: 1}) || !s.alive {
		t.Errorf("%+v, alive %v", s.calls, s.alive)
	}
}

func TestOnlyVaultsOwnRefusalEndsALogin(t *testing.T) {
	var calls int
	s := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		if calls++; calls < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"errors":["invalid role or secret ID"]}`))
	})
	s.alive, s.site.day = false, time.Millisecond
	s.site.roles = map[string]approle{Steady: {"r", "s"}}
	err := s.login(t.Context())
	if response := (*api.ResponseError)(nil); !errors.As(err, &response) || response.StatusCode != http.StatusBadRequest || calls != 3 {
		t.Errorf("after %d tries: %v, want Vault's 400 after 3", calls, err)
	}
}
