package certlog

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/collectors/sourcetest"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// site is a collector, what it publishes, and where it keeps its checkpoints.
type site struct {
	t      *testing.T
	cfg    Config
	dir    string
	broker *sourcetest.Broker

	mu     sync.Mutex // guards what follows
	driven map[string]*leastwisev1.Event
	said   string
}

func newSite(t *testing.T, verify string, logs ...LogConfig) *site {
	return &site{t: t, dir: t.TempDir(), broker: &sourcetest.Broker{}, driven: map[string]*leastwisev1.Event{}, cfg: Config{Logs: logs, TrustDomains: []string{"example.org"},
		Verify: verify, Poll: 5 * time.Millisecond, Heartbeat: 10 * time.Millisecond, BatchWait: 20 * time.Millisecond}}
}

func (s *site) start() (stop func()) {
	s.t.Helper()
	return sourcetest.Start(s.t, s.broker, s.dir, func(deps collect.Deps) (collect.Runner, error) { return New(s.cfg, deps) })
}

// drive reads the feed without the pauses that a collector makes after an error.
func (s *site) drive() (stop func()) {
	s.t.Helper()
	c, err := New(s.cfg, collect.Deps{Stream: s.broker, DataDir: s.dir})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := c.feed.resume(); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer c.feed.Close()
		decoder := NewDecoder(Options{TrustDomains: s.cfg.TrustDomains, Names: map[string]string{c.feed.logs[0].key.ID(): c.feed.logs[0].cfg.Name}})
		for ctx.Err() == nil {
			_, commit, err := c.feed.Read(ctx, 50, 10*time.Millisecond, func(rec source.Record, _ *source.Malformed) {
				events, err := decoder.Decode(nil, rec)
				if err != nil {
					s.t.Error(err)
				}
				s.mu.Lock()
				defer s.mu.Unlock()
				for _, ev := range events {
					s.driven[hex.EncodeToString(ev.Id)] = ev
				}
			})
			if commit != nil {
				if err := commit(); err != nil {
					s.t.Error(err)
				}
			}
			s.mu.Lock()
			if s.said = ""; err != nil {
				s.said = err.Error()
			}
			s.mu.Unlock()
		}
	}()
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); <-done }) }
	s.t.Cleanup(stop)
	return stop
}

// events published so far, by either way.
func (s *site) events() map[string]*leastwisev1.Event {
	out := s.broker.Events()
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.Copy(out, s.driven)
	return out
}

// serials of the certificates published so far, in hex.
func (s *site) serials() []string {
	var out []string
	for _, ev := range s.events() {
		if ev.Kind == leastwisev1.Event_ISSUED {
			out = append(out, ev.Labels["serial_number"])
		}
	}
	slices.Sort(out)
	return out
}

func (s *site) wait(serials ...string) {
	s.t.Helper()
	sourcetest.Eventually(s.t, fmt.Sprintf("%d certificates", len(serials)), func() bool { return slices.Equal(s.serials(), serials) })
}

// alarms published so far, in order of their names.
func (s *site) alarms() []string {
	var out []string
	for _, ev := range s.events() {
		if ev.Labels["alarm"] != "" {
			out = append(out, ev.Labels["alarm"])
		}
	}
	slices.Sort(out)
	return out
}

func (s *site) trouble() string {
	if beat := s.broker.Facts()["heartbeat/certlog/default"]; beat != nil {
		return beat.GetHeartbeat().Trouble
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said
}

func (s *site) waitAlarm(kind string) {
	s.t.Helper()
	sourcetest.Eventually(s.t, "alarm "+kind, func() bool { return slices.Contains(s.alarms(), kind) })
	sourcetest.Eventually(s.t, "it is said", func() bool { return strings.Contains(s.trouble(), "alarm "+kind) })
}

func (s *site) state(name string) *state {
	at, err := loadState(filepath.Join(s.dir, "certlog-default-"+name+".checkpoint.json"))
	if err != nil {
		s.t.Fatal(err)
	}
	return at
}

func (s *site) waitPosition(name string, position uint64) {
	s.t.Helper()
	sourcetest.Eventually(s.t, fmt.Sprintf("checkpoint of %s at %d", name, position), func() bool {
		at := s.state(name)
		return at != nil && at.Position == position
	})
}

// workloads are entries of certificates with the serials from..to-1, every other one a precertificate.
func workloads(ca *authority, from, to int) (out []*logged) {
	for i := from; i < to; i++ {
		template := leafTemplate(int64(i), fmt.Sprintf("spiffe://example.org/agent/%d", i))
		if i%2 == 0 {
			out = append(out, ca.precertificate(template, testBegin.Add(time.Duration(i)*time.Second)))
		} else {
			out = append(out, ca.certificate(template, testBegin.Add(time.Duration(i)*time.Second)))
		}
	}
	return out
}

func serials(from, to int) (out []string) {
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprintf("%x", i))
	}
	slices.Sort(out)
	return out
}

func keyOf(ca *authority, serial string) string {
	hash := ca.keyHash()
	return "certlog/default/certificate/" + hex.EncodeToString(hash[:]) + "-" + serial
}
