package jwtregistry

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/collectors/sourcetest"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/kafkatest"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// registry is a fake of a site's registry: an ordered list of records, as pages.
type registry struct {
	mu      sync.Mutex // guards what follows
	records []map[string]any
	page    int
	asked   []string // queries
	status  int      // answered instead of a page
	bearer  string
	same    int // answers 304
}

func (r *registry) add(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for range n {
		i := len(r.records)
		r.records = append(r.records, map[string]any{"version": 1, "event": "issued", "id": fmt.Sprint("r", i), "jti": fmt.Sprint("j", i),
			"iss": "https://i", "sub": "s", "time": issued + int64(i)})
	}
}

func (r *registry) queries() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.asked...)
}

func (r *registry) unchanged() int { r.mu.Lock(); defer r.mu.Unlock(); return r.same }

func (r *registry) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, request.URL.RawQuery)
	if r.bearer != "" && request.Header.Get("Authorization") != "Bearer "+r.bearer {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if r.status != 0 {
		w.WriteHeader(r.status)
		return
	}
	from, to := 0, len(r.records)
	if cursor := request.URL.Query().Get("cursor"); cursor != "" {
		from, _ = strconv.Atoi(cursor)
	}
	if since := request.URL.Query().Get("since"); since != "" {
		at, _ := strconv.ParseInt(since, 10, 64)
		for from < len(r.records) && r.records[from]["time"].(int64) < at {
			from++
		}
	}
	answer := map[string]any{}
	if r.page > 0 && to-from > r.page {
		to = from + r.page
		answer["next_cursor"] = fmt.Sprint(to)
	}
	tag := fmt.Sprintf(`"%d-%d-%v"`, from, to, answer["next_cursor"])
	if request.Header.Get("If-None-Match") == tag {
		r.same++
		w.WriteHeader(http.StatusNotModified)
		return
	}
	answer["items"] = r.records[from:to]
	w.Header().Set("ETag", tag)
	_ = json.NewEncoder(w).Encode(answer)
}

func collecting(t *testing.T, broker *sourcetest.Broker, dir string, cfg Config) (stop func()) {
	t.Helper()
	cfg.BatchWait = 5 * time.Millisecond
	return sourcetest.Start(t, broker, dir, func(deps collect.Deps) (collect.Runner, error) { return New(cfg, deps) })
}

func secretFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestARegistrysPagesAreReadOnFromTheCheckpoint(t *testing.T) {
	r := &registry{page: 3, bearer: "CANARY-token"}
	r.add(8)
	server := httptest.NewServer(r)
	defer server.Close()
	cfg := Config{API: &APIConfig{URL: server.URL + "/events", TokenFile: secretFile(t, "CANARY-token"), Interval: 10 * time.Millisecond}}
	dir, broker := t.TempDir(), &sourcetest.Broker{}
	broker.Fail(2)
	stop := collecting(t, broker, dir, cfg)
	sourcetest.Eventually(t, "all pages", func() bool { return len(broker.Events()) == 8 })
	sourcetest.Eventually(t, "the last page is not sent again", func() bool { return r.unchanged() > 0 })
	r.add(1) // the last page grows
	sourcetest.Eventually(t, "a record that came later", func() bool { return len(broker.Events()) == 9 })
	stop()
	r.add(2)
	later := &sourcetest.Broker{}
	asked := len(r.queries())
	collecting(t, later, dir, cfg)
	sourcetest.Eventually(t, "what came while it was down", func() bool { return len(later.Events()) >= 2 })
	if first := r.queries()[asked]; first != "cursor=6" {
		t.Errorf("after the restart the registry was asked for %q, want cursor=6: where the last page begins", first)
	}
	for _, ev := range broker.Events() {
		if ev.Position != server.URL+"/events" {
			t.Errorf("position %q", ev.Position)
		}
	}
}

// A page whose events could not be published is asked for again after a restart.
func TestNothingIsCheckedOffBeforeItIsPublished(t *testing.T) {
	r := &registry{page: 2}
	r.add(4)
	server := httptest.NewServer(r)
	defer server.Close()
	cfg := Config{API: &APIConfig{URL: server.URL, Interval: 10 * time.Millisecond}}
	dir, broker := t.TempDir(), &sourcetest.Broker{}
	broker.Fail(1 << 30)
	stop := collecting(t, broker, dir, cfg)
	sourcetest.Eventually(t, "a page is read", func() bool { return len(r.queries()) > 0 })
	stop()
	if _, err := os.Stat(filepath.Join(dir, "jwtregistry-default.checkpoint.json")); err == nil {
		t.Error("a checkpoint was written, and nothing published")
	}
	broker.Fail(0)
	collecting(t, broker, dir, cfg)
	sourcetest.Eventually(t, "all records", func() bool { return len(broker.Events()) == 4 })
}

func TestARegistryIsAskedSinceTheNewestRecord(t *testing.T) {
	r := &registry{}
	r.add(5)
	server := httptest.NewServer(r)
	defer server.Close()
	cfg := Config{API: &APIConfig{URL: server.URL, Paging: "since", SinceFormat: "unix", Overlap: 2 * time.Second, Interval: 5 * time.Millisecond}}
	broker := &sourcetest.Broker{}
	collecting(t, broker, t.TempDir(), cfg)
	sourcetest.Eventually(t, "all records", func() bool { return len(broker.Events()) == 5 })
	want := fmt.Sprint("since=", issued+4-2)
	sourcetest.Eventually(t, want, func() bool { q := r.queries(); return q[len(q)-1] == want })
	sourcetest.Eventually(t, "an ETag", func() bool { return r.unchanged() > 0 })
	r.add(1)
	sourcetest.Eventually(t, "a later record", func() bool { return len(broker.Events()) == 6 })
}

func TestARegistryThatFailsIsAskedAgainAndHealthSaysWhy(t *testing.T) {
	r := &registry{bearer: "right"}
	r.add(1)
	server := httptest.NewServer(r)
	defer server.Close()
	token := secretFile(t, "wrong")
	broker := &sourcetest.Broker{}
	var c *Collector
	sourcetest.Start(t, broker, t.TempDir(), func(deps collect.Deps) (collect.Runner, error) {
		var err error
		c, err = New(Config{API: &APIConfig{URL: server.URL, TokenFile: token, Interval: time.Millisecond}}, deps)
		return c, err
	})
	sourcetest.Eventually(t, "health", func() bool { return strings.Contains(c.Trouble("log"), "status 401") })
	if err := os.WriteFile(token, []byte("right"), 0o600); err != nil {
		t.Fatal(err)
	}
	sourcetest.Eventually(t, "the record", func() bool { return len(broker.Events()) == 1 && c.Trouble("log") == "" })
}

func TestATopicIsCommittedAfterItsEventsArePublished(t *testing.T) {
	kafka := kafkatest.New(t)
	if err := kafka.EnsureTopics(t.Context(), []stream.Topic{{Name: "tokens", Partitions: 2}}); err != nil {
		t.Fatal(err)
	}
	send := func(ids ...string) {
		var messages []stream.Message
		for _, id := range ids {
			messages = append(messages, stream.Message{Topic: "tokens", Key: []byte(id), Value: line(t, map[string]any{
				"jti": id, "iss": "https://i", "sub": "s", "iat": issued, "exp": issued + 60})})
		}
		if err := kafka.Publish(t.Context(), append(messages, stream.Message{Topic: "tokens", Key: []byte("gone")})...); err != nil {
			t.Fatal(err)
		}
	}
	// The process's own client both publishes and reads; here they are apart, so that publishing can fail.
	var tries atomic.Int32
	start := func(broker *sourcetest.Broker) (stop func()) {
		log, err := daemon.NewLogger(t.Output(), "info", "text")
		if err != nil {
			t.Fatal(err)
		}
		c, err := New(Config{Topic: &TopicConfig{Name: "tokens"}, BatchWait: 5 * time.Millisecond},
			collect.Deps{Stream: both{broker, kafka, &tries}, Env: daemon.NewEnv("test", log)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		stop = sync.OnceFunc(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
		t.Cleanup(stop)
		return stop
	}
	send("a", "b", "c")
	first := &sourcetest.Broker{}
	stop := start(first)
	sourcetest.Eventually(t, "three tokens", func() bool { return len(first.Events()) == 3 })
	send("d", "e")
	sourcetest.Eventually(t, "two more", func() bool { return len(first.Events()) == 5 })
	stop()
	away := &sourcetest.Broker{}
	away.Fail(1 << 30)
	send("f")
	tries.Store(0)
	stop = start(away)
	sourcetest.Eventually(t, "publishing is tried, and tried again", func() bool { return tries.Load() > 1 })
	stop()
	last := &sourcetest.Broker{}
	start(last)
	sourcetest.Eventually(t, "what was not published", func() bool {
		for _, ev := range last.Events() {
			if ev.Credential == "jwtregistry/default/jwt/f" && ev.Kind == leastwisev1.Event_ISSUED {
				return true
			}
		}
		return false
	})
	if n := len(last.DeadLetters()) + len(first.DeadLetters()); n != 0 {
		t.Errorf("%d dead letters: a tombstone is no record", n)
	}
}

// both publishes to one and reads from the other.
type both struct {
	*sourcetest.Broker
	consumer
	tries *atomic.Int32 // to publish events
}

func (b both) Publish(ctx context.Context, messages ...stream.Message) error {
	for _, m := range messages[:min(len(messages), 1)] {
		if m.Topic == schemas.TopicEvents {
			b.tries.Add(1)
		}
	}
	return b.Broker.Publish(ctx, messages...)
}

func TestTokensAreIntrospected(t *testing.T) {
	good := newSigner("good")
	token := func(jti string) string {
		return good.token(t, "good", map[string]any{"iss": "https://i", "sub": "s", "jti": jti, "iat": time.Now().Unix(), "exp": time.Now().Unix() + 3600})
	}
	revoked, alive := token("revoked"), token("alive")
	var mu sync.Mutex
	seen := 0
	status := http.StatusForbidden
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		id, secret, _ := request.BasicAuth()
		if seen++; status != http.StatusOK || id != "client%2F1" || secret != "CANARY+secret" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		fmt.Fprintf(w, `{"active":%v,"exp":%d}`, request.FormValue("token") != revoked, time.Now().Unix()+3600)
	}))
	defer server.Close()
	keySet := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(keySet, jwks(t, good), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "tokens.jsonl")
	write := func(tokens ...string) {
		out, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		for _, text := range tokens {
			if _, err := out.Write(line(t, map[string]any{"version": 1, "event": "issued", "token": text})); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(revoked, alive)
	broker := &sourcetest.Broker{}
	var c *Collector
	cfg := Config{File: file, JWKS: &JWKSConfig{File: keySet}, BatchWait: 5 * time.Millisecond, Introspection: &IntrospectionConfig{
		URL: server.URL, ClientIDFile: secretFile(t, "client/1"), ClientSecretFile: secretFile(t, "CANARY secret")}}
	start := func(data string) (stop func()) {
		return sourcetest.Start(t, broker, data, func(deps collect.Deps) (collect.Runner, error) {
			var err error
			c, err = New(cfg, deps)
			return c, err
		})
	}
	stop := start(t.TempDir())
	sourcetest.Eventually(t, "the records go on without an endpoint", func() bool { return len(broker.Events()) == 2 })
	sourcetest.Eventually(t, "health says what is missing", func() bool { return strings.Contains(c.Trouble("introspection"), "allowed to introspect") })
	stop()
	mu.Lock()
	status = http.StatusOK
	mu.Unlock()
	start(t.TempDir())
	sourcetest.Eventually(t, "the answers", func() bool {
		kinds := map[string]leastwisev1.Event_Kind{}
		for _, ev := range broker.Events() {
			if ev.Labels["evidence"] == "introspection" {
				kinds[ev.Credential] = ev.Kind
			}
			if wire, _ := ev.MarshalVT(); strings.Contains(string(wire), "eyJ") || strings.Contains(string(wire), "CANARY") {
				t.Fatalf("a secret in %v", ev)
			}
		}
		return len(kinds) == 2 && kinds["jwtregistry/default/jwt/alive"] == leastwisev1.Event_OBSERVED &&
			kinds["jwtregistry/default/jwt/revoked"] == leastwisev1.Event_REVOKED
	})
}

func TestConfigurationsThatCanNotWorkAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  Config
		want string
	}{
		"nothing":             {Config{Instance: "x"}, "set one of"},
		"two":                 {Config{File: "a", Topic: &TopicConfig{Name: "t"}}, "set one of"},
		"no topic":            {Config{Topic: &TopicConfig{}}, "set name"},
		"an API in clear":     {Config{API: &APIConfig{URL: "http://registry.example.org"}}, "https"},
		"a password":          {Config{API: &APIConfig{URL: "https://u:p@registry.example.org"}}, "files"},
		"no host":             {Config{API: &APIConfig{URL: "registry"}}, "host"},
		"paging":              {Config{API: &APIConfig{URL: "https://r", Paging: "pages"}}, "cursor, since, none"},
		"half a client":       {Config{API: &APIConfig{URL: "https://r", ClientIDFile: "f"}}, "go together"},
		"no keys":             {Config{File: "a", JWKS: &JWKSConfig{}}, "url or file"},
		"alg none":            {Config{File: "a", JWKS: &JWKSConfig{File: "f", Algorithms: []string{"none"}}}, "none"},
		"anybody introspects": {Config{File: "a", Introspection: &IntrospectionConfig{URL: "https://r"}}, "client_id_file"},
		"a negative batch":    {Config{File: "a", BatchWait: -1}, "negative"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := c.cfg.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one about %q", err, c.want)
			}
		})
	}
}
