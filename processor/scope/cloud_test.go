package scope

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

const (
	awsPolicy = "cloudtrail/default/policy/"
	awsHolder = "cloudtrail/default/principal/"
	role      = "arn:aws:iam::111122223333:role/team/agent"
)

func as(of int64, grant *pb.Grant) *pb.Grant {
	grant.AsOf = timestamppb.New(time.Unix(of, 0))
	return grant
}

func put(grants ...*pb.Grant) *Grants {
	g := NewGrants()
	for _, grant := range grants {
		if grant.AsOf == nil {
			as(1, grant)
		}
		g.Put(grant)
	}
	return g
}

func statement(resource string, actions ...string) *pb.Rule {
	return &pb.Rule{Actions: actions, Resources: []string{resource}}
}

func attach(ids ...string) (out []*pb.Attachment) {
	for _, id := range ids {
		out = append(out, &pb.Attachment{Grant: awsPolicy + id})
	}
	return out
}

// session asks for an AWS session of a principal.
func session(principal string, policies ...string) Query {
	return Query{schemas.Key{System: "cloudtrail", Instance: "default", Type: "session", ID: "ASIAEXAMPLE"},
		"cloudtrail/default/principal/" + principal, policies, nil}
}

func accessKey(principal string, policies ...string) Query {
	q := session(principal, policies...)
	q.Credential.ID = "AKIAEXAMPLE"
	return q
}

func permitted(s *Scope) []string {
	allow, conditional, unknown := s.Names()
	for i := range conditional {
		conditional[i] += " if"
	}
	return slices.Concat(allow, conditional, unknown)
}

func TestAnAWSCredentialHasTheScopeOfItsPrincipal(t *testing.T) {
	g := put(
		&pb.Grant{Id: awsHolder + role, Attached: attach("arn:aws:iam::aws:policy/Read", role+"#inline")},
		&pb.Grant{Id: awsPolicy + "arn:aws:iam::aws:policy/Read", Rules: []*pb.Rule{statement("*", "s3:GetObject", "s3:ListBucket")}},
		&pb.Grant{Id: awsPolicy + role + "#inline", Rules: []*pb.Rule{
			{Actions: []string{"s3:ListBucket"}, Resources: []string{"*"}, Deny: true},
			{Actions: []string{"sqs:SendMessage"}, Resources: []string{"*"}, Conditional: true}}},
	)
	want := []string{"s3:GetObject", "sqs:SendMessage if"}
	for _, principal := range []string{role, "arn:aws:iam::111122223333:role/agent", "arn:aws:sts::111122223333:assumed-role/agent/session-7"} {
		s := g.Credential(session(principal))
		if !s.Known || !reflect.DeepEqual(permitted(s), want) || s.Permissions != 2 || s.Conditional != 1 || s.Weight != 6 {
			t.Errorf("%s: %v %+v, want %v", principal, permitted(s), s.Figures, want)
		}
	}
	if s := g.Credential(session("arn:aws:iam::999999999999:role/agent")); s.Known || !strings.Contains(s.Why, "999999999999") {
		t.Errorf("a role of the same name in another account: %+v", s)
	}
}

func TestASessionsOwnPoliciesAndTheBoundaryNarrowIt(t *testing.T) {
	g := put(
		&pb.Grant{Id: awsHolder + role, Attached: attach("wide"), Boundary: []string{awsPolicy + "bound"}},
		&pb.Grant{Id: awsPolicy + "wide", Rules: []*pb.Rule{statement("*", "s3:*", "sqs:*")}},
		&pb.Grant{Id: awsPolicy + "bound", Rules: []*pb.Rule{statement("*", "s3:GetObject", "s3:PutObject", "ec2:RunInstances")}},
		&pb.Grant{Id: awsPolicy + "session", Rules: []*pb.Rule{statement("*", "s3:Get*", "iam:*")}},
	)
	if got := permitted(g.Credential(session(role))); !slices.Equal(got, []string{"s3:GetObject", "s3:PutObject"}) {
		t.Errorf("within the boundary: %v", got)
	}
	if got := permitted(g.Credential(session(role, "session"))); !slices.Equal(got, []string{"s3:GetObject"}) {
		t.Errorf("within the session's policy, too: %v", got)
	}
	if s := g.Credential(session(role, "not fetched")); s.Known || !strings.Contains(s.Why, "not fetched") {
		t.Errorf("a session policy that nobody fetched: %+v", s)
	}
	inline := session(role)
	inline.Labels = map[string]string{"session_policy": "true"}
	if s := g.Credential(inline); s.Known || s.Permissions != 2 {
		t.Errorf("a session policy that no record names: %+v", s)
	}
}

func TestWhereNothingTellsThePrincipalsPoliciesTheScopeIsUnknown(t *testing.T) {
	g := put(&pb.Grant{Id: awsPolicy + "p", Rules: []*pb.Rule{statement("*", "s3:GetObject")}})
	for name, q := range map[string]Query{"nothing told": session(role), "session": session(role, "p"), "no principal": {Credential: session(role).Credential}} {
		if s := g.Credential(q); s.Known || !strings.Contains(s.Why, "no inventory") {
			t.Errorf("%s: %+v", name, s)
		}
	}
	for _, principal := range []string{"arn:aws:iam::1:user/u", role} {
		if s := g.Credential(accessKey(principal, "p")); !s.Known || s.Permissions != 1 {
			t.Errorf("a key whose records name its policies: %+v", s)
		}
	}
}

func TestAnIncompleteGrantIsNeverAKnownScope(t *testing.T) {
	holder := &pb.Grant{Id: awsHolder + role, Attached: attach("p")}
	for name, policy := range map[string]*pb.Grant{
		"not fetched":             {Id: awsPolicy + "other"},
		"could not be read":       {Id: awsPolicy + "p", Incomplete: "no valid JSON"},
		"a rule of a Vault shape": {Id: awsPolicy + "p", Rules: []*pb.Rule{{Resource: "*"}}},
	} {
		if s := put(holder, policy).Credential(session(role)); s.Known || s.Why == "" {
			t.Errorf("%s: %+v", name, s)
		}
	}
	if s := put(holder, &pb.Grant{Id: awsPolicy + "p", Deleted: true}).Credential(session(role)); !s.Known || s.Permissions != 0 {
		t.Errorf("a policy that does not exist grants nothing, and is known: %+v", s)
	}
}

func TestTheRootUserMayDoEverything(t *testing.T) {
	s := NewGrants().Credential(accessKey("arn:aws:iam::111122223333:root"))
	if !s.Known || s.Permissions < 20_000 || s.Reach[2] != s.Permissions {
		t.Fatalf("%+v", s.Figures)
	}
}

const (
	gcpHolder  = "gcpaudit/default/principal/"
	gcpPolicy  = "gcpaudit/default/policy/"
	gcpBinding = "gcpaudit/default/binding/"
	project    = "//cloudresourcemanager.googleapis.com/projects/p"
	account    = "agent@p.iam.gserviceaccount.com"
)

func bound(role, resource string) []*pb.Attachment {
	return []*pb.Attachment{{Grant: gcpPolicy + role, Resource: resource}}
}

func serviceAccountKey() Query {
	return Query{schemas.Key{System: "gcpaudit", Instance: "default", Type: "key", ID: "1"}, "gcpaudit/default/principal/serviceAccount:" + account, nil, nil}
}

func TestAGCPCredentialHasTheRolesOfItsPrincipal(t *testing.T) {
	custom := "projects/p/roles/writer"
	g := put(
		&pb.Grant{Id: gcpHolder + "serviceAccount:" + strings.ToUpper(account[:1]) + account[1:],
			Attached: slices.Concat(bound("roles/storage.objectViewer", project),
				[]*pb.Attachment{{Grant: gcpPolicy + custom, Resource: "//pubsub.googleapis.com/projects/p/topics/t", Conditional: true}})},
		&pb.Grant{Id: gcpPolicy + custom, Rules: []*pb.Rule{{Actions: []string{"pubsub.topics.publish", "new.things.make"}}}},
	)
	for _, principal := range []string{account, "serviceAccount:" + account} {
		q := serviceAccountKey()
		q.Principal = "gcpaudit/default/serviceAccount/" + principal
		s := g.Credential(q)
		got := permitted(s)
		if !s.Known || !slices.Contains(got, "storage.objects.get") || !slices.Contains(got, "pubsub.topics.publish if") || !slices.Contains(got, "new.things.make") {
			t.Errorf("%v %+v", got, s)
		}
		if s.Conditional != 2 || s.Unknown != 1 || s.Reach[0] != 2 || s.Permissions != s.Reach[0]+s.Reach[2] {
			t.Errorf("%+v", s.Figures)
		}
		if used := s.Use([]Usage{{Operation: "storage.objects.get"}, {Operation: "storage.objects.delete"}}); len(used) != 1 || used[0].String() != "storage.objects.get "+project {
			t.Errorf("used %v", used)
		}
	}
}

func TestBindingsThatChangedAfterTheInventoryCount(t *testing.T) {
	viewer, admin := "roles/storage.objectViewer", "roles/storage.objectAdmin"
	holder := as(10, &pb.Grant{Id: gcpHolder + account, Attached: bound(viewer, project)})
	binding := func(of int64, id, role string, deleted bool) *pb.Grant {
		return as(of, &pb.Grant{Id: gcpBinding + id, Principal: "serviceAccount:" + account, Attached: bound(role, project), Deleted: deleted})
	}
	for name, c := range map[string]struct {
		bindings     []*pb.Grant
		reads, write bool
	}{
		"added since":     {[]*pb.Grant{binding(11, "a", admin, false)}, true, true},
		"added before":    {[]*pb.Grant{binding(9, "a", admin, false)}, true, false},
		"taken since":     {[]*pb.Grant{binding(11, "v", viewer, true)}, false, false},
		"taken before":    {[]*pb.Grant{binding(9, "v", viewer, true)}, true, false},
		"added and taken": {[]*pb.Grant{binding(11, "a", admin, false), binding(12, "a", admin, true)}, true, false},
	} {
		g := put(append([]*pb.Grant{holder}, c.bindings...)...)
		s := g.Credential(serviceAccountKey())
		got := permitted(s)
		if !s.Known || slices.Contains(got, "storage.objects.get") != c.reads || slices.Contains(got, "storage.objects.create") != c.write {
			t.Errorf("%s: %v %q", name, got, s.Why)
		}
	}
	s := put(binding(11, "a", admin, false)).Credential(serviceAccountKey())
	if s.Known || s.Permissions == 0 {
		t.Errorf("bindings alone are no inventory: %+v", s)
	}
}

func TestAnInventoryThatFoundNothingNewStillEndsWhatCameBeforeIt(t *testing.T) {
	holder := func(of int64) *pb.Grant {
		return as(of, &pb.Grant{Id: gcpHolder + account, Attached: bound("roles/storage.objectViewer", project)})
	}
	g := put(holder(10), as(11, &pb.Grant{Id: gcpBinding + "a", Principal: account, Attached: bound("roles/storage.objectAdmin", project)}))
	if got := permitted(g.Credential(serviceAccountKey())); !slices.Contains(got, "storage.objects.create") {
		t.Fatalf("%v", got)
	}
	if !g.Put(holder(12)) {
		t.Error("the inventory no longer tells of the binding, and that is no news")
	}
	if got := permitted(g.Credential(serviceAccountKey())); slices.Contains(got, "storage.objects.create") {
		t.Fatalf("%v", got)
	}
}

func TestARoleMadeAgainUnderAnotherPathIsNotTheDeletedOne(t *testing.T) {
	policy := &pb.Grant{Id: awsPolicy + "p", Rules: []*pb.Rule{statement("*", "s3:GetObject")}}
	for _, old := range []string{"arn:aws:iam::111122223333:role/a/agent", "arn:aws:iam::111122223333:role/z/agent"} {
		g := put(policy, as(3, &pb.Grant{Id: awsHolder + old, Deleted: true}), as(2, &pb.Grant{Id: awsHolder + role, Attached: attach("p")}))
		if s := g.Credential(session(role)); !s.Known || s.Permissions != 1 {
			t.Errorf("%s: %+v", old, s)
		}
	}
}

func TestAGCPDenyTakesAwayOnItsOwnResource(t *testing.T) {
	holder := &pb.Grant{Id: gcpHolder + account, Attached: bound("roles/storage.objectAdmin", project)}
	for resource, taken := range map[string]bool{project: true, "//cloudresourcemanager.googleapis.com/projects/q": false, "": true} {
		holder.Rules = []*pb.Rule{{Deny: true, Actions: []string{"storage.googleapis.com/objects.*"}, NotActions: []string{"storage.googleapis.com/objects.list"}}}
		if resource != "" {
			holder.Rules[0].Resources = []string{resource}
		}
		got := permitted(put(holder).Credential(serviceAccountKey()))
		if slices.Contains(got, "storage.objects.delete") == taken || !slices.Contains(got, "storage.objects.list") {
			t.Errorf("deny on %q: %v", resource, got)
		}
	}
}

func TestScopesDoNotDependOnTheOrderOfGrants(t *testing.T) {
	holder := func(of int64, id string, deleted bool, policies ...string) *pb.Grant {
		return as(of, &pb.Grant{Id: awsHolder + id, Attached: attach(policies...), Deleted: deleted})
	}
	grants := []*pb.Grant{
		holder(1, role, false, "a"), holder(2, role, false, "a", "b"), holder(2, role, false, "a", "c"),
		holder(3, "arn:aws:iam::111122223333:role/old/agent", true),
		as(1, &pb.Grant{Id: awsPolicy + "a", Rules: []*pb.Rule{statement("*", "s3:*")}}),
		as(2, &pb.Grant{Id: awsPolicy + "a", Rules: []*pb.Rule{statement("*", "s3:Get*")}}),
		as(1, &pb.Grant{Id: awsPolicy + "b", Rules: []*pb.Rule{statement("*", "sqs:*")}}),
		as(1, &pb.Grant{Id: awsPolicy + "c", Rules: []*pb.Rule{statement("*", "sns:*")}}),
		as(9, &pb.Grant{Id: gcpHolder + account, Attached: bound("roles/storage.objectViewer", project)}),
		as(10, &pb.Grant{Id: gcpBinding + "1", Principal: account, Attached: bound("roles/storage.admin", project)}),
		as(10, &pb.Grant{Id: gcpBinding + "1", Principal: account, Attached: bound("roles/storage.admin", project), Deleted: true}),
		as(8, &pb.Grant{Id: gcpBinding + "2", Principal: account, Attached: bound("roles/pubsub.viewer", project)}),
	}
	ask := func(g *Grants) []string {
		return slices.Concat(permitted(g.Credential(session(role))), permitted(g.Credential(serviceAccountKey())))
	}
	want := ask(put(grants...))
	r := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		r.Shuffle(len(grants), func(i, j int) { grants[i], grants[j] = grants[j], grants[i] })
		g := NewGrants()
		for _, grant := range grants {
			g.Put(grant)
			if r.IntN(3) == 0 {
				ask(g) // what is kept must not outlive what it was made of
			}
		}
		if got := ask(g); !slices.Equal(got, want) {
			t.Fatalf("%d permissions, want %d", len(got), len(want))
		}
	}
}

func TestPrincipalsWithTheSamePoliciesShareAScope(t *testing.T) {
	policy := &pb.Grant{Id: awsPolicy + "p", Rules: []*pb.Rule{statement("*", "s3:GetObject")}}
	g := put(policy, &pb.Grant{Id: awsHolder + "arn:aws:iam::1:role/a", Attached: attach("p")}, &pb.Grant{Id: awsHolder + "arn:aws:iam::1:role/b", Attached: attach("p")})
	if g.Credential(session("arn:aws:iam::1:role/a")) != g.Credential(session("arn:aws:iam::1:role/b")) {
		t.Fatal("two scopes of one policy")
	}
}

func TestTheSameWordAgainChangesNothing(t *testing.T) {
	g := put(&pb.Grant{Id: awsHolder + role, Attached: attach("p")})
	before := g.Revision()
	if g.Put(as(2, &pb.Grant{Id: awsHolder + role, Attached: attach("p")})) || g.Revision() != before {
		t.Fatal("a round of the inventory that found nothing new changed the revision")
	}
	if !g.Put(as(3, &pb.Grant{Id: awsHolder + role, Attached: attach("p"), Boundary: []string{awsPolicy + "b"}})) {
		t.Fatal("a boundary is news")
	}
}

func TestVaultPermissionsAreCountedByLevelAndReach(t *testing.T) {
	g := grants(map[string][]*pb.Rule{"p": {rule("secret/data/x", "delete", "read"), rule("secret/data/+/y", "list", "update"), rule("*", "sudo")}})
	s := g.Credential(Query{Credential: schemas.Key{System: "vault", Instance: "default", Type: "token", ID: "a"}, Policies: []string{"p"}})
	if s.Reach != [3]int{2, 2, 1} || s.Levels != [6]int{0, 1, 1, 0, 2, 1} || s.Weight != 5+2+1+4+10 || s.Permissions != 5 {
		t.Fatalf("%+v", s.Figures)
	}
}
