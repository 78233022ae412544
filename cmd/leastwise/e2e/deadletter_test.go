package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/cmd/leastwise/deadletter"
	"github.com/leastwise/leastwise/internal/stream"
)

// The record is refused while records may be no longer than 300 bytes. Then somebody allows longer ones.
func TestADeadRecordThatIsReplayedCountsOnce(t *testing.T) {
	p := newProduct(t, 2)
	p.kafka.start()
	p.cfg.VaultCollector.Backlog = true
	p.cfg.VaultCollector.MaxRecordBytes = 300
	p.append([]byte(longRecord + `{"type":"response","time":` + "\n"))
	p.start()
	p.untilReady()
	p.untilNumber(2, "SELECT count() FROM dead_letters FINAL")
	p.untilNumber(0, "SELECT count() FROM credentials FINAL")

	if err := os.Rename(p.log, p.log+".1"); err != nil { // rotated meanwhile
		t.Fatal(err)
	}
	if err := os.WriteFile(p.log, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	kafka, err := stream.Open(t.Context(), p.cfg.Kafka, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer kafka.Close()
	replay := func(f deadletter.Filter, opts deadletter.Options) (told []string) {
		t.Helper()
		f.Limit = 100
		letters, _, err := deadletter.List(t.Context(), p.db, f)
		if err != nil {
			t.Fatal(err)
		}
		cfg := p.cfg
		cfg.VaultCollector.MaxRecordBytes = 0
		err = deadletter.Run(t.Context(), &cfg, kafka, letters, opts, func(o deadletter.Outcome) {
			told = append(told, fmt.Sprintf("%s: %d events %s", o.Letter.Reason, o.Events, o.Failed))
		})
		if err != nil {
			t.Fatal(err)
		}
		return told
	}
	tooLong := deadletter.Filter{Reason: "too_long"}
	if told := replay(tooLong, deadletter.Options{DryRun: true}); len(told) != 1 || told[0] != "too_long: 3 events " {
		t.Fatalf("the dry run tells %q", told)
	}
	p.untilNumber(0, "SELECT count() FROM dead_letters FINAL WHERE reason = 'replayed'")
	told := strings.Join(replay(deadletter.Filter{}, deadletter.Options{}), "\n")
	if !strings.Contains(told, "too_long: 3 events ") || !strings.Contains(told, "0 events still not readable (") {
		t.Fatalf("the replay tells:\n%s", told)
	}
	once := func() {
		t.Helper()
		p.untilNumber(1, "SELECT count() FROM credentials FINAL WHERE credential = 'vault/default/token/child'")
		p.untilNumber(1, "SELECT toUInt64(uses) FROM credentials FINAL WHERE credential = 'vault/default/token/parent'")
		p.untilNumber(1, "SELECT count() FROM dead_letters FINAL WHERE reason = 'replayed'")
		p.untilNumber(2, "SELECT count() FROM dead_letters FINAL")
	}
	once()
	if told := replay(deadletter.Filter{Reason: deadletter.ReasonReplayed}, deadletter.Options{}); len(told) != 1 || !strings.Contains(told[0], "3 events") {
		t.Fatalf("the second replay tells %q", told)
	}
	// What was written after it in each partition has been counted: so would the repeat have been.
	for _, name := range []string{"parent", "child"} {
		p.append([]byte(strings.ReplaceAll(strings.ReplaceAll(lastRecord, "NAME", name), "CALL", "after-"+name)))
	}
	p.untilNumber(2, "SELECT toUInt64(uses) FROM credentials FINAL WHERE credential = 'vault/default/token/parent'")
	p.untilNumber(1, "SELECT toUInt64(uses) FROM credentials FINAL WHERE credential = 'vault/default/token/child'")
	p.untilNumber(0, "SELECT toUInt64(count() - uniqExact(id)) FROM events")
	for _, secret := range []string{"s3cret", "hidden"} {
		p.untilNumber(0, "SELECT count() FROM dead_letters WHERE position(concat(excerpt, detail, position), ?) > 0", secret)
	}
	if told := replay(tooLong, deadletter.Options{}); len(told) != 0 {
		t.Errorf("what was replayed is still too long: %q", told)
	}
	if told := replay(deadletter.Filter{}, deadletter.Options{From: []string{t.TempDir()}}); len(told) != 1 || !strings.Contains(told[0], "in none of the files given") {
		t.Errorf("a record that is nowhere: %q", told)
	}
}

const (
	longRecord = `{"type":"response","time":"2026-09-01T06:00:00Z","auth":{"accessor":"parent","policy_results":{"allowed":true}},"request":{"id":"long","operation":"update","path":"auth/token/create","client_token_accessor":"parent","data":{"hidden":"s3cret"}},"response":{"auth":{"accessor":"child","policies":["default"],"token_ttl":3600,"token_type":"service"}}}
`
	lastRecord = `{"type":"request","time":"2026-09-01T06:00:00Z","auth":{"accessor":"NAME","policy_results":{"allowed":true}},"request":{"id":"CALL","operation":"read","path":"a/b","client_token_accessor":"NAME"}}
`
)
