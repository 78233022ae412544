package spire

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	agentv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/agent/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"

	"github.com/leastwise/leastwise/enforcer/target"
	"github.com/leastwise/leastwise/enforcer/target/spire/spiretest"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

func TestRealSPIRERotationEndsTheOldAuthorityStepByStep(t *testing.T) {
	s := realSPIRE(t, "")
	tg := s.open(t, Config{RotationPause: time.Nanosecond}, nil)
	_, path := s.entry("x509_svid", 3600)
	if !s.agent.Gets(path) {
		t.Fatal("no SVID")
	}
	for _, people := range [][2]string{{"ada", ""}, {"ada", "ada"}, {"ada", " Ada "}} {
		if _, err := tg.StartRotation(t.Context(), X509Authority, "stolen key", people[0], people[1]); !errors.Is(err, ErrApproval) || target.KindOf(err) != target.Impossible {
			t.Errorf("approved by %q: %v", people, err)
		}
	}
	if _, err := tg.StartRotation(t.Context(), X509Authority, "", "ada", "bob"); !errors.Is(err, ErrApproval) {
		t.Errorf("without a reason: %v", err)
	}
	for _, kind := range []string{X509Authority, JWTAuthority} {
		t.Run(kind, func(t *testing.T) {
			r, err := tg.StartRotation(t.Context(), kind, "stolen key", "ada", "bob")
			if err != nil {
				t.Fatal(err)
			}
			if kind == X509Authority && signer(s.agent.SVID(path).Certificates[0].AuthorityKeyId) != r.Retire {
				t.Fatalf("the workload's SVID is not of authority %s", r.Retire)
			}
			forged := r
			forged.ApprovedBy = []string{"ada"}
			if _, err := tg.NextStep(t.Context(), forged); !errors.Is(err, ErrApproval) {
				t.Errorf("a kept rotation with one name: %v", err)
			}
			for _, step := range []Step{Prepared, Activated, Tainted, Revoked} {
				if p, err := tg.VerifyRotation(t.Context(), r); err != nil || p.Gone {
					t.Errorf("before %s: %+v, %v", step, p, err)
				}
				before := kept(t, r)
				if r, err = tg.NextStep(t.Context(), r); err != nil || r.Step != step {
					t.Fatalf("%s: %+v, %v", step, r, err)
				}
				// The process died before it could keep the result.
				again, err := tg.NextStep(t.Context(), before)
				if err != nil || again.Step != step || again.New != r.New {
					t.Fatalf("%s again: %+v, %v; want %+v", step, again, err, r)
				}
				if step == Tainted && kind == X509Authority {
					s.Until("the workload has an SVID of the new authority", func() bool {
						svid := s.agent.SVID(path)
						return svid != nil && signer(svid.Certificates[0].AuthorityKeyId) == r.New
					})
					state, err := tg.authorities(t.Context(), kind)
					if tainted, there := state.bundle[r.Retire]; err != nil || !tainted || !there {
						t.Errorf("the old one is not tainted: %+v, %v", state, err)
					}
				}
			}
			if p, err := tg.VerifyRotation(t.Context(), r); err != nil || !p.Gone || r.New == r.Retire {
				t.Errorf("%+v, %v", p, err)
			}
			if again, err := tg.NextStep(t.Context(), r); err != nil || again.Step != Revoked {
				t.Errorf("%+v, %v", again, err)
			}
		})
	}
}

func signer(keyID []byte) string { return hex.EncodeToString(keyID) }

// kept is the rotation as another process would read it.
func kept(t *testing.T, r Rotation) Rotation {
	t.Helper()
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back Rotation
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	return back
}

func TestRealSPIRERotationGivesWorkloadsTime(t *testing.T) {
	s := realSPIRE(t, "")
	tg := s.open(t, Config{}, nil)
	r, err := tg.StartRotation(t.Context(), X509Authority, "stolen key", "ada", "bob")
	if err != nil {
		t.Fatal(err)
	}
	if r, err = tg.NextStep(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	var e *target.Error
	if _, err = tg.NextStep(t.Context(), r); !errors.As(err, &e) || e.Kind != target.Retryable || e.RetryAfter < 9*time.Minute {
		t.Errorf("%v", err)
	}
	state, err := tg.authorities(t.Context(), X509Authority)
	if err != nil || state.active != r.Retire {
		t.Errorf("%+v, %v", state, err)
	}
}

func TestRealSPIREExposureIsNeverUnderstated(t *testing.T) {
	s := realSPIRE(t, "")
	start := time.Now()
	var seen time.Time
	var known bool
	open := func(now func() time.Time) *Target {
		tg, err := Open(Config{Address: s.Socket, SVID: Delete}, Deps{Now: now, Issued: func(_ context.Context, by IssuedBy) (time.Time, bool, error) {
			if by.Entry == "" {
				t.Errorf("%+v", by)
			}
			return seen, known, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { tg.Close() })
		return tg
	}
	tg := open(time.Now)
	revoked := func(change func(c *target.Credential)) target.Credential {
		c, _ := s.entry("x509_svid", 7200)
		change(&c)
		sight, err := tg.Lookup(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		c.Found, c.Restore, c.RevokedAt = sight.Found, sight.Restore, start
		if err := tg.Revoke(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	until := func(tg *Target, c target.Credential) time.Time {
		p, err := tg.Verify(t.Context(), c)
		if err != nil || !p.Gone {
			t.Fatalf("%+v, %v", p, err)
		}
		return p.WorksUntil
	}
	c := revoked(func(*target.Credential) {})
	if got, want := until(tg, c), start.Add(2*time.Hour+time.Minute); !got.Equal(want) {
		t.Errorf("by the TTL it had: %s, want %s", got, want)
	}
	seen, known = start.Add(20*time.Minute), true
	if got := until(tg, c); !got.Equal(seen) {
		t.Errorf("by what was seen issued: %s, want %s", got, seen)
	}
	if got := until(open(func() time.Time { return start.Add(21 * time.Minute) }), c); !got.IsZero() {
		t.Errorf("after the last has expired: %s", got)
	}
	known = false
	forgotten := c
	forgotten.Restore = ""
	if got := until(tg, forgotten); got.Before(start.Add(23*time.Hour)) || got.After(start.Add(50*time.Hour)) {
		t.Errorf("without what it was, by the authorities: %s", got)
	}
	changed := revoked(func(c *target.Credential) { // it had a longer TTL until now
		if err := tg.setTTL(t.Context(), c.Labels["entry_id"], time.Minute, false); err != nil {
			t.Fatal(err)
		}
	})
	if got := until(tg, changed); got.Before(start.Add(20 * time.Hour)) {
		t.Errorf("of an entry whose TTL was cut before: %s", got)
	}
}

func decision(c target.Credential, threshold string) *pb.Decision {
	return &pb.Decision{Credential: c.Key, Subject: &pb.Subject{Labels: c.Labels},
		Violations: []*pb.Violation{{Metric: "lifetime", Condition: "greater_than", Value: "2h", Threshold: threshold}}}
}

func TestRealSPIREDeletedEntryIsMadeAnewWithTheTTLThatPolicyAllows(t *testing.T) {
	s := realSPIRE(t, "")
	tg := s.open(t, Config{SVID: Delete}, nil)
	c, path := s.entry("x509_svid", 7200)
	id := c.Labels["entry_id"]
	d := decision(c, "20m")
	plan, refused, err := tg.Plan(t.Context(), d)
	if err != nil || refused != "" || !strings.Contains(plan.Narrowed, "20m0s, not 2h0m0s") {
		t.Fatalf("%v, %q, %v", plan, refused, err)
	}
	sight, err := tg.Lookup(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	c.Found, c.Restore = sight.Found, sight.Restore
	if err := tg.Revoke(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := tg.Reissue(t.Context(), "ladder", d, plan); err != nil {
			t.Fatal(err)
		}
	}
	if e := s.now(t, id); e.X509SvidTtl != 1200 || e.JwtSvidTtl != 7200 || text(e.SpiffeId) != c.Labels["spiffe_id"] || len(e.Selectors) != 1 {
		t.Errorf("made anew: %v", e)
	}
	if !s.agent.Gets(path) {
		t.Error("the workload gets no SVID by it")
	}
	// What was revoked is gone all the same; the same second tells nothing.
	c.RevokedAt = time.Now()
	former, err := formerEntry(c.Restore)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := tg.Verify(t.Context(), c); err != nil || p.Gone != (s.now(t, id).CreatedAt > former.CreatedAt) {
		t.Errorf("%+v, %v", p, err)
	}
	for range 2 {
		if err := tg.Rollback(t.Context(), plan); err != nil {
			t.Fatal(err)
		}
	}
	if e := s.now(t, id); e.X509SvidTtl != 7200 || e.JwtSvidTtl != 7200 {
		t.Errorf("rolled back: %v", e)
	}
	for _, no := range []*pb.Decision{decision(c, "3h"), {Credential: c.Key, Subject: &pb.Subject{Labels: c.Labels}}} {
		if plan, refused, err := tg.Plan(t.Context(), no); plan != nil || refused == "" || err != nil {
			t.Errorf("%v, %q, %v", plan, refused, err)
		}
	}
}

func TestRealSPIREEnforcerNeverCutsItselfOff(t *testing.T) {
	s := realSPIRE(t, "")
	own := func(e *types.Entry) map[string]string {
		return map[string]string{"spiffe_id": text(e.SpiffeId), "entry_id": e.Id}
	}
	another := s.Create(&types.Entry{SpiffeId: spiretest.ID("/leastwise"), ParentId: s.agent.ID})
	tg := s.open(t, Config{SVID: Delete, Agent: Ban}, nil)
	for what, c := range map[string]target.Credential{
		"an SVID of the own SPIFFE ID, of another entry": {Key: "spire/default/x509_svid/77", Labels: own(another)},
		"a JWT-SVID of it":        {Key: "spire/default/jwt_svid/77", Labels: own(another)},
		"its own agent":           {Key: "spire/default/x509_svid/78", Labels: map[string]string{"spiffe_id": text(s.own.ID)}},
		"its own agent's SVID":    {Key: s.credentialOf(t, s.own).Key},
		"the other entry's agent": {Key: "spire/default/x509_svid/79", Labels: map[string]string{"spiffe_id": text(s.agent.ID)}},
	} {
		if err := tg.Revoke(t.Context(), c); !errors.Is(err, target.ErrOwn) || target.KindOf(err) != target.Impossible {
			t.Errorf("%s: %v", what, err)
		}
	}
	keys, err := tg.Protected(t.Context())
	for _, want := range []string{s.credentialOf(t, s.own).Key, "spire/default/spiffe_id/spiffe://example.org/leastwise", "spire/default/entry/" + another.Id} {
		if err != nil || !slices.Contains(keys, want) {
			t.Errorf("%v, %v: no %s", keys, err, want)
		}
	}
}

func TestRealSPIREWithoutAdminEachRefusedCallIsNamed(t *testing.T) {
	s := realSPIRE(t, "")
	plain := s.JoinAgent()
	s.Create(&types.Entry{SpiffeId: spiretest.ID("/plain"), ParentId: plain.ID})
	if !plain.Gets("/plain") {
		t.Fatal("no SVID")
	}
	s.own = plain
	tg := s.open(t, Config{SVID: Delete, Agent: Ban}, nil)
	missing, err := tg.Capabilities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{getEntry, listEntries, countEntries, createEntry, updateEntry, deleteEntry, getAgent, listAgents, countAgents, deleteAgent, banAgent} {
		if !slices.ContainsFunc(missing, func(m target.Missing) bool { return m.Path == method && m.Capability == "admin" && m.Step != "" }) {
			t.Errorf("%s is not named: %v", method, missing)
		}
	}
	c, _ := s.entry("x509_svid", 7200)
	if err := tg.Revoke(t.Context(), c); target.KindOf(err) != target.Permission {
		t.Errorf("%v", err)
	}
}

func TestRealSPIREEvictedAgentComesBackByItselfIfItsAttestorLetsIt(t *testing.T) {
	s := realSPIRE(t, "")
	tg := s.open(t, Config{Agent: Evict}, nil)
	a := s.X509Agent()
	c := s.credentialOf(t, a)
	if err := tg.Revoke(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := tg.Restore(t.Context(), c); target.KindOf(err) != target.Impossible || err == nil || !strings.Contains(err.Error(), "attests again by itself") {
		t.Errorf("%v", err)
	}
	s.Until("the agent is there again", func() bool {
		if a.Ended() {
			a.Start()
		}
		return slices.ContainsFunc(s.Agents(), func(known *types.Agent) bool { return known.Id.Path == a.ID.Path })
	})
	if p, err := tg.Verify(t.Context(), c); err != nil || !p.Gone || !strings.Contains(p.Text, "another SVID") {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestRealSPIREJoinTokenThatCanBeSpentIsKeptNowhere(t *testing.T) {
	s := realSPIRE(t, "")
	tg := s.open(t, Config{SVID: Delete}, nil)
	token, err := s.Agent.CreateJoinToken(t.Context(), &agentv1.CreateJoinTokenRequest{Ttl: 600})
	if err != nil {
		t.Fatal(err)
	}
	e := s.Create(&types.Entry{SpiffeId: spiretest.ID("/node"), ParentId: spiretest.ID("/spire/agent/join_token/" + token.Value)})
	c := target.Credential{Key: "spire/default/x509_svid/5", Labels: map[string]string{"spiffe_id": text(e.SpiffeId), "entry_id": e.Id}}
	sight, err := tg.Lookup(t.Context(), c)
	if err != nil || sight.Status != target.Alive || sight.Restore != "" || !strings.Contains(sight.Detail, "join token") {
		t.Errorf("%+v, %v", sight, err)
	}
	if strings.Contains(sight.Detail+sight.Found, token.Value) {
		t.Error("the token is told")
	}
	ban := s.open(t, Config{Agent: Ban}, nil)
	agent := target.Credential{Key: "spire/default/x509_svid/6", Labels: map[string]string{"spiffe_id": text(e.ParentId)}}
	if sight, err := ban.Lookup(t.Context(), agent); err != nil || sight.Status == target.Alive {
		t.Errorf("%+v, %v", sight, err)
	}
}

func TestRealSPIREShorteningRefusesWhatItWouldNotMend(t *testing.T) {
	s := realSPIRE(t, "")
	tg := s.open(t, Config{}, nil)
	short, _ := s.entry("x509_svid", 600)
	if _, err := tg.Lookup(t.Context(), short); target.KindOf(err) != target.Impossible || err == nil {
		t.Errorf("a TTL that is short already: %v", err)
	}
	if err := tg.Revoke(t.Context(), short); err != nil || s.now(t, short.Labels["entry_id"]).X509SvidTtl != 600 {
		t.Errorf("a TTL that is short already was lengthened: %v", err)
	}
	corrected := short
	corrected.Labels["x509_svid_ttl"] = "7200"
	if sight, err := tg.Lookup(t.Context(), corrected); err != nil || sight.Status != target.Gone {
		t.Errorf("a TTL that somebody has cut: %+v, %v", sight, err)
	}
	byDefault, _ := s.entry("x509_svid", 0)
	if _, err := tg.Lookup(t.Context(), byDefault); target.KindOf(err) != target.Impossible || err == nil || !strings.Contains(err.Error(), "default_x509_svid_ttl") {
		t.Errorf("the server's default: %v", err)
	}
	if err := tg.Revoke(t.Context(), byDefault); err == nil || s.now(t, byDefault.Labels["entry_id"]).X509SvidTtl != 0 {
		t.Errorf("the server's default was changed: %v", err)
	}
	moved, _ := s.entry("x509_svid", 7200)
	moved.Labels["spiffe_id"] = "spiffe://example.org/somebody/else"
	if err := tg.Revoke(t.Context(), moved); target.KindOf(err) != target.Impossible || err == nil {
		t.Errorf("an entry of another identity: %v", err)
	}
}
