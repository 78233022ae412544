package spirepolicy

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	svidv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/svid/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/enforcer/target"
	"github.com/leastwise/leastwise/enforcer/target/spire"
	"github.com/leastwise/leastwise/enforcer/target/spire/spiretest"
	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/rego"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

const policies = `policy_id: "long-svid"
description: "An SVID lives for longer than its task."
metrics:
  - {name: "lifetime", source: "spire", threshold: "1h", condition: "greater_than"}
applies_to: {types: ["x509_svid"]}
action:
  - {severity: "high", channel: "security", remediation_hint: "Shorten the entry's TTL."}
enforcement: {mode: enforce}
---
policy_id: "long-jwt"
description: "A JWT-SVID lives for longer than a call."
metrics:
  - {name: "credential_age", source: "spire", threshold: "10m", condition: "greater_than"}
applies_to: {types: ["jwt_svid"]}
action:
  - {severity: "high", channel: "security", remediation_hint: "Shorten the entry's TTL."}
enforcement: {mode: enforce}
---
policy_id: "only-told"
description: "Shorter would be better."
metrics:
  - {name: "lifetime", source: "spire", threshold: "1m", condition: "greater_than"}
action:
  - {severity: "low", channel: "security", remediation_hint: "Shorten the entry's TTL."}
enforcement: {mode: notify}
`

const owners = `owners:
  - {id: "ops", name: "Operations", channels: ["ops"]}
agents:
  - id: "work"
    name: "Work"
    owner: "ops"
    match:
      - spiffe_id: "spiffe://example.org/work/a"
      - spiffe_id: "spiffe://example.org/work/long"
      - spiffe_id: "spiffe://example.org/work/lapsed"
      - spiffe_id: "spiffe://example.org/admin"
      - spiffe_id: "spiffe://example.org/leastwise"
`

func except(id, path, policy string, until time.Time, approver string) *pb.Exception {
	e := &pb.Exception{Id: id, Identity: "spire/default/spiffe_id/spiffe://example.org" + path, PolicyId: policy, Reason: "migration",
		RequestedBy: "ada", Until: timestamppb.New(until)}
	if approver != "" {
		e.ApprovedBy, e.ApprovedAt = approver, timestamppb.Now()
	}
	return e
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// generated gives the policy's data, and the experimental section that loads it.
func generated(t *testing.T, exceptions ...*pb.Exception) (Limits, string) {
	t.Helper()
	dir := t.TempDir()
	rules := filepath.Join(dir, "policies")
	if err := os.Mkdir(rules, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(rules, "p.yaml"), policies)
	engine, err := rego.New(t.Context(), rego.Options{PolicyDir: rules})
	if err != nil {
		t.Fatal(err)
	}
	text := owners
	for i := range 500 { // SPIRE's start must not take longer for it
		text += fmt.Sprintf("      - spiffe_id: \"spiffe://example.org/fleet/%d\"\n", i)
	}
	known, err := catalog.Load(write(t, filepath.Join(dir, "catalog.yaml"), text))
	if err != nil {
		t.Fatal(err)
	}
	data, limits, err := Generate(t.Context(), Options{Rules: engine.Current(), Catalog: known, Exceptions: exceptions, DefaultX509: time.Hour,
		DefaultJWT: 5 * time.Minute, Trusted: []string{"spiffe://example.org/leastwise"}, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	return limits, fmt.Sprintf("experimental {\n cache_reload_interval = \"1s\"\n auth_opa_policy_engine { local { rego_path = %q\n policy_data_path = %q } }\n}",
		write(t, filepath.Join(dir, "p.rego"), string(Rego)), write(t, filepath.Join(dir, "p.json"), string(data)))
}

func TestLimitsAreWhatThePoliciesSayAtIssuance(t *testing.T) {
	soon := time.Now().Add(time.Hour)
	limits, _ := generated(t, except("x1", "/work/long", "long-svid", soon, "bob"), except("x2", "/work/long", "long-jwt", soon.Add(time.Hour), "bob"),
		except("x3", "/work/lapsed", "*", time.Now().Add(-time.Minute), "bob"), except("x4", "/work/lapsed", "*", soon, ""),
		except("x5", "/work/lapsed", "*", soon, "ada"))
	if got := limits.Identities["spiffe://example.org/work/a"]; got != (Identity{Owner: "ops", X509: 3600, JWT: 600}) {
		t.Errorf("%+v", got)
	}
	if limits.Strictest["x509"] != 3600 || limits.Strictest["jwt"] != 600 {
		t.Errorf("%v", limits.Strictest)
	}
	grants := limits.Grants["spiffe://example.org/work/long"]
	if len(limits.Grants) != 1 || len(grants) != 2 {
		t.Fatalf("%+v", limits.Grants)
	}
	if g := grants[0]; g.X509 != unlimited || g.JWT != unlimited || len(g.Exceptions) != 2 || g.Admin || g.Owner {
		t.Errorf("while both hold: %+v", g)
	}
	if g := grants[1]; g.X509 != 3600 || g.JWT != unlimited || len(g.Exceptions) != 1 {
		t.Errorf("while the second holds: %+v", g)
	}
}

func TestRealSPIRERefusesWhatNobodyJustified(t *testing.T) {
	soon := time.Now().Add(time.Hour)
	ending := time.Now().Add(25 * time.Second) // the server starts in a few
	_, section := generated(t, except("x1", "/work/long", "long-svid", soon, "bob"), except("x2", "/admin", Admin, soon, "bob"),
		except("x3", "/node", Owner, soon, "bob"), except("x4", "/leastwise", "*", soon, "bob"), except("x5", "/ending", "*", ending, "bob"))
	s := spiretest.Start(t, section)
	n := 0
	create := func(e *types.Entry) codes.Code {
		n++
		e.ParentId, e.Selectors = spiretest.ID("/node"), []*types.Selector{{Type: "unix", Value: fmt.Sprintf("uid:%d", 10_000+n)}}
		answer, err := s.Entry.BatchCreateEntry(t.Context(), &entryv1.BatchCreateEntryRequest{Entries: []*types.Entry{e}})
		if err != nil {
			return status.Code(err)
		}
		return codes.Code(answer.Results[0].Status.Code)
	}
	if code := create(&types.Entry{SpiffeId: spiretest.ID("/ending"), X509SvidTtl: 7200, Admin: true}); code != codes.OK {
		t.Errorf("before its exception ends: %s", code)
	}
	agent, own := s.JoinAgent(), s.JoinAgent()
	for _, c := range []struct {
		what  string
		entry *types.Entry
		want  codes.Code
	}{
		{"within policy", &types.Entry{SpiffeId: spiretest.ID("/work/a"), X509SvidTtl: 3600, JwtSvidTtl: 600}, codes.OK},
		{"the server's defaults", &types.Entry{SpiffeId: spiretest.ID("/work/a")}, codes.OK},
		{"a long X.509 TTL", &types.Entry{SpiffeId: spiretest.ID("/work/a"), X509SvidTtl: 3601}, codes.PermissionDenied},
		{"a long JWT TTL", &types.Entry{SpiffeId: spiretest.ID("/work/a"), JwtSvidTtl: 601}, codes.PermissionDenied},
		{"nobody's", &types.Entry{SpiffeId: spiretest.ID("/unknown"), X509SvidTtl: 60}, codes.PermissionDenied},
		{"an administrator's", &types.Entry{SpiffeId: spiretest.ID("/work/a"), Admin: true}, codes.PermissionDenied},
		{"a downstream server's", &types.Entry{SpiffeId: spiretest.ID("/work/a"), Downstream: true}, codes.PermissionDenied},
		{"a long TTL with an exception", &types.Entry{SpiffeId: spiretest.ID("/work/long"), X509SvidTtl: 7200}, codes.OK},
		{"another long TTL than the exception is about", &types.Entry{SpiffeId: spiretest.ID("/work/long"), JwtSvidTtl: 7200}, codes.PermissionDenied},
		{"an administrator's with an exception", &types.Entry{SpiffeId: spiretest.ID("/admin"), Admin: true}, codes.OK},
		{"downstream with an exception for admin", &types.Entry{SpiffeId: spiretest.ID("/admin"), Downstream: true}, codes.PermissionDenied},
		{"nobody's with an exception", &types.Entry{SpiffeId: spiretest.ID("/node")}, codes.OK},
		{"without a SPIFFE ID", &types.Entry{X509SvidTtl: 60}, codes.PermissionDenied},
	} {
		if code := create(c.entry); code != c.want {
			t.Errorf("%s: %s, want %s", c.what, code, c.want)
		}
	}
	e := s.Create(&types.Entry{SpiffeId: spiretest.ID("/work/a"), ParentId: agent.ID})
	update := func(change *types.Entry, mask *types.EntryMask) codes.Code {
		change.Id = e.Id
		if mask == nil {
			change.ParentId, change.Selectors = e.ParentId, e.Selectors
		}
		answer, err := s.Entry.BatchUpdateEntry(t.Context(), &entryv1.BatchUpdateEntryRequest{Entries: []*types.Entry{change}, InputMask: mask})
		if err != nil {
			return status.Code(err)
		}
		return codes.Code(answer.Results[0].Status.Code)
	}
	for _, c := range []struct {
		what   string
		change *types.Entry
		mask   *types.EntryMask
		want   codes.Code
	}{
		{"whole, within policy", &types.Entry{SpiffeId: e.SpiffeId, X509SvidTtl: 600}, nil, codes.OK},
		{"whole, longer", &types.Entry{SpiffeId: e.SpiffeId, X509SvidTtl: 7200}, nil, codes.PermissionDenied},
		{"whole, to nobody's", &types.Entry{SpiffeId: spiretest.ID("/unknown")}, nil, codes.PermissionDenied},
		{"the TTL alone, shorter", &types.Entry{X509SvidTtl: 300}, &types.EntryMask{X509SvidTtl: true}, codes.OK},
		{"the TTL alone, longer than any policy lets", &types.Entry{X509SvidTtl: 7200}, &types.EntryMask{X509SvidTtl: true}, codes.PermissionDenied},
		{"the TTL alone, with the name of an excepted one", &types.Entry{SpiffeId: spiretest.ID("/work/long"), X509SvidTtl: 7200}, &types.EntryMask{X509SvidTtl: true}, codes.PermissionDenied},
		{"the JWT TTL alone, longer", &types.Entry{JwtSvidTtl: 7200}, &types.EntryMask{JwtSvidTtl: true}, codes.PermissionDenied},
		{"admin alone", &types.Entry{Admin: true}, &types.EntryMask{Admin: true}, codes.PermissionDenied},
		{"downstream alone", &types.Entry{Downstream: true}, &types.EntryMask{Downstream: true}, codes.PermissionDenied},
		{"the SPIFFE ID alone", &types.Entry{SpiffeId: spiretest.ID("/work/a")}, &types.EntryMask{SpiffeId: true}, codes.PermissionDenied},
		{"what no policy is about", &types.Entry{Hint: "a"}, &types.EntryMask{Hint: true}, codes.OK},
	} {
		if code := update(c.change, c.mask); code != c.want {
			t.Errorf("update, %s: %s, want %s", c.what, code, c.want)
		}
	}
	svids := svidv1.NewSVIDClient(s.Conn)
	if _, err := svids.MintJWTSVID(t.Context(), &svidv1.MintJWTSVIDRequest{Id: spiretest.ID("/unknown"), Audience: []string{"a"}, Ttl: 86400}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("minted for a day: %v", err)
	}
	if _, err := svids.MintJWTSVID(t.Context(), &svidv1.MintJWTSVIDRequest{Id: spiretest.ID("/work/a"), Audience: []string{"a"}, Ttl: 60}); err != nil {
		t.Errorf("minted within policy: %v", err)
	}
	if _, err := svids.MintX509SVID(t.Context(), &svidv1.MintX509SVIDRequest{Csr: []byte("a"), Ttl: 86400}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("minted for a day: %v", err)
	}
	if !agent.Gets("/work/a") {
		t.Error("the workload gets no SVID")
	}
	enforcerMayShortenAndGiveBack(t, s, agent, own)
	s.Until("the exception has ended", func() bool { return time.Now().After(ending) })
	if code := create(&types.Entry{SpiffeId: spiretest.ID("/ending")}); code != codes.PermissionDenied {
		t.Errorf("after its exception ended: %s", code)
	}
}

// The enforcer names only the TTL, and gives back what the strictest limit would refuse.
func enforcerMayShortenAndGiveBack(t *testing.T, s *spiretest.Server, agent, own *spiretest.Agent) {
	t.Helper()
	s.Create(&types.Entry{SpiffeId: spiretest.ID("/leastwise"), ParentId: own.ID, Admin: true})
	if !own.Gets("/leastwise") {
		t.Fatal("the enforcer gets no SVID")
	}
	tg, err := spire.Open(spire.Config{Address: s.Addr, TrustDomain: spiretest.Domain, WorkloadAPI: own.Socket, ShortenX509TTL: 10 * time.Minute}, spire.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tg.Close() })
	e := s.Create(&types.Entry{SpiffeId: spiretest.ID("/work/long"), ParentId: agent.ID, X509SvidTtl: 7200})
	c := target.Credential{Key: "spire/default/x509_svid/1", Labels: map[string]string{"spiffe_id": "spiffe://example.org/work/long", "entry_id": e.Id}}
	sight, err := tg.Lookup(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	c.Found, c.Restore = sight.Found, sight.Restore
	for _, step := range []struct {
		do   func(context.Context, target.Credential) error
		want int32
	}{{tg.Revoke, 600}, {tg.Restore, 7200}} {
		if err := step.do(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if now, err := s.Entry.GetEntry(t.Context(), &entryv1.GetEntryRequest{Id: e.Id}); err != nil || now.X509SvidTtl != step.want {
			t.Errorf("%v, %v; want %d", now, err, step.want)
		}
	}
	if missing, err := tg.Capabilities(t.Context()); err != nil || len(missing) > 0 {
		t.Errorf("%v, %v", missing, err)
	}
}
