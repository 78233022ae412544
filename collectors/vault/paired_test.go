package vault

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"google.golang.org/protobuf/proto"
)

// TestASkippedResponseWouldHaveToldNothing decodes the recording with pairing: every response line that is passed over
// must be one of which a full reading gives no event but the call itself.
func TestASkippedResponseWouldHaveToldNothing(t *testing.T) {
	d, full := NewDecoder(Options{Pairing: true}), NewDecoder(Options{})
	skipped := 0
	for i, line := range recordedLines(t) {
		said := d.saidAlready(line)
		events, err := full.Decode(nil, source.Record{Bytes: line})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Decode(nil, source.Record{Bytes: line}); err != nil {
			t.Fatal(err)
		}
		if !said {
			continue
		}
		skipped++
		if len(events) != 1 || events[0].Index != indexCall || events[0].Outcome != leastwisev1.Outcome_OUTCOME_SUCCESS {
			t.Errorf("line %d was passed over, and tells %v", i, events)
		}
	}
	if skipped < 20 {
		t.Errorf("only %d response lines were passed over", skipped)
	}
}

func TestADamagedResponseIsNotPassedOver(t *testing.T) {
	d := NewDecoder(Options{Pairing: true})
	for _, line := range recordedLines(t) {
		if d.saidAlready(line) {
			damaged := bytes.Replace(line, []byte(`"request":{`), []byte(`"request":{{`), 1)
			if _, err := d.Decode(nil, source.Record{Bytes: damaged}); err == nil {
				t.Fatal("a damaged record passed for one that tells nothing new")
			}
			return
		}
		if _, err := d.Decode(nil, source.Record{Bytes: line}); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("no line to damage")
}

func TestTextThatAgentsChooseHidesNoResponse(t *testing.T) {
	d := NewDecoder(Options{Pairing: true})
	const id = "1d979ffd-e14b-dd2d-a335-8898e8781f6f"
	request := `{"auth":{"accessor":"hmac-sha256:a","policy_results":{"allowed":true},"token_type":"service"},"request":{"id":"` + id +
		`","mount_class":"secret","mount_type":"kv","operation":"read","path":"secret/data/x"},"time":"2026-11-21T06:12:00Z","type":"request"}`
	if _, err := d.Decode(nil, source.Record{Bytes: []byte(request)}); err != nil {
		t.Fatal(err)
	}
	// Another call's response: its user agent claims an id that was decoded, as text.
	other := `{"auth":{"accessor":"hmac-sha256:b","policy_results":{"allowed":true},"token_type":"service"},"request":{"headers":{"user-agent":[%q]},` +
		`"id":"ffffffff-e14b-dd2d-a335-8898e8781f6f","mount_class":"secret","mount_type":"kv","operation":"read","path":"secret/data/y"},` +
		`"time":"2026-11-21T06:12:00Z","type":"response"}`
	events, err := d.Decode(nil, source.Record{Bytes: fmt.Appendf(nil, other, `"id":"`+id+`"`)})
	if err != nil || len(events) != 1 || proto.Equal(events[0], nil) {
		t.Fatalf("%v %v", events, err)
	}
}
