package vault

import (
	"fmt"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"google.golang.org/protobuf/proto"
)

func revocation(i int, token string) string {
	return fmt.Sprintf(`{"time":"2026-01-01T00:00:%02dZ","type":"response","auth":{"accessor":"acc%d","client_token":"hmac-sha256:%064x","policy_results":{"allowed":true}},`+
		`"request":{"id":"r%d","operation":"update","path":"auth/token/revoke","client_token":"hmac-sha256:%064x","client_token_accessor":"acc%d","data":{"token":"%s"}},"response":{}}`,
		i, i, i, i, i, i, token)
}

// A caller that lets go of events gets new ones in the same memory. An event that waits for its credential is not let go of.
func TestAnEventThatWaitsIsNotUsedAgain(t *testing.T) {
	token := hashMark + strings.Repeat("a", 64)
	d := NewDecoder(Options{})
	var events []*leastwisev1.Event
	for _, line := range []string{revocation(1, token), revocation(2, hashMark+strings.Repeat("b", 64)), revocation(3, hashMark+strings.Repeat("c", 64)),
		`{"time":"2026-01-01T00:00:09Z","type":"request","auth":{"accessor":"its","client_token":"` + token + `","policy_results":{"allowed":true}},` +
			`"request":{"id":"r9","operation":"read","path":"secret/x","client_token":"` + token + `","client_token_accessor":"its"}}`} {
		var err error
		if events, err = d.Decode(events[:0], source.Record{Bytes: []byte(line)}); err != nil {
			t.Fatal(err)
		}
	}
	if last := events[len(events)-1]; len(events) != 2 || last.RecordId != "r1" || last.Kind != leastwisev1.Event_REVOKED || last.Credential != "vault/default/token/its" {
		t.Errorf("%v", events)
	}
}

// What a caller keeps is not changed by what is decoded later; what it lets go of says nothing of what it said before.
func TestLifetimesAreUsedAgainOnlyWhenLetGoOf(t *testing.T) {
	lines := recordedLines(t)
	fresh := NewDecoder(Options{})
	var kept, copies []*leastwisev1.Event
	for _, line := range lines {
		before := len(kept)
		kept, _ = fresh.Decode(kept, source.Record{Bytes: line})
		for _, ev := range kept[before:] {
			copies = append(copies, proto.Clone(ev).(*leastwisev1.Event))
		}
	}
	reused := NewDecoder(Options{})
	var events []*leastwisev1.Event
	n := 0
	for _, line := range lines {
		events, _ = reused.Decode(events[:0], source.Record{Bytes: line})
		for _, ev := range events {
			if !proto.Equal(ev, copies[n]) || !proto.Equal(kept[n], copies[n]) {
				t.Fatalf("event %d: %v, kept %v, want %v", n, ev, kept[n], copies[n])
			}
			n++
		}
	}
	if n != len(copies) {
		t.Errorf("%d events, want %d", n, len(copies))
	}
}

func TestTokenAccessorsGiveBackWhatWasLearnt(t *testing.T) {
	hash := func(i int) string { return fmt.Sprintf("%s%064x", hashMark, i) }
	accessors := []string{"plain", hash(7), strings.ToUpper(hash(0xabc)), hashMark + "short", hashMark + strings.Repeat("A", 64), hashMark + strings.Repeat("g", 64)}
	tokens := []string{hash(1), hashMark + strings.Repeat("F", 64), hashMark + strings.Repeat("f", 64), hashMark + "x", hashMark + strings.Repeat("z", 64)}
	var names tokenAccessors
	for i, token := range tokens {
		for j, accessor := range accessors {
			if names.learn([]byte(token), []byte(accessor)) {
				t.Errorf("%s was known as %s", token, accessor)
			}
			if !names.learn([]byte(token), []byte(accessor)) {
				t.Errorf("%s was not known as %s", token, accessor)
			}
			if got, ok := names.get([]byte(token)); !ok || got != accessor {
				t.Errorf("%d, %d: %q, want %q", i, j, got, accessor)
			}
		}
	}
	names = tokenAccessors{}
	for i := range 3 * maxAccessors {
		names.learn([]byte(hash(i)), []byte(hash(i+1)))
		names.get([]byte(hash(0))) // what is asked for stays
	}
	if len(names.young)+len(names.old) > 2*maxAccessors {
		t.Errorf("%d and %d are held", len(names.young), len(names.old))
	}
	for _, i := range []int{0, 2*maxAccessors + 100, 3*maxAccessors - 1} {
		if got, ok := names.get([]byte(hash(i))); !ok || got != hash(i+1) {
			t.Errorf("%d: %q %v", i, got, ok)
		}
	}
	if _, ok := names.get([]byte(hash(maxAccessors / 2))); ok {
		t.Error("the oldest are held for ever")
	}
}
