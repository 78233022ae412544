// Package hostile holds tests alone: a fleet whose every name was chosen by an attacker goes through the real pipeline and
// the real console, and nothing of it may act: not in the page, not in a table, not in a terminal, not in a message.
package hostile

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
	"github.com/leastwise/leastwise/console"
	"github.com/leastwise/leastwise/enforcer"
	"github.com/leastwise/leastwise/enforcer/notify"
	"github.com/leastwise/leastwise/internal/chdb"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/internal/storetest"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/processor"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// top of the repository.
const top = "../../.."

// owned is how many of the fleet at least are known to the catalog; of others the names can not be listed in one.
const owned = 10

// patience is for a machine that has much else to do.
const patience = 4 * time.Minute

// site is one `leastwise up` for all tests of this package: a process may have one engine.
type site struct {
	dir  string
	base string
	db   *store.DB
	bus  *stream.Client
	log  bytes.Buffer
	stop func()

	mu   sync.Mutex
	told map[string][]string // what channels were sent, by their name; guarded by mu
}

var (
	once   sync.Once
	shared *site
	failed error
)

func TestMain(m *testing.M) {
	code := m.Run()
	if shared != nil && shared.stop != nil {
		shared.stop()
	}
	storetest.Exit(code)
}

// running gives the site, and skips the test where the engine's library is missing.
func running(t *testing.T) *site {
	t.Helper()
	once.Do(func() { shared, failed = start() })
	var missing *chdb.ErrNoLibrary
	if errors.As(failed, &missing) {
		t.Skip(failed)
	}
	if failed != nil {
		t.Fatal(failed)
	}
	return shared
}

func start() (*site, error) {
	s := &site{told: map[string][]string{}}
	var err error
	if s.dir, err = os.MkdirTemp("", "leastwise-hostile-"); err != nil {
		return s, err
	}
	heard := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what was cut off is seen by the test
		s.mu.Lock()
		defer s.mu.Unlock()
		s.told[r.URL.Path] = append(s.told[r.URL.Path], string(body))
	}))
	for name, text := range map[string]string{"policies/p.yaml": policies, "catalog.yaml": catalogText(),
		"chat": "generic+" + heard.URL + "/chat?disabletls=yes"} {
		path := filepath.Join(s.dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			return s, err
		}
	}
	cfg := allinone.Config{
		Common:     daemon.Common{DataDir: filepath.Join(s.dir, "data")},
		Kafka:      stream.Config{Embedded: true, Partitions: 2},
		ClickHouse: store.Config{Embedded: true},
		Processor:  processor.Config{Flush: 50 * time.Millisecond, Checkpoint: 200 * time.Millisecond, Tick: 100 * time.Millisecond, Heartbeat: 10 * time.Second},
		Policies:   processor.PoliciesConfig{Dir: filepath.Join(s.dir, "policies")},
		Catalog:    processor.CatalogConfig{Path: filepath.Join(s.dir, "catalog.yaml")},
		Channels: notify.Section{"security": {Type: "webhook", URL: heard.URL + "/webhook"},
			"chat": {Type: "shoutrrr", URLFile: filepath.Join(s.dir, "chat")}},
		Enforcer: enforcer.Config{Mode: "enforce"},
		Console:  console.Config{Listen: "127.0.0.1:0", Rate: 100_000},
	}
	env := daemon.NewEnv("leastwise", slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelWarn})))
	env.Listen = daemon.NoListen
	ctx, cancel := context.WithCancel(context.Background())
	ready, answers, over := make(chan *allinone.Engines, 1), make(chan string, 1), make(chan error, 1)
	go func() {
		over <- allinone.Run(ctx, cfg, env, allinone.Hooks{Ready: func(e *allinone.Engines) { ready <- e }, Console: func(base, _ string) { answers <- base }})
	}()
	s.stop = func() {
		cancel()
		<-over
		heard.Close()
		_ = os.RemoveAll(s.dir)
	}
	for s.base == "" || s.db == nil {
		select {
		case err := <-over:
			over <- err
			return s, fmt.Errorf("the product ended: %w", err)
		case e := <-ready:
			s.db, s.bus = e.Store, e.Stream
		case s.base = <-answers:
		}
	}
	return s, s.fill(ctx)
}

// catalogText gives some of the fleet to an owner, whose name and whose agents' names somebody chose as well.
func catalogText() string {
	quoted := func(text string) string {
		raw, _ := json.Marshal(text) // a string always has JSON, and YAML reads it
		return string(raw)
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "owners:\n  - {id: hostiles, name: %s, channels: [security, chat]}\nsystems: [{id: register, name: %s}]\nagents:\n", quoted(texts[0]), quoted(texts[2]))
	for n, text := range texts[:len(texts)-2] {
		fmt.Fprintf(&out, "  - {id: agent-%d, name: %s, owner: hostiles, system: register, match: [{vault_entity: %s}]}\n", n, quoted(text), quoted(text))
	}
	return out.String()
}

type marshaler interface{ MarshalVT() ([]byte, error) }

func (s *site) fill(ctx context.Context) error {
	st := tell(time.Now())
	var messages []stream.Message
	var failed error
	add := func(topic, key string, m marshaler) {
		value, err := m.MarshalVT()
		failed = cmp.Or(failed, err)
		messages = append(messages, stream.Message{Topic: topic, Key: []byte(key), Value: value})
	}
	for key, f := range st.facts() {
		add(schemas.TopicIdentity, key, f)
	}
	for _, ev := range st.events {
		add(schemas.TopicEvents, ev.Credential, ev)
	}
	for _, l := range st.letters() {
		add(schemas.TopicDeadLetter, l.Source, l)
	}
	for n, text := range texts {
		add(schemas.TopicExceptions, fmt.Sprintf("ex-%d", n), &pb.Exception{Id: fmt.Sprintf("ex-%d", n), Credential: keyOf(text), PolicyId: "probes", Reason: text, Ticket: text,
			Until: st.ago(-day), RequestedBy: text, RequestedAt: st.ago(time.Hour)})
	}
	if failed != nil {
		return failed
	}
	if err := s.bus.Publish(ctx, messages...); err != nil {
		return err
	}
	for query, want := range map[string]int{
		"SELECT count() FROM v_credentials WHERE startsWith(credential, 'vault/default/token/') AND owner = 'hostiles'": owned,
		"SELECT uniqExact(credential) FROM v_findings":                                                                  len(texts),
		"SELECT uniqExact(credential) FROM v_ladder WHERE state = 'NOTIFIED'":                                           owned,
		"SELECT count() FROM v_dead_letters":                                                                            len(texts),
		"SELECT count() FROM v_source_findings":                                                                         len(texts),
		"SELECT count() FROM exceptions FINAL":                                                                          len(texts),
	} {
		if err := s.until(ctx, uint64(want), query); err != nil {
			return err
		}
	}
	return nil
}

var errTooFew = errors.New("not all is there")

// until polls until a query gives at least want.
func (s *site) until(ctx context.Context, want uint64, query string) error {
	deadline := time.Now().Add(patience)
	for {
		var got uint64
		err := s.db.QueryRow(ctx, query).Scan(&got)
		if err == nil && got >= want {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s gives %d, want %d: %w", query, got, want, cmp.Or(err, errTooFew))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// signedIn gives the cookie and the token of somebody who may everything, once the console knows the fleet.
func (s *site) signedIn(t *testing.T, name string) (cookie, csrf string) {
	t.Helper()
	answer, err := http.Get(s.link(t, name)) //nolint:noctx // a test's
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	for _, c := range answer.Cookies() {
		cookie = c.Name + "=" + c.Value
	}
	var me struct{ CSRF string }
	if err := json.Unmarshal([]byte(s.get(t, cookie, "/v1/me", "application/json")), &me); err != nil || me.CSRF == "" {
		t.Fatalf("me: %v", err)
	}
	deadline := time.Now().Add(patience)
	for got := 0; got < len(texts); time.Sleep(50 * time.Millisecond) {
		var page struct{ Items []json.RawMessage }
		if err := json.Unmarshal([]byte(s.get(t, cookie, "/v1/credentials?owner=*", "application/json")), &page); err != nil {
			t.Fatal(err)
		}
		if got = len(page.Items); time.Now().After(deadline) {
			t.Fatalf("the console knows %d credentials, expected %d\n%s", got, len(texts), s.get(t, cookie, "/v1/status", "application/json"))
		}
	}
	return cookie, me.CSRF
}

// link signs somebody in, once.
func (s *site) link(t *testing.T, name string) string {
	t.Helper()
	link, err := console.AskLink(t.Context(), filepath.Join(s.dir, "data", console.SocketFile), name, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return link
}

// get gives the body of what has to be answered with 200.
func (s *site) get(t *testing.T, cookie, path, accept string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Cookie", cookie)
	request.Header.Set("Accept", accept)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d, %v: %.500s", path, answer.StatusCode, err, body)
	}
	return string(body)
}
