package gcp

import (
	"slices"
	"testing"

	"github.com/leastwise/leastwise/processor/scope/level"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

func TestLevelsByVerb(t *testing.T) {
	for permission, want := range map[string]level.Level{
		"storage.objects.get": level.Read, "storage.objects.list": level.List, "storage.objects.create": level.Write,
		"storage.objects.delete": level.Write, "storage.buckets.setIamPolicy": level.Management, "storage.buckets.getIamPolicy": level.Read,
		"iam.serviceAccounts.actAs": level.Management, "iam.serviceAccounts.getAccessToken": level.Management,
		"iam.serviceAccountKeys.create": level.Management, "iam.serviceAccountKeys.get": level.Read, "iam.roles.update": level.Management,
		"iam.googleapis.com/workloadIdentityPoolProviders.create": level.Management, "iam.googleapis.com/workloadIdentityPoolProviders.list": level.List,
		"compute.instances.createTagBinding": level.Tagging, "compute.instances.setLabels": level.Tagging,
		"compute.networks.use": level.Write, "compute.disks.useReadOnly": level.Read, "cloudasset.assets.searchAllResources": level.List,
		"secretmanager.versions.access": level.Read, "pubsub.topics.publish": level.Write, "compute.instances.listReferrers": level.List,
		"compute.instances.getaway": level.Write, "x": level.Write, "": level.Write,
	} {
		if got := LevelOf(permission); got != want {
			t.Errorf("%s is %s, want %s", permission, got, want)
		}
	}
}

func TestPermissionsThatManageAreOnesThatExist(t *testing.T) {
	resources := map[string]bool{}
	for _, name := range roles().permissions {
		for i, c := range name {
			if c == '.' {
				resources[name[:i]] = true
			}
		}
	}
	for name := range manages {
		if _, ok := known(name); !ok {
			t.Errorf("%s is in no role", name)
		}
	}
	for name := range managed {
		if !resources[name] {
			t.Errorf("no permission is on %s", name)
		}
	}
}

func TestPredefinedRolesGiveTheirPermissions(t *testing.T) {
	got, ok := Predefined("roles/storage.objectViewer")
	if !ok || !slices.Contains(got, "storage.objects.get") || slices.Contains(got, "storage.objects.create") || !slices.IsSorted(got) {
		t.Fatalf("%v %v", got, ok)
	}
	if _, ok := Predefined("roles/no.such"); ok {
		t.Fatal("there is no such role")
	}
}

func TestARoleThatNobodyKnowsIsToldMissing(t *testing.T) {
	g, missing := Evaluate([]Binding{{Role: "roles/pubsub.viewer"}, {Role: "projects/p/roles/x"}, {Role: "projects/p/roles/x"}}, nil)
	if !slices.Equal(missing, []string{"projects/p/roles/x"}) || g.Figures().Permissions == 0 {
		t.Fatalf("%v %+v", missing, g.Figures())
	}
}

func TestAConditionOnEveryBindingIsACondition(t *testing.T) {
	own := []*pb.Rule{{Actions: []string{"storage.objects.get", "storage.objects.list"}}}
	bindings := []Binding{
		{Role: "a", Rules: own, Resource: "projects/p", Conditional: true},
		{Role: "b", Rules: []*pb.Rule{{Actions: []string{"storage.objects.get"}}}, Resource: "//storage.googleapis.com/projects/_/buckets/b"},
	}
	g, _ := Evaluate(bindings, nil)
	slices.Reverse(bindings)
	if again, _ := Evaluate(bindings, nil); again.Figures() != g.Figures() {
		t.Errorf("%+v, the other way round %+v", g.Figures(), again.Figures())
	}
	allow, conditional := g.Names()
	if !slices.Equal(allow, []string{"storage.objects.get"}) || !slices.Equal(conditional, []string{"storage.objects.list"}) {
		t.Fatalf("%v %v", allow, conditional)
	}
	if f := g.Figures(); f.Permissions != 2 || f.Conditional != 1 || f.Weight != 3 || f.Reach[level.All] != 2 {
		t.Fatalf("%+v", f)
	}
}

func TestReachOfResources(t *testing.T) {
	for resource, want := range map[string]level.Reach{
		"": level.All, "projects/p": level.All, "//cloudresourcemanager.googleapis.com/projects/p": level.All, "organizations/1": level.All,
		"//cloudresourcemanager.googleapis.com/folders/1": level.All, "//storage.googleapis.com/projects/_/buckets/b": level.One,
		"//iam.googleapis.com/projects/p/serviceAccounts/a@b": level.One, "projects/_/buckets/b/objects/x*": level.Prefix, "*": level.All,
	} {
		if got := ReachOf(resource); got != want {
			t.Errorf("%q reaches %s, want %s", resource, got, want)
		}
	}
}

func TestDenyPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"storage.googleapis.com/objects.get", "storage.objects.get", true}, {"storage.objects.get", "storage.objects.get", true},
		{"storage.googleapis.com/objects.*", "storage.objects.get", true}, {"storage.googleapis.com/*.get", "storage.objects.get", true},
		{"storage.googleapis.com/*", "storage.objects.get", true}, {"storage.googleapis.com/objects.*", "storage.buckets.get", false},
		{"storage.googleapis.com/*.list", "storage.objects.get", false}, {"iam.googleapis.com/workforcePools.*", "iam.googleapis.com/workforcePools.get", true}, {"*", "a.b.c", true}, {"iam.googleapis.com/*", "storage.objects.get", false},
	} {
		if got := matches(c.pattern, c.name); got != c.want {
			t.Errorf("%s matches %s: %v", c.pattern, c.name, got)
		}
	}
}
