package spire

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/collectors/sourcetest"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

func run(t *testing.T, broker *sourcetest.Broker, dir string, cfg Config) (stop func()) {
	t.Helper()
	return sourcetest.Start(t, broker, dir, func(deps collect.Deps) (collect.Runner, error) { return New(cfg, deps) })
}

func appendTo(t *testing.T, path string, text []byte) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}

// missing counts the events of a log that the broker has not.
func missing(t *testing.T, broker *sourcetest.Broker, log []byte) (n int) {
	t.Helper()
	got := broker.Events()
	for _, ev := range decodeLog(t, Options{}, log) {
		if got[hex.EncodeToString(ev.Id)] == nil {
			n++
		}
	}
	return n
}

func TestCollectorLosesNothingOverFailuresAndRestarts(t *testing.T) {
	log, _ := recording(t, "text")
	lines := bytes.SplitAfter(log, []byte("\n"))
	half := bytes.Join(lines[:len(lines)/2], nil)
	dir := t.TempDir()
	file := filepath.Join(dir, "server.log")
	cfg := Config{File: file, BatchRecords: 7, BatchWait: time.Millisecond}
	broker := &sourcetest.Broker{}

	broker.Fail(1)
	appendTo(t, file, half)
	appendTo(t, file, []byte("goroutine 1 [running]: CANARY\n"))
	stop := run(t, broker, dir, cfg)
	sourcetest.Eventually(t, "the first half is published", func() bool { return missing(t, broker, half) == 0 })
	sourcetest.Eventually(t, "what can not be read is a dead letter", func() bool { return len(broker.DeadLetters()) == 1 })
	for _, letter := range broker.DeadLetters() {
		if strings.Contains(letter.String(), "CANARY") {
			t.Errorf("text of the record in %v", letter)
		}
	}
	checkpoint := filepath.Join(dir, "spire-default.checkpoint.json")
	size := func() int64 {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	caughtUp := func() bool {
		at, err := source.LoadCheckpoint(checkpoint)
		return err == nil && at != nil && at.Offset == size()
	}
	sourcetest.Eventually(t, "the checkpoint is at the end", caughtUp)
	stop()

	appendTo(t, file, bytes.Join(lines[len(lines)/2:], nil))
	second := &sourcetest.Broker{}
	stop = run(t, second, dir, cfg)
	sourcetest.Eventually(t, "the second half is published", caughtUp)
	stop()
	if n := missing(t, second, log); n == 0 {
		t.Error("the second run read the first half again")
	}
	for id, ev := range second.Events() {
		if broker.Events()[id] != nil {
			t.Errorf("published twice: %v", ev)
		}
	}
	if n := missing(t, second, bytes.Join(lines[len(lines)/2:], nil)); n != 0 {
		t.Errorf("%d events are missing", n)
	}
}

// away is a broker that takes nothing.
type away struct{ tried chan struct{} }

func (a *away) Publish(context.Context, ...stream.Message) error {
	select {
	case a.tried <- struct{}{}:
	default:
	}
	return errors.New("the broker is away")
}

func TestCheckpointStaysWhileTheBrokerIsAway(t *testing.T) {
	log, _ := recording(t, "json")
	dir := t.TempDir()
	file := filepath.Join(dir, "server.log")
	appendTo(t, file, log)
	broker := &away{tried: make(chan struct{}, 1)}
	// No heartbeat in time: what is tried is the records.
	c, err := New(Config{File: file, Heartbeat: time.Hour}, collect.Deps{Stream: broker, DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	<-broker.tried
	<-broker.tried
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if at, err := source.LoadCheckpoint(filepath.Join(dir, "spire-default.checkpoint.json")); err != nil || at != nil && at.Offset != 0 {
		t.Errorf("checkpoint %+v, %v before anything was published", at, err)
	}
	back := &sourcetest.Broker{}
	run(t, back, dir, Config{File: file})
	sourcetest.Eventually(t, "all is published", func() bool { return missing(t, back, log) == 0 })
}

func TestConfigurationThatCanNotWorkIsRefused(t *testing.T) {
	tcp := InventoryConfig{Address: "h:8081", TrustDomain: "example.org", WorkloadAPI: "unix:///a"}
	for want, cfg := range map[string]Config{
		"section is missing": {},
		"file":               {Instance: "a"},
		"negative":           {File: "f", BatchRecords: -1},
		"HOST:PORT":          {File: "f", Inventory: &InventoryConfig{Address: "nowhere"}},
		"absolute":           {File: "f", Inventory: &InventoryConfig{Address: "unix://a"}},
		"admin socket":       {File: "f", Inventory: &InventoryConfig{Address: "unix:///a", TrustDomain: "b"}},
		"trust_domain":       {File: "f", Inventory: &InventoryConfig{Address: "h:1", WorkloadAPI: "unix:///a"}},
		"bundle_file":        {File: "f", Inventory: &InventoryConfig{Address: "h:1", TrustDomain: "b", CertFile: "c"}},
		"workload_api":       {File: "f", Inventory: &InventoryConfig{Address: "h:1", TrustDomain: "b"}},
		"interval":           {File: "f", Inventory: &InventoryConfig{Address: "unix:///a", Interval: -1}},
	} {
		if _, err := New(cfg, collect.Deps{DataDir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "spire_collector") {
			t.Errorf("want %q: %v", want, err)
		}
	}
	for _, cfg := range []Config{{File: "f"}, {File: "f", Inventory: &InventoryConfig{Address: "unix:///a"}}, {File: "f", Inventory: &tcp}} {
		if _, err := New(cfg, collect.Deps{DataDir: t.TempDir()}); err != nil {
			t.Error(err)
		}
	}
	if _, err := New(Config{File: "f"}, collect.Deps{}); err == nil || !strings.Contains(err.Error(), "data_dir") {
		t.Errorf("without a data directory: %v", err)
	}
}

// observedOf gives the inventory's events of a method, by resource.
func observedOf(broker *sourcetest.Broker, method string) map[string]*leastwisev1.Event {
	out := map[string]*leastwisev1.Event{}
	for _, ev := range broker.Events() {
		if ev.Kind == leastwisev1.Event_OBSERVED && ev.Action == method {
			out[ev.Resource+" "+ev.Credential] = ev
		}
	}
	return out
}
