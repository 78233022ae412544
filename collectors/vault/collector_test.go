package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/kafkatest"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// flaky is a broker in memory that fails as told: before it stored the messages, or after.
type flaky struct {
	mu       sync.Mutex // guards what follows
	stored   []stream.Message
	failures []string // "before", "after" or "hang", for the next calls
}

func (f *flaky) Publish(ctx context.Context, messages ...stream.Message) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	how := ""
	events := false
	for _, m := range messages {
		events = events || m.Topic == schemas.TopicEvents
	}
	if events && len(f.failures) > 0 {
		how, f.failures = f.failures[0], f.failures[1:]
	}
	if how == "hang" { // the broker is away until the caller gives up
		f.mu.Unlock()
		<-ctx.Done()
		f.mu.Lock()
		return ctx.Err()
	}
	if how != "before" {
		for _, m := range messages { // what was published is free to be changed
			m.Key, m.Value = bytes.Clone(m.Key), bytes.Clone(m.Value)
			f.stored = append(f.stored, m)
		}
	}
	if how != "" {
		return errors.New("injected " + how)
	}
	return nil
}

// events decodes what was stored, once per id.
func (f *flaky) events(t *testing.T) map[string]*leastwisev1.Event {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	return eventsOf(t, f.stored)
}

func eventsOf(t *testing.T, messages []stream.Message) map[string]*leastwisev1.Event {
	t.Helper()
	out := map[string]*leastwisev1.Event{}
	for _, m := range messages {
		if m.Topic != schemas.TopicEvents {
			continue
		}
		ev := &leastwisev1.Event{}
		if err := ev.UnmarshalVT(m.Value); err != nil {
			t.Fatal(err)
		}
		if ev.Credential != "" && string(m.Key) != ev.Credential || len(m.Key) == 0 {
			t.Errorf("key %q of %v", m.Key, ev)
		}
		out[string(ev.Id)] = ev
	}
	return out
}

// running starts a collector; stop ends it and waits.
func running(t *testing.T, cfg Config, deps collect.Deps) (c *Collector, stop func()) {
	t.Helper()
	if deps.Env.Metrics == nil {
		log, err := daemon.NewLogger(t.Output(), "info", "text")
		if err != nil {
			t.Fatal(err)
		}
		deps.Env = daemon.NewEnv("test", log)
	}
	c, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return c, stop
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func ids(events map[string]*leastwisev1.Event) map[string]bool {
	out := map[string]bool{}
	for id := range events {
		out[id] = true
	}
	return out
}

func missingIDs(want, got map[string]bool) (missing int) {
	for id := range want {
		if !got[id] {
			missing++
		}
	}
	return missing
}

func TestCollectorPublishesTheRecordingThroughKafka(t *testing.T) {
	client := kafkatest.New(t)
	if err := client.EnsureTopics(t.Context(), collect.Topics()); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	log := filepath.Join(dir, "audit.log")
	text := append(bytes.Join(recordedLines(t), []byte("\n")), []byte("\nnot json CANARY\n")...)
	if err := os.WriteFile(log, text, 0o600); err != nil {
		t.Fatal(err)
	}
	_, stop := running(t, Config{File: log, Heartbeat: 20 * time.Millisecond}, collect.Deps{Stream: client, DataDir: dir})
	read := func(topic string) (all []stream.Message) {
		n, err := client.Partitions(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		for p := range n {
			if _, err := client.ReadPartition(t.Context(), topic, p, stream.Earliest, func(m stream.Message) error {
				if strings.Contains(string(m.Value), "CANARY") {
					t.Errorf("secret in %s: %q", topic, m.Value)
				}
				m.Topic = topic
				all = append(all, m)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		return all
	}
	fact := &leastwisev1.Fact{}
	eventually(t, "a heartbeat tells of all records", func() bool {
		beats := read(schemas.TopicIdentity)
		return len(beats) > 0 && fact.UnmarshalVT(beats[len(beats)-1].Value) == nil && fact.GetHeartbeat().Records == 165
	})
	eventually(t, "the checkpoint is at the end", func() bool {
		at, err := source.LoadCheckpoint(filepath.Join(dir, "vault-default.checkpoint.json"))
		return err == nil && at != nil && at.Offset == int64(len(text))
	})
	stop()
	messages := read(schemas.TopicEvents)
	want := merged(t, Options{}, recordedLines(t))
	if got := eventsOf(t, messages); missingIDs(ids(want), ids(got)) != 0 || len(got) != len(want) {
		t.Errorf("%d events, want %d", len(got), len(want))
	}
	headers := map[string]string{}
	for _, h := range messages[0].Headers {
		headers[h.Key] = string(h.Value)
	}
	if headers["ce_specversion"] != "1.0" || !strings.HasPrefix(headers["ce_type"], "io.leastwise.event.") ||
		headers["ce_source"] != "vault/default" || len(headers["ce_id"]) != 32 || headers["content-type"] != "application/protobuf" {
		t.Errorf("headers %v", headers)
	}
	letters := read(schemas.TopicDeadLetter)
	letter := &leastwisev1.DeadLetter{}
	if len(letters) != 1 || letter.UnmarshalVT(letters[0].Value) != nil || letter.Reason != "malformed" || !strings.HasPrefix(letter.Position, log+":") {
		t.Errorf("dead letters %v", letters)
	}
	if beat := fact.GetHeartbeat(); beat.Records != 165 || beat.DeadLetters != 1 || beat.LastRecordAt == nil || beat.Trouble != "" || beatKey(t, read(schemas.TopicIdentity)) != "heartbeat/vault/default" {
		t.Errorf("heartbeat %v", beat)
	}
}

func beatKey(t *testing.T, beats []stream.Message) string {
	t.Helper()
	return string(beats[len(beats)-1].Key)
}

func TestCheckpointMovesOnlyAfterWhatItCoversIsPublished(t *testing.T) {
	lines := recordedLines(t)
	want := ids(merged(t, Options{}, lines))
	dir := t.TempDir()
	log := filepath.Join(dir, "audit.log")
	broker := &flaky{}
	appendTo := func(lines [][]byte) {
		file, err := os.OpenFile(log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		file.Write(append(bytes.Join(lines, []byte("\n")), '\n'))
		file.Close()
	}
	cfg := Config{File: log, BatchRecords: 10, BatchWait: 5 * time.Millisecond}
	for round, failures := range [][]string{{"before"}, {"after"}, {"before", "after"}, nil} {
		part := lines[round*len(lines)/4 : (round+1)*len(lines)/4]
		before := len(broker.events(t))
		broker.failures = failures
		_, stop := running(t, cfg, collect.Deps{Stream: broker, DataDir: dir})
		appendTo(part)
		if round%2 == 0 { // ended in the middle, whatever was committed
			eventually(t, "something is published", func() bool { return len(broker.events(t)) > before })
		} else {
			wanted := ids(merged(t, Options{}, lines[:(round+1)*len(lines)/4]))
			eventually(t, "all so far is published", func() bool { return missingIDs(wanted, ids(broker.events(t))) == 0 })
		}
		stop()
		if round == 1 { // rotated while the collector is away
			if err := os.Rename(log, log+".1"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if missing := missingIDs(want, ids(broker.events(t))); missing != 0 {
		t.Errorf("%d events lost", missing)
	}
	if got := len(broker.events(t)); got != len(want) {
		t.Errorf("%d events, want %d", got, len(want))
	}
}

func TestWhatWasNotPublishedWhenTheCollectorEndedComesAfterTheNextStart(t *testing.T) {
	lines := recordedLines(t)
	want := ids(merged(t, Options{}, lines))
	dir := t.TempDir()
	log := filepath.Join(dir, "audit.log")
	if err := os.WriteFile(log, append(bytes.Join(lines, []byte("\n")), '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	broker := &flaky{failures: []string{"", "hang"}}
	cfg := Config{File: log, BatchRecords: 40}
	_, stop := running(t, cfg, collect.Deps{Stream: broker, DataDir: dir})
	eventually(t, "the second batch hangs", func() bool {
		broker.mu.Lock()
		defer broker.mu.Unlock()
		return len(broker.failures) == 0
	})
	stop()
	if missingIDs(want, ids(broker.events(t))) == 0 {
		t.Fatal("everything was published before the collector ended: the test shows nothing")
	}
	running(t, cfg, collect.Deps{Stream: broker, DataDir: dir})
	eventually(t, "the rest is published", func() bool { return missingIDs(want, ids(broker.events(t))) == 0 })
}

func TestSocketsTakeRecords(t *testing.T) {
	lines := recordedLines(t)
	want := ids(merged(t, Options{}, lines))
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	for network, at := range map[string]string{"tcp": address, "unix": filepath.Join(t.TempDir(), "s")} {
		broker := &flaky{}
		stale := network == "unix"
		if stale { // left by a crash
			os.WriteFile(at, nil, 0o600)
		}
		_, stop := running(t, Config{Socket: network + "://" + at, BatchWait: 5 * time.Millisecond}, collect.Deps{Stream: broker})
		var conns []net.Conn
		eventually(t, "it listens", func() bool {
			conn, err := net.Dial(network, at)
			if err == nil {
				conns = append(conns, conn)
			}
			return err == nil
		})
		second, err := net.Dial(network, at)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, second)
		for i, line := range lines {
			fmt.Fprintf(conns[i%2], "%s\n", line)
		}
		eventually(t, network+": all is published", func() bool { return missingIDs(want, ids(broker.events(t))) == 0 })
		for _, conn := range conns {
			conn.Close()
		}
		stop()
	}
}

func TestConfigurationErrorsSayWhatToDo(t *testing.T) {
	inventory := func(i InventoryConfig) Config { return Config{File: "x", Inventory: &i} }
	for want, cfg := range map[string]Config{
		"set file":     {Prefix: "x"},
		"not both":     {File: "x", Socket: "tcp://:1"},
		"tcp://HOST":   {Socket: "udp://x"},
		"at most 128":  {File: "x", Prefix: strings.Repeat("x", 129)},
		"negative":     {File: "x", BatchWait: -1},
		"address":      inventory(InventoryConfig{}),
		"either":       inventory(InventoryConfig{Address: "http://x"}),
		"role_id_file": inventory(InventoryConfig{Address: "http://x", AppRole: &AppRole{}}),
		"auto, true":   inventory(InventoryConfig{Address: "http://x", TokenFile: "x", HMACAccessor: "maybe"}),
		"device":       inventory(InventoryConfig{Address: "http://x", TokenFile: "x", HMACAccessor: "true"}),
		"is missing":   {},
		"data_dir":     {File: "x"},
	} {
		if _, err := New(cfg, collect.Deps{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want …%s…", err, want)
		}
	}
}
