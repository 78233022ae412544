package reach

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/processor/scope"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

func arn(role string) string { return "arn:aws:iam::123456789012:role/" + role }

// account of AWS: what each role is allowed, as "action resource" or "action? resource" under a condition.
func account(roles map[string][]string) *scope.Grants {
	g := scope.NewGrants()
	for role, allows := range roles {
		var rules []*pb.Rule
		for _, text := range allows {
			action, resource, _ := strings.Cut(text, " ")
			action, conditional := strings.CutSuffix(action, "?")
			rules = append(rules, &pb.Rule{Actions: []string{action}, Resources: []string{resource}, Conditional: conditional})
		}
		g.Put(&pb.Grant{Id: aws("policy/" + arn(role) + "#own"), Rules: rules})
		g.Put(&pb.Grant{Id: aws("principal/" + arn(role)), Attached: attached(aws("policy/" + arn(role) + "#own"))})
	}
	return g
}

func trusting(g *scope.Grants, role string, who ...string) {
	g.Put(&pb.Grant{Id: aws("trust/" + arn(role)), Rules: []*pb.Rule{{Actions: []string{"sts:AssumeRole"}, Resources: who}}})
}

func agent(role string) Start {
	return Start{Credential: aws("session/ASIAX"), Principal: aws("principal/" + arn(role))}
}

var records = Sensitive{ID: "records", Name: "customer records", System: "cloudtrail", Instance: "default",
	Resource: "arn:aws:s3:::records/*", Permissions: []string{"s3:GetObject"}}

// to gives the path to a place as its steps' ends, with its certainty.
func to(a *Answer, key string) string {
	for _, p := range a.Paths {
		if strings.HasSuffix(p.To.Key, key) {
			var names []string
			for _, s := range p.Steps {
				names = append(names, s.To.Name[strings.LastIndex(s.To.Name, "/")+1:])
			}
			return p.Certainty.String() + ": " + strings.Join(names, " > ")
		}
	}
	return ""
}

func TestThePathToASensitiveThingIsTheMostCertainAndThenTheShortest(t *testing.T) {
	g := account(map[string][]string{
		"a": {"sts:AssumeRole " + arn("b"), "sts:AssumeRole? " + arn("d")},
		"b": {"sts:AssumeRole " + arn("c"), "s3:GetObject? arn:aws:s3:::records/*"},
		"c": {"s3:GetObject arn:aws:s3:::records/2026/*"},
		"d": {"s3:GetObject *"},
	})
	for _, role := range []string{"b", "c", "d"} {
		trusting(g, role, "AWS:arn:aws:iam::123456789012:root")
	}
	m := NewMap(g, nil, nil, []Sensitive{records})
	a := m.From(agent("a"))
	if got := to(a, "sensitive/records"); got != "allowed: b > c > customer records" {
		t.Errorf("%q", got)
	}
	if got := to(a, "role/d"); got != "suggested: d" {
		t.Errorf("%q", got)
	}
	if a.Paths[0].To.Kind != "sensitive" {
		t.Errorf("first is %+v", a.Paths[0].To)
	}
}

func TestARoleThatTrustsSomebodyElseIsNotReached(t *testing.T) {
	g := account(map[string][]string{"a": {"sts:AssumeRole *"}, "b": nil, "c": nil, "d": nil, "e": nil})
	trusting(g, "b", "AWS:"+arn("other"))
	trusting(g, "c", "AWS:"+arn("a"))
	g.Put(&pb.Grant{Id: aws("trust/" + arn("d")), Rules: []*pb.Rule{{Actions: []string{"sts:*"}, Resources: []string{"AWS:*"}},
		{Actions: []string{"sts:AssumeRole"}, Resources: []string{"AWS:" + arn("a")}, Deny: true}}})
	a := NewMap(g, nil, nil, nil).From(agent("a"))
	for role, want := range map[string]string{"role/b": "", "role/c": "allowed: c", "role/d": "", "role/e": "suggested: e"} {
		if got := to(a, role); got != want {
			t.Errorf("%s: %q, want %q", role, got, want)
		}
	}
}

func TestWhatTheLogShowsIsProven(t *testing.T) {
	g := account(map[string][]string{"a": {"sts:AssumeRole " + arn("b")}, "b": {"s3:GetObject arn:aws:s3:::records/*"}})
	seen := []Seen{{From: aws("principal/" + arn("a")), To: aws("principal/arn:aws:sts::123456789012:assumed-role/b/night"), Evidence: "record 7"}}
	m := NewMap(g, nil, seen, []Sensitive{records})
	m.Used = func(principal string, s Sensitive) string {
		if principal == aws("principal/"+arn("b")) && s.ID == "records" {
			return "record 8"
		}
		return ""
	}
	a := m.From(agent("a"))
	if got := to(a, "sensitive/records"); got != "proven: b > customer records" {
		t.Fatalf("%q", got)
	}
	if s := a.Paths[0].Steps; s[0].Evidence != "record 7" || s[1].Evidence != "record 8" {
		t.Errorf("%+v", s)
	}
}

func TestASecretThatIsACredentialLeadsOn(t *testing.T) {
	g := account(map[string][]string{"a": {"secretsmanager:GetSecretValue arn:aws:secretsmanager:eu-1:123456789012:secret:deploy-x"}, "b": {"iam:PutRolePolicy " + arn("b")}})
	key := Sensitive{ID: "key", Name: "deployment key", System: "cloudtrail", Instance: "default", Opens: aws("principal/" + arn("b")),
		Resource: "arn:aws:secretsmanager:*:*:secret:deploy-*", Permissions: []string{"secretsmanager:GetSecretValue"}}
	a := NewMap(g, nil, nil, []Sensitive{key}).From(agent("a"))
	if got := to(a, "/everything"); got != "allowed: b > default" {
		t.Errorf("%q: %+v", got, a.Paths)
	}
}

func TestAVaultTokenThatMayRewriteARoleReachesEverything(t *testing.T) {
	g := scope.NewGrants()
	g.Put(&pb.Grant{Id: "vault/default/policy/ops", Rules: []*pb.Rule{
		{Resource: "auth/approle/role/+/role-id", Capabilities: []string{"read"}},
		{Resource: "auth/approle/role/*", Capabilities: []string{"create", "update"}}}})
	g.Put(&pb.Grant{Id: "vault/default/policy/deploy", Rules: []*pb.Rule{{Resource: "secret/data/prod/*", Capabilities: []string{"read"}}}})
	roles := []Role{{Instance: "default", Mount: "auth/approle/", Type: "approle", Name: "deploy", Policies: []string{"deploy"}, Evidence: "seen"}}
	prod := Sensitive{ID: "prod", Name: "production secrets", System: "vault", Instance: "default", Resource: "secret/data/prod/*", Permissions: []string{"read"}}
	a := NewMap(g, roles, nil, []Sensitive{prod}).From(Start{Credential: "vault/default/token/t", Policies: []string{"ops"}})
	if got := to(a, "/everything"); got != "allowed: default" {
		t.Errorf("%q", got)
	}
	if got := to(a, "sensitive/prod"); got != "allowed: deploy > production secrets" {
		t.Errorf("%q", got)
	}
}

func TestAServiceAccountOfAnotherProjectIsNotReachedThroughTheProject(t *testing.T) {
	g := scope.NewGrants()
	on := func(project string) *pb.Attachment {
		return &pb.Attachment{Grant: "gcpaudit/default/policy/roles/iam.serviceAccountTokenCreator", Resource: "//cloudresourcemanager.googleapis.com/projects/" + project}
	}
	g.Put(&pb.Grant{Id: "gcpaudit/default/principal/serviceAccount:" + robot, Attached: []*pb.Attachment{on("p")}})
	for _, other := range []string{worker, "far@q.iam.gserviceaccount.com", "1-compute@developer.gserviceaccount.com"} {
		g.Put(&pb.Grant{Id: "gcpaudit/default/principal/serviceAccount:" + other})
	}
	a := NewMap(g, nil, nil, nil).From(Start{Credential: "gcpaudit/default/key/k", Principal: "gcpaudit/default/principal/" + robot})
	for name, want := range map[string]string{worker: "allowed: " + worker, "far@q.iam.gserviceaccount.com": "",
		"1-compute@developer.gserviceaccount.com": "suggested: 1-compute@developer.gserviceaccount.com"} {
		if got := to(a, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestANarrowerScopeReachesLess(t *testing.T) {
	g := account(map[string][]string{"a": {"sts:AssumeRole *", "s3:GetObject arn:aws:s3:::own/*"}, "b": {"s3:GetObject *"}})
	m := NewMap(g, nil, nil, []Sensitive{records})
	s := agent("a")
	s.Powers = scope.Of([]string{"none"}, func(string) *pb.Grant { return &pb.Grant{} }).Powers()
	if before, after := m.From(agent("a")), m.From(s); len(before.Paths) == 0 || len(after.Paths) != 0 {
		t.Errorf("before %+v, after %+v", before.Paths, after.Paths)
	}
}

func TestWhatIsNotKnownIsSaid(t *testing.T) {
	a := NewMap(scope.NewGrants(), nil, nil, nil).From(agent("a"))
	if a.Start.Partly == "" || len(a.Paths) != 0 {
		t.Errorf("%+v", a)
	}
}

func TestTheAnswerDoesNotDependOnTheOrderOfGrants(t *testing.T) {
	roles := map[string][]string{}
	for i := range 40 {
		roles[fmt.Sprint(i)] = []string{"sts:AssumeRole " + arn(fmt.Sprint((i*7+1)%40)), "sts:AssumeRole " + arn(fmt.Sprint((i*3+2)%40))}
	}
	roles["39"] = append(roles["39"], "s3:GetObject *")
	var first []Path
	for range 10 {
		a := NewMap(account(roles), nil, nil, []Sensitive{records}).From(agent("0"))
		if first == nil {
			first = a.Paths
		}
		if !slices.EqualFunc(first, a.Paths, func(x, y Path) bool { return fmt.Sprint(x) == fmt.Sprint(y) }) {
			t.Fatalf("%v\n%v", first, a.Paths)
		}
	}
}

// large is an account of that many roles, each of which may assume ten others.
func large(n int) *scope.Grants {
	roles := make(map[string][]string, n)
	for i := range n {
		var allows []string
		for k := range 10 {
			allows = append(allows, "sts:AssumeRole "+arn(fmt.Sprint((i*10+k+1)%n)))
		}
		roles[fmt.Sprint(i)] = allows
	}
	roles[fmt.Sprint(n-1)] = append(roles[fmt.Sprint(n-1)], "s3:GetObject *")
	return account(roles)
}

func BenchmarkPathsAmong100000RolesAndAMillionSteps(b *testing.B) {
	g := large(100_000)
	b.Run("map", func(b *testing.B) {
		for b.Loop() {
			NewMap(g, nil, nil, []Sensitive{records})
		}
	})
	b.Run("map and its first answer", func(b *testing.B) {
		for b.Loop() {
			NewMap(g, nil, nil, []Sensitive{records}).From(agent("0"))
		}
	})
	m := NewMap(g, nil, nil, []Sensitive{records})
	b.Run("answer", func(b *testing.B) {
		for b.Loop() {
			if a := m.From(agent("0")); len(a.Paths) != 100_000 {
				b.Fatal(len(a.Paths))
			}
		}
	})
}
