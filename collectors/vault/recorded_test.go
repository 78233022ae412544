package vault

import (
	"bufio"
	"bytes"
	"encoding/json"
	"math/rand"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"google.golang.org/protobuf/proto"
)

// truth is what the driver of the recorded Vault did, in terms of the accessors as the device hashes them.
type truth struct {
	Finish      time.Time
	Credentials []struct {
		Kind, ID, Name   string
		IssuedAt         *time.Time `json:"issued_at"`
		TTL              int64
		Uses, Denied     int
		DerivedFrom      *string `json:"derived_from"`
		Ended            *string
		Unknowable       []string
		Entity           string
		RenewedAt        time.Time `json:"renewed_at"`
		TTLAfterRenewal  int64     `json:"ttl_after_renewal"`
		DeniedPermission int       `json:"denied_permissions"`
	}
}

func recordedTruth(t *testing.T) truth {
	t.Helper()
	var out truth
	text, err := os.ReadFile("testdata/recorded/truth.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func recordedLines(t testing.TB) [][]byte {
	t.Helper()
	text, err := os.ReadFile("testdata/recorded/audit.log")
	if err != nil {
		t.Fatal(err)
	}
	var lines [][]byte
	for scanner := bufio.NewScanner(bytes.NewReader(text)); scanner.Scan(); {
		lines = append(lines, bytes.Clone(scanner.Bytes()))
	}
	return lines
}

// merged decodes the lines and keeps each event id once.
func merged(t testing.TB, opts Options, lines [][]byte) map[string]*leastwisev1.Event {
	t.Helper()
	d := NewDecoder(opts)
	events := map[string]*leastwisev1.Event{}
	for _, line := range lines {
		got, err := d.Decode(nil, source.Record{Bytes: line, Position: "test:0"})
		if err != nil {
			t.Fatalf("%v: %.200s", err, line)
		}
		for _, ev := range got {
			if was := events[string(ev.Id)]; was != nil {
				ev = Prefer(was, ev)
			}
			events[string(ev.Id)] = ev
		}
	}
	return events
}

// told is what a naive reader makes of the events of one credential.
type told struct {
	uses, denied, revoked int
	permissions           map[string]bool
	issued, expires       time.Time
	expiresToldAt         time.Time
	never                 bool
	parent, principal     string
	lifecycle             bool
}

func reckon(events map[string]*leastwisev1.Event) map[string]*told {
	out := map[string]*told{}
	for _, ev := range events {
		c := out[ev.Credential]
		if c == nil {
			c = &told{permissions: map[string]bool{}}
			out[ev.Credential] = c
		}
		life := ev.GetLifetime()
		switch ev.Kind {
		case leastwisev1.Event_USED:
			c.uses++
		case leastwisev1.Event_DENIED:
			c.denied++
			c.permissions[ev.Permission] = true
		case leastwisev1.Event_REVOKED:
			c.revoked++
		}
		if t := life.GetIssuedAt(); t != nil && (c.issued.IsZero() || t.AsTime().Before(c.issued)) {
			c.issued = t.AsTime()
		}
		proper := ev.Kind == leastwisev1.Event_ISSUED || ev.Kind == leastwisev1.Event_RENEWED || ev.Kind == leastwisev1.Event_OBSERVED
		if t := life.GetExpiresAt(); t != nil && (proper && !c.lifecycle || proper == c.lifecycle && ev.OccurredAt.AsTime().After(c.expiresToldAt)) {
			c.expires, c.expiresToldAt, c.lifecycle = t.AsTime(), ev.OccurredAt.AsTime(), proper
		}
		c.never = c.never || life.GetNeverExpires()
		if ev.Parent != "" {
			c.parent = ev.Parent
		}
		if ev.Principal != "" {
			c.principal = ev.Principal
		}
	}
	return out
}

func TestRecordedVaultMatchesWhatWasDone(t *testing.T) {
	want := recordedTruth(t)
	for _, pairing := range []bool{false, true} {
		got := reckon(merged(t, Options{Pairing: pairing}, recordedLines(t)))
		known := map[string]bool{"": true}
		for _, c := range want.Credentials {
			key := "vault/default/" + c.Kind + "/" + c.ID
			known[key] = true
			is := got[key]
			if is == nil {
				t.Errorf("%s: not told of", c.Name)
				continue
			}
			if !slices.Contains(c.Unknowable, "uses") && c.Kind == "token" && is.uses != c.Uses {
				t.Errorf("%s: %d uses, want %d", c.Name, is.uses, c.Uses)
			}
			if is.denied != c.Denied || len(is.permissions) != c.DeniedPermission {
				t.Errorf("%s: denied %d of %d, want %d of %d", c.Name, is.denied, len(is.permissions), c.Denied, c.DeniedPermission)
			}
			if c.IssuedAt != nil && is.issued.Sub(*c.IssuedAt).Abs() > 2*time.Second {
				t.Errorf("%s: issued %s, want %s", c.Name, is.issued, c.IssuedAt)
			}
			switch {
			case slices.Contains(c.Unknowable, "expires_at"):
				if !is.expires.IsZero() {
					t.Errorf("%s: an expiry is invented: %s", c.Name, is.expires)
				}
			case c.TTL == 0:
				if !is.never || !is.expires.IsZero() {
					t.Errorf("%s: never expires is %t, expires %s", c.Name, is.never, is.expires)
				}
			case c.Kind != "lease" || !is.expires.IsZero():
				expires := c.IssuedAt.Add(time.Duration(c.TTL) * time.Second)
				if c.TTLAfterRenewal > 0 {
					expires = c.RenewedAt.Add(time.Duration(c.TTLAfterRenewal) * time.Second)
				}
				if is.expires.Sub(expires).Abs() > 2*time.Second {
					t.Errorf("%s: expires %s, want %s", c.Name, is.expires, expires)
				}
			}
			if !slices.Contains(c.Unknowable, "derived_from") {
				parent := ""
				if c.DerivedFrom != nil {
					parent = "vault/default/token/" + *c.DerivedFrom
				}
				if is.parent != parent {
					t.Errorf("%s: parent %q, want %q", c.Name, is.parent, parent)
				}
			}
			if c.Entity != "" && is.principal != "vault/default/entity/"+c.Entity {
				t.Errorf("%s: principal %q", c.Name, is.principal)
			}
			if revoked := c.Ended != nil && *c.Ended == "revoked" && c.Kind == "token"; revoked && is.revoked != 1 {
				t.Errorf("%s: revoked %d times in the log", c.Name, is.revoked)
			}
		}
		for key := range got {
			if !known[key] {
				t.Errorf("invented credential %s", key)
			}
		}
	}
}

func TestOrderRepeatsAndPairingChangeNothing(t *testing.T) {
	lines := recordedLines(t)
	want := merged(t, Options{}, lines)
	rng := rand.New(rand.NewSource(1))
	for round := range 20 {
		shuffled := slices.Clone(lines)
		shuffled = append(shuffled, lines[:rng.Intn(len(lines))]...)
		rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		got := merged(t, Options{}, shuffled)
		if len(got) != len(want) {
			t.Fatalf("round %d: %d events, want %d", round, len(got), len(want))
		}
		for id, ev := range want {
			if !proto.Equal(ev, got[id]) {
				t.Fatalf("round %d: got %v\nwant %v", round, got[id], ev)
			}
		}
	}
	if got := merged(t, Options{Pairing: true}, lines); len(got) != len(want) {
		t.Errorf("with pairing: %d events, want %d", len(got), len(want))
	}
}

func TestEitherLineOfACallIsEnough(t *testing.T) {
	whole := merged(t, Options{}, recordedLines(t))
	for _, half := range []string{`"type":"request"`, `"type":"response"`} {
		var lines [][]byte
		ids := map[string]int{}
		for _, line := range recordedLines(t) {
			ids[string(between(line, `"id":"`))]++
		}
		for _, line := range recordedLines(t) {
			if bytes.Contains(line, []byte(half)) && ids[string(between(line, `"id":"`))] == 2 {
				lines = append(lines, line)
			}
		}
		for id, ev := range merged(t, Options{}, lines) {
			if ev.Index != 0 {
				continue
			}
			full := proto.Clone(whole[id]).(*leastwisev1.Event)
			full.OccurredAt, full.Outcome, full.Error = ev.OccurredAt, ev.Outcome, ev.Error
			if !proto.Equal(full, ev) {
				t.Errorf("%s alone gives\n%v\nboth give\n%v", half, ev, full)
			}
		}
	}
}

func between(line []byte, mark string) []byte {
	_, rest, _ := bytes.Cut(line, []byte(mark))
	id, _, _ := bytes.Cut(rest, []byte(`"`))
	return id
}

func TestRecordedEventsHoldNoSecret(t *testing.T) {
	for _, ev := range merged(t, Options{}, recordedLines(t)) {
		if text := ev.String(); strings.Contains(text, "CANARY") || strings.Contains(text, "hvs.") {
			t.Errorf("secret in %s", text)
		}
	}
}
