package daemon

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

type answer struct {
	Ready        bool
	Reason       string
	Dependencies map[string]struct {
		OK    bool
		Error string
		Since time.Time
	}
}

func get(t *testing.T, h *Health, path string) (int, answer) {
	t.Helper()
	w := httptest.NewRecorder()
	h.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	var a answer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		t.Fatalf("%s: %v in %q", path, err, w.Body.String())
	}
	return w.Code, a
}

func TestReadyOnlyOnceADependencyIsKnownAndAllAreWell(t *testing.T) {
	h := NewHealth()
	if code, a := get(t, h, "/readyz"); code != http.StatusServiceUnavailable || a.Reason == "" {
		t.Errorf("before the first Set: %d %+v", code, a)
	}
	h.Set("kafka", nil)
	if code, a := get(t, h, "/readyz"); code != http.StatusOK || !a.Ready {
		t.Errorf("well: %d %+v", code, a)
	}
	h.Set("vault", errors.New("connection refused"))
	code, a := get(t, h, "/readyz")
	if code != http.StatusServiceUnavailable || a.Dependencies["vault"].Error != "connection refused" {
		t.Errorf("vault away: %d %+v", code, a)
	}
	if _, named := a.Dependencies["kafka"]; named {
		t.Error("/readyz names a dependency that is well")
	}
	if code, a := get(t, h, "/healthz"); code != http.StatusOK || a.Ready || !a.Dependencies["kafka"].OK {
		t.Errorf("/healthz: %d %+v", code, a)
	}
	h.Set("vault", nil)
	if code, _ := get(t, h, "/readyz"); code != http.StatusOK {
		t.Errorf("vault back: %d", code)
	}
}

func TestSinceMovesOnlyWhenADependencyChangesBetweenWellAndNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHealth()
		h.Set("kafka", errors.New("one"))
		_, before := get(t, h, "/readyz")
		time.Sleep(time.Minute)
		h.Set("kafka", errors.New("two"))
		_, after := get(t, h, "/readyz")
		if after.Dependencies["kafka"].Error != "two" || !after.Dependencies["kafka"].Since.Equal(before.Dependencies["kafka"].Since) {
			t.Errorf("before %+v, after %+v", before, after)
		}
		h.Set("kafka", nil)
		_, well := get(t, h, "/healthz")
		if got := well.Dependencies["kafka"].Since.Sub(before.Dependencies["kafka"].Since); got != time.Minute {
			t.Errorf("since moved by %s", got)
		}
	})
}

func TestHealthIsAMetricPerDependency(t *testing.T) {
	h := NewHealth()
	reg := prometheus.NewRegistry()
	reg.MustRegister(h)
	h.Set("kafka", nil)
	h.Set("vault", errors.New("away"))
	want := `# HELP leastwise_dependency_up 1 while the dependency (kafka, clickhouse, vault, ...) is well, 0 while it is not.
# TYPE leastwise_dependency_up gauge
leastwise_dependency_up{dependency="kafka"} 1
leastwise_dependency_up{dependency="vault"} 0
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

func TestHealthIsSafeForConcurrentUse(t *testing.T) {
	h := NewHealth()
	var wg sync.WaitGroup
	for _, name := range []string{"a", "b", "c"} {
		wg.Go(func() {
			for range 200 {
				h.Set(name, nil)
				get(t, h, "/healthz")
			}
		})
	}
	wg.Wait()
	if !h.Ready() {
		t.Error("not ready")
	}
}
