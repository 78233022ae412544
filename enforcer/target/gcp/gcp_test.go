package gcp

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/enforcer/target"
	"github.com/leastwise/leastwise/enforcer/target/gcp/gcptest"
	"github.com/leastwise/leastwise/enforcer/target/targettest"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

const (
	project  = gcptest.Project
	agent    = gcptest.Agent
	enforcer = gcptest.Enforcer
)

type google struct{ *gcptest.Google }

func newGoogle(t *testing.T) *google {
	t.Helper()
	return &google{gcptest.New(t)}
}

func (g *google) config() Config {
	return Config{Projects: []string{project}, ServiceAccount: enforcer, IAMEndpoint: g.URL, ResourceManagerEndpoint: g.URL, Narrow: true}
}

func open(t *testing.T, c Config) *Target {
	t.Helper()
	tt, err := Open(c, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return tt
}

func credential(id string) target.Credential {
	return target.Credential{Key: "gcpaudit/default/service_account_key/" + id}
}

func TestTheContractHoldsOverGooglesWire(t *testing.T) {
	targettest.Run(t, func(t *testing.T) targettest.World {
		g := newGoogle(t)
		g.Key(enforcer)
		return targettest.World{
			Target: open(t, g.config()),
			New: func(*testing.T) (target.Credential, func() bool) {
				id, works := g.Key(agent)
				return credential(id), works
			},
			Unknown: credential("nonesuch"),
			Foreign: target.Credential{Key: "gcpaudit/other/service_account_key/x"},
			Lose:    func(*testing.T) { g.Lose = true },
			Busy:    func(*testing.T) { g.Busy = true },
		}
	})
}

func TestTokensGotWithAKeyWorkForAnHourAndThatIsSaid(t *testing.T) {
	g := newGoogle(t)
	now := time.Now()
	tt, err := Open(g.config(), nil, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	id, _ := g.Key(agent)
	if err := tt.Revoke(t.Context(), credential(id)); err != nil {
		t.Fatal(err)
	}
	p, err := tt.Verify(t.Context(), credential(id))
	if err != nil || !p.Gone || !p.WorksUntil.Equal(now.Add(time.Hour)) {
		t.Errorf("%+v, %v", p, err)
	}
	c := credential(id)
	c.RevokedAt, now = now, now.Add(2*time.Hour)
	if p, err = tt.Verify(t.Context(), c); err != nil || !p.Gone || !p.WorksUntil.IsZero() {
		t.Errorf("two hours later: %+v, %v", p, err)
	}
}

func TestASingleTokenCanNotBeRevokedAndTheErrorSaysWhatEndsIt(t *testing.T) {
	g := newGoogle(t)
	err := open(t, g.config()).Revoke(t.Context(), target.Credential{Key: "gcpaudit/default/access_token/record"})
	if target.KindOf(err) != target.Impossible || !strings.Contains(err.Error(), "gcloud iam service-accounts disable") {
		t.Error(err)
	}
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	g := newGoogle(t)
	g.Denied = []string{"iam.serviceAccountKeys.disable"}
	tt := open(t, g.config())
	missing, err := tt.Capabilities(t.Context())
	if err != nil || len(missing) != 1 || missing[0].Capability != g.Denied[0] {
		t.Errorf("%v, %v", missing, err)
	}
	id, works := g.Key(agent)
	err = tt.Revoke(t.Context(), credential(id))
	if target.KindOf(err) != target.Permission || !strings.Contains(err.Error(), g.Denied[0]) || !works() {
		t.Error(err)
	}
}

func TestADeletedKeyIsNotRestored(t *testing.T) {
	g := newGoogle(t)
	tt := open(t, g.config())
	id, _ := g.Key(agent)
	c := credential(id)
	s, err := tt.Lookup(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	c.Found, c.Restore = s.Found, s.Restore
	if err := tt.Revoke(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := tt.Finish(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := tt.Restore(t.Context(), c); target.KindOf(err) != target.Impossible || err == nil {
		t.Errorf("Restore = %v", err)
	}
	if tt.FinishAfter(c) != 7*24*time.Hour {
		t.Errorf("FinishAfter = %v", tt.FinishAfter(c))
	}
}

// member's roles now, those under a condition with a question mark.
func (g *google) rolesNow(email string) []string {
	g.Mu.Lock()
	defer g.Mu.Unlock()
	var list []string
	for _, b := range g.Policy["bindings"].([]any) {
		b := b.(map[string]any)
		if !slices.Contains(b["members"].([]any), any("serviceAccount:"+email)) {
			continue
		}
		role := b["role"].(string)
		if b["condition"] != nil {
			role += "?"
		}
		list = append(list, role)
	}
	slices.Sort(list)
	return list
}

func (g *google) bound() {
	me, other := "serviceAccount:"+agent, "user:ada@example.org"
	binding := func(role string, members ...any) map[string]any {
		return map[string]any{"role": role, "members": members}
	}
	g.Roles = map[string][]string{
		"roles/storage.admin":        {"storage.buckets.delete", "storage.buckets.get", "storage.objects.create", "storage.objects.delete", "storage.objects.get", "storage.objects.list"},
		"roles/storage.objectUser":   {"storage.objects.create", "storage.objects.delete", "storage.objects.get", "storage.objects.list"},
		"roles/storage.objectViewer": {"storage.objects.get", "storage.objects.list"},
		"roles/other.reader":         {"other.things.get", "storage.objects.get"},
		"roles/pubsub.editor":        {"pubsub.topics.get", "pubsub.topics.publish"},
	}
	conditional := binding("roles/storage.admin", me)
	conditional["condition"] = map[string]any{"expression": "request.time < timestamp('2027-01-01T00:00:00Z')", "title": "until 2027"}
	g.Policy = map[string]any{"version": 3, "bindings": []any{binding("roles/storage.admin", me, other), binding("roles/pubsub.editor", me), conditional}}
}

func decision(id string, used ...string) *pb.Decision {
	return &pb.Decision{Credential: "gcpaudit/default/service_account_key/" + id, Proposal: &pb.Proposal{Rules: []*pb.Rule{{Actions: used}}}}
}

func TestRolesBecomeTheSmallestThatHoldWhatWasUsedAndComeBack(t *testing.T) {
	g := newGoogle(t)
	g.bound()
	before := g.rolesNow(agent)
	id, _ := g.Key(agent)
	tt := open(t, g.config())
	d := decision(id, "storage.objects.get")
	plan, refused, err := tt.Plan(t.Context(), d)
	if err != nil || plan == nil {
		t.Fatalf("Plan = %q, %v", refused, err)
	}
	if plan.GrantedBefore != 8 || plan.GrantedAfter != 2 || !strings.Contains(plan.Narrowed, "roles/pubsub.editor is removed") {
		t.Errorf("plan %v", plan)
	}
	if !slices.Equal(g.rolesNow(agent), before) {
		t.Fatal("planning changed the policy")
	}
	g.Between = func() { // somebody else writes first
		g.Policy["bindings"] = append(g.Policy["bindings"].([]any), map[string]any{"role": "roles/viewer", "members": []any{"user:eve@example.org"}})
	}
	if _, err := tt.Reissue(t.Context(), "l", d, plan); target.KindOf(err) != target.Retryable || err == nil {
		t.Fatalf("Reissue over a newer policy = %v", err)
	}
	for range 2 {
		if _, err := tt.Reissue(t.Context(), "l", d, plan); err != nil {
			t.Fatal(err)
		}
	}
	if got := g.rolesNow(agent); !slices.Equal(got, []string{"roles/storage.admin?", "roles/storage.objectViewer"}) {
		t.Errorf("roles %v", got)
	}
	if text := fmt.Sprint(g.Policy); !strings.Contains(text, "user:ada@example.org") || !strings.Contains(text, "user:eve@example.org") || !strings.Contains(text, "until 2027") {
		t.Errorf("others lost something: %s", text)
	}
	for range 2 {
		if err := tt.Rollback(t.Context(), plan); err != nil {
			t.Fatal(err)
		}
	}
	if got := g.rolesNow(agent); !slices.Equal(got, before) {
		t.Errorf("roles after the rollback %v, before %v", got, before)
	}
}

func TestNothingIsNarrowedOnAGuess(t *testing.T) {
	for want, change := range map[string]func(g *google, c *Config, d *pb.Decision){
		"narrow":          func(_ *google, c *Config, _ *pb.Decision) { c.Narrow = false },
		"no observed use": func(_ *google, _ *Config, d *pb.Decision) { d.Proposal = nil },
		"not known whole": func(_ *google, _ *Config, d *pb.Decision) { d.Proposal.Incomplete = "the source was silent" },
		"1 other enabled": func(g *google, _ *Config, _ *pb.Decision) { g.Key(agent) },
		"can be smaller": func(_ *google, _ *Config, d *pb.Decision) {
			d.Proposal.Rules[0].Actions = []string{"storage.buckets.delete", "pubsub.topics.get"}
		},
		"key is narrowed": func(_ *google, _ *Config, d *pb.Decision) { d.Credential = "gcpaudit/default/access_token/x" },
		"this key": func(_ *google, _ *Config, d *pb.Decision) {
			d.Credential = "gcpaudit/default/service_account_key/nonesuch"
		},
	} {
		g := newGoogle(t)
		g.bound()
		id, _ := g.Key(agent)
		c, d := g.config(), decision(id, "storage.objects.get")
		change(g, &c, d)
		plan, refused, err := open(t, c).Plan(t.Context(), d)
		if err != nil || plan != nil || !strings.Contains(refused, want) {
			t.Errorf("%s: %v, %q, %v", want, plan, refused, err)
		}
	}
}

func TestAConfigurationThatCanNotWorkIsRefused(t *testing.T) {
	good := Config{Projects: []string{project}, ServiceAccount: enforcer}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(c *Config){
		"projects:":       func(c *Config) { c.Projects = nil },
		"no project id":   func(c *Config) { c.Projects = []string{"Prod/../x"} },
		"service_account": func(c *Config) { c.ServiceAccount = "" },
		"go together":     func(c *Config) { c.IAMEndpoint = "https://iam.example.org" },
		"both of loopback": func(c *Config) {
			c.IAMEndpoint, c.ResourceManagerEndpoint = "http://127.0.0.1:1", "https://crm.example.org"
		},
		"want https": func(c *Config) {
			c.IAMEndpoint, c.ResourceManagerEndpoint = "http://iam.example.org", "http://crm.example.org"
		},
		"keep_disabled": func(c *Config) { c.KeepDisabled, c.DeleteAfter = true, time.Hour },
	} {
		c := good
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
