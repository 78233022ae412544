package ssf

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var act = Event{
	ID: "20260102T030405.000Z-abcd", Credential: "jwtregistry/default/jwt/token-1", Principal: "jwtregistry/default/subject/https://idp.example.org|agent",
	Labels: map[string]string{"issuer": "https://idp.example.org"}, At: time.Unix(1_800_000_000, 0), Reason: "policy ephemeral-agent-token",
}

func pushTo(t *testing.T, r *receiver) Receiver {
	return Receiver{Name: "api", Audience: r.audience, Push: &Push{URL: r.server.URL, AuthorizationFile: file(t, "authorization", "Bearer the receiver's")}}
}

// run delivers until the test ends.
func run(t *testing.T, tr *Transmitter) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- tr.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// settled waits until every receiver has the event.
func settled(t *testing.T, tr *Transmitter, e Event) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		err := tr.Transmit(t.Context(), e)
		if err == nil {
			return
		}
		if !errors.Is(err, ErrPending) || time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond) // polling for delivery
	}
}

func TestAPushedEventIsVerifiedByItsReceiver(t *testing.T) {
	for name, key := range map[string]string{"ES256": ecKey(t), "RS256": rsaKey(t)} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, "https://api.example.org")
			tr := transmitter(t, Config{KeyFile: key, FormerKeyFiles: []string{ecKey(t)}, Receivers: []Receiver{pushTo(t, r)}})
			r.transmitter = tr.cfg.Issuer
			run(t, tr)
			settled(t, tr, act)
			took := r.took()
			if len(took) != 2 {
				t.Fatalf("it took %d events", len(took))
			}
			first, second := took[0], took[1]
			revoked, _ := first["events"].(map[string]any)[SessionRevoked].(map[string]any)
			changed, _ := second["events"].(map[string]any)[CredentialChange].(map[string]any)
			if revoked == nil || changed == nil || changed["change_type"] != "revoke" || revoked["initiating_entity"] != "policy" || revoked["event_timestamp"] != float64(act.At.Unix()) {
				t.Errorf("events %v and %v", first["events"], second["events"])
			}
			sub := first["sub_id"].(map[string]any)
			if sub["format"] != "jwt_id" || sub["iss"] != "https://idp.example.org" || sub["jti"] != "token-1" {
				t.Errorf("sub_id %v", sub)
			}
			if first["sub"] != nil || first["exp"] != nil || first["txn"] != act.ID || first["iat"] != float64(act.At.Unix()) {
				t.Errorf("claims %v", first)
			}
		})
	}
}

func TestALostAnswerAndARestartAreToldApartByOneJTI(t *testing.T) {
	r := newReceiver(t, "aud")
	c := Config{KeyFile: ecKey(t), Receivers: []Receiver{pushTo(t, r)}}
	tr := transmitter(t, c)
	r.transmitter, r.answers = tr.cfg.Issuer, []int{0} // taken, but the answer is lost
	run(t, tr)
	settled(t, tr, act)
	c.Issuer = tr.cfg.Issuer
	again, err := Open(c, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	run(t, again)
	settled(t, again, act)
	if took := r.took(); len(took) != 2 {
		t.Errorf("it acted on %d events, of two that were told", len(took))
	}
	most := 0
	for _, n := range r.seen {
		most = max(most, n)
	}
	if most < 2 {
		t.Error("nothing was told again")
	}
}

func TestARefusedPushIsTriedAgainAndNothingElseCountsAsTaken(t *testing.T) {
	r := newReceiver(t, "aud")
	tr := transmitter(t, Config{KeyFile: ecKey(t), Receivers: []Receiver{pushTo(t, r)}})
	r.transmitter, r.answers = tr.cfg.Issuer, []int{400, 200, 503, 302}
	s := tr.streams[0]
	if err := tr.Transmit(t.Context(), act); !errors.Is(err, ErrPending) || !strings.Contains(err.Error(), "api") {
		t.Fatalf("Transmit = %v", err)
	}
	for range 4 {
		s.next = time.Time{}
		tr.push(t.Context(), s)
		if err := tr.Transmit(t.Context(), act); !errors.Is(err, ErrPending) {
			t.Fatalf("Transmit after a refusal = %v", err)
		}
		if s.next.IsZero() {
			t.Error("it does not rest after a refusal")
		}
	}
	s.next = time.Time{}
	tr.push(t.Context(), s)
	if err := tr.Transmit(t.Context(), act); err != nil {
		t.Error(err)
	}
}

func TestAReceiverThatIsAwayIsGivenUpAndCounted(t *testing.T) {
	key, authorization := ecKey(t), file(t, "authorization", "Bearer the receiver's")
	synctest.Test(t, func(t *testing.T) {
		counted := map[string]int{}
		tr, err := Open(Config{Issuer: "http://127.0.0.1:1", KeyFile: key, GiveUp: time.Hour, Listen: "127.0.0.1:0",
			Receivers: []Receiver{{Name: "api", Audience: "aud", Poll: &Poll{BearerFile: authorization}}}}, nil, nil, func(_, result string) { counted[result]++ })
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.Transmit(t.Context(), act); !errors.Is(err, ErrPending) {
			t.Fatal(err)
		}
		time.Sleep(59 * time.Minute)
		tr.expire(tr.streams[0])
		if err := tr.Transmit(t.Context(), act); !errors.Is(err, ErrPending) {
			t.Errorf("given up early: %v", err)
		}
		time.Sleep(2 * time.Minute)
		tr.expire(tr.streams[0])
		if err := tr.Transmit(t.Context(), act); err != nil || counted["given_up"] != 2 {
			t.Errorf("Transmit = %v, counted %v", err, counted)
		}
	})
}

func TestAPolledEventStaysUntilItIsAcknowledged(t *testing.T) {
	r := newReceiver(t, "aud")
	tr := transmitter(t, Config{KeyFile: ecKey(t), Listen: "127.0.0.1:0",
		Receivers: []Receiver{{Name: "api", Audience: "aud", Poll: &Poll{BearerFile: file(t, "bearer", "the-token")}}}})
	r.transmitter = tr.cfg.Issuer
	for _, bearer := range []string{"", "wrong", "the-token-and-more"} {
		if _, _, status := r.poll(bearer, "api", map[string]any{"returnImmediately": true}); status != 401 {
			t.Errorf("bearer %q: %d", bearer, status)
		}
	}
	if err := tr.Transmit(t.Context(), act); !errors.Is(err, ErrPending) {
		t.Fatal(err)
	}
	one, more, _ := r.poll("the-token", "api", map[string]any{"maxEvents": 1, "returnImmediately": true})
	if len(one) != 1 || !more {
		t.Fatalf("%d events, more: %v", len(one), more)
	}
	both, more, _ := r.poll("the-token", "api", map[string]any{})
	if len(both) != 2 || more {
		t.Fatalf("%d events, more: %v: what was not acknowledged is given again", len(both), more)
	}
	var jtis []string
	for jti, token := range both {
		if err := r.accept(token); err != nil {
			t.Error(err)
		}
		jtis = append(jtis, jti)
	}
	left, _, _ := r.poll("the-token", "api", map[string]any{"returnImmediately": true, "ack": jtis[:1],
		"setErrs": map[string]any{jtis[1]: map[string]string{"err": "invalid_audience", "description": "not mine"}}})
	if len(left) != 0 {
		t.Errorf("%d events are left", len(left))
	}
	if err := tr.Transmit(t.Context(), act); err != nil {
		t.Error(err)
	}
	if took := r.took(); len(took) != 2 || r.acted[jtis[0]] == nil {
		t.Errorf("it acted on %v", took)
	}
}

func TestALongPollIsAnsweredWhenSomethingHappens(t *testing.T) {
	r := newReceiver(t, "aud")
	tr := transmitter(t, Config{KeyFile: ecKey(t), Listen: "127.0.0.1:0",
		Receivers: []Receiver{{Name: "api", Audience: "aud", Events: []string{"session-revoked"}, Poll: &Poll{BearerFile: file(t, "bearer", "the-token")}}}})
	r.transmitter = tr.cfg.Issuer
	go func() { _ = tr.Transmit(t.Context(), act) }() // says that it is pending
	sets, _, _ := r.poll("the-token", "api", map[string]any{"maxEvents": 5})
	if len(sets) != 1 {
		t.Errorf("%d events, of the one that this receiver wants", len(sets))
	}
}

func TestSubjectsAreNamedAsReceiversKnowThem(t *testing.T) {
	for want, e := range map[string]Event{
		"jwt_id":  act,
		"uri":     {Credential: "spire/default/x509_svid/1", Labels: map[string]string{"spiffe_id": "spiffe://example.org/a"}},
		"iss_sub": {Credential: "jwtregistry/default/refresh_token/1", Principal: act.Principal},
		"opaque":  {Credential: "vault/default/token/accessor", Principal: "vault/default/entity/1"},
	} {
		if got := e.subject(); got["format"] != want {
			t.Errorf("%s is named %v", e.Credential, got)
		}
	}
	if types := (Event{Credential: "vault/default/certificate/1"}).types(); len(types) != 1 || types[0] != CredentialChange {
		t.Errorf("a certificate is told as %v", types)
	}
}

func TestAConfigurationThatCanNotWorkIsRefused(t *testing.T) {
	good := Config{Issuer: "https://leastwise.example.org", KeyFile: "k", Listen: "127.0.0.1:1",
		Receivers: []Receiver{{Name: "a", Audience: "x", Push: &Push{URL: "https://api.example.org/events"}}}}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(c *Config){
		"issuer":        func(c *Config) { c.Issuer = "http://leastwise.example.org" },
		"key_file":      func(c *Config) { c.KeyFile = "" },
		"listen":        func(c *Config) { c.Listen = "0.0.0.0:1" },
		"audience":      func(c *Config) { c.Receivers[0].Audience = "" },
		"push.url":      func(c *Config) { c.Receivers[0].Push = &Push{URL: "http://api.example.org"} },
		"push and poll": func(c *Config) { c.Receivers[0].Poll = &Poll{} },
		"twice":         func(c *Config) { c.Receivers = append(c.Receivers, c.Receivers[0]) },
		"events":        func(c *Config) { c.Receivers[0].Events = []string{"other"} },
		"name":          func(c *Config) { c.Receivers[0].Name = "../x" },
	} {
		c := good
		c.Receivers = []Receiver{good.Receivers[0]}
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
