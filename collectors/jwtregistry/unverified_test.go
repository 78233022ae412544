package jwtregistry

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/collectors/sourcetest"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

func TestAForgedTokenThatIsOnlyUsedIsDescribed(t *testing.T) {
	good, evil := newSigner("good"), newSigner("evil")
	forged := evil.token(t, "good", map[string]any{"iss": "https://i", "sub": "root", "jti": "j", "iat": issued})
	d := NewDecoder(Options{Keys: keysOf(t, good)})
	for _, verb := range []string{"used", "denied"} {
		events, err := d.Decode(nil, asRecord(line(t, map[string]any{"version": 1, "event": verb, "id": verb, "time": issued, "token": forged})))
		if err != nil || len(events) != 2 {
			t.Fatal(verb, events, err)
		}
		told := events[1]
		if told.Kind != leastwisev1.Event_OBSERVED || told.Credential != events[0].Credential || told.Labels["verified"] != "false" ||
			told.Labels["key_id"] != "good" || told.Labels["claimed_subject"] != "root" || told.Principal != "" || string(told.Id) == string(events[0].Id) {
			t.Errorf("%s: %v", verb, told)
		}
	}
	right := good.token(t, "good", map[string]any{"iss": "https://i", "sub": "s", "jti": "j", "iat": issued})
	if events, err := d.Decode(nil, asRecord(line(t, map[string]any{"version": 1, "event": "used", "id": "r", "time": issued, "token": right}))); err != nil || len(events) != 1 {
		t.Errorf("a token that is right: %v %v", events, err)
	}
}

func TestForgedTokensAreOneFindingForEachIssuerAndKey(t *testing.T) {
	good, evil := newSigner("good"), newSigner("evil")
	dir := t.TempDir()
	var text strings.Builder
	add := func(signer signer, kid, issuer string, n int) {
		token := signer.token(t, kid, map[string]any{"iss": issuer, "sub": "s", "jti": "j" + strconv.Itoa(n), "iat": issued})
		text.Write(line(t, map[string]any{"version": 1, "event": "used", "id": issuer + kid + strconv.Itoa(n), "time": issued, "token": token}))
		text.WriteByte('\n')
	}
	for n := range 5 {
		add(evil, "good", "https://i", n)
	}
	add(good, "good", "https://well", 0)
	for n := range maxForgers + 20 { // whoever forges tokens names whatever he likes
		add(evil, "good", "https://random/"+strconv.Itoa(n), n)
	}
	path := filepath.Join(dir, "registry.jsonl")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	keys := filepath.Join(dir, "keys.json")
	if err := os.WriteFile(keys, jwks(t, good), 0o600); err != nil {
		t.Fatal(err)
	}
	broker := &sourcetest.Broker{}
	stop := sourcetest.Start(t, broker, filepath.Join(dir, "data"), func(deps collect.Deps) (collect.Runner, error) {
		return New(Config{File: path, JWKS: &JWKSConfig{File: keys}, BatchWait: 5 * time.Millisecond}, deps)
	})
	defer stop()
	const key = "finding/jwtregistry/default/unverified_token/"
	sourcetest.Eventually(t, "all findings", func() bool { return broker.Facts()[key+otherNames].GetFinding().GetStanding() })
	n := 0
	for id, fact := range broker.Facts() {
		f := fact.GetFinding()
		if f == nil {
			continue
		}
		n++
		if strings.Contains(f.Detail, "eyJ") || strings.Contains(id, "well") {
			t.Errorf("%s: %v", id, f)
		}
	}
	if n != maxForgers+1 {
		t.Errorf("%d findings, want %d", n, maxForgers+1)
	}
	if f := broker.Facts()[key+"https://i key good"].GetFinding(); f.GetCount() != 5 || len(f.About) != 1 || !strings.HasPrefix(f.About[0], "jwtregistry/default/jwt/sha256:") {
		t.Errorf("%v", f)
	}
	if f := broker.Facts()[key+otherNames].GetFinding(); f.GetCount() != 21 {
		t.Errorf("beyond the bound: %v", f)
	}
}

func asRecord(text []byte) source.Record { return source.Record{Bytes: text, Position: "test:0"} }
