package scope

import (
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

func TestMatchesAsVaultDoes(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"secret/data/a", "secret/data/a", true},
		{"secret/data/a", "secret/data/ab", false},
		{"secret/data/*", "secret/data/a/b", true},
		{"secret/data/*", "secret/data/", true},
		{"secret/da*", "secret/data/x", true},
		{"secret/+/a", "secret/data/a", true},
		{"secret/+/a", "secret/data/deep/a", false},
		{"secret/+/team-*", "secret/data/team-x/y", true},
		{"secret/+/team-*", "secret/data/other", false},
		{"+/+", "a/b", true},
		{"+/+", "a/b/c", false},
		{"secret/data/{{identity.entity.name}}/*", "secret/data/agent-1/x", true},
		{"*", "sys/mounts", true},
		{"", "sys/mounts", false},
	} {
		if got := Matches(c.pattern, c.path); got != c.want {
			t.Errorf("Matches(%q, %q) = %v", c.pattern, c.path, got)
		}
	}
}

func grants(rules map[string][]*pb.Rule) *Grants {
	g := NewGrants()
	for name, r := range rules {
		g.Put(&pb.Grant{Id: "vault/default/policy/" + name, Rules: r, AsOf: timestamppb.New(time.Unix(1, 0))})
	}
	return g
}

func rule(resource string, capabilities ...string) *pb.Rule {
	return &pb.Rule{Resource: resource, Capabilities: capabilities}
}

func TestTheMostSpecificRuleIsTheOneUsed(t *testing.T) {
	g := grants(map[string][]*pb.Rule{"p": {rule("secret/*", "read", "list"), rule("secret/data/+/x", "read"), rule("secret/data/a/x", "read", "update")}})
	s := g.Scope("vault", "default", []string{"p"})
	for path, want := range map[string]string{"secret/data/a/x": "secret/data/a/x", "secret/data/b/x": "secret/data/+/x", "secret/other": "secret/*"} {
		used := s.Use([]Usage{{Operation: "read", Path: path}})
		if len(used) != 1 || used[0].Resource != want {
			t.Errorf("read %s uses %v, want %s", path, used, want)
		}
	}
}

func TestPoliciesAreMergedAndADenyTakesThePatternAway(t *testing.T) {
	g := grants(map[string][]*pb.Rule{
		"a": {rule("secret/data/x", "read"), rule("secret/data/y", "read", "delete")},
		"b": {rule("secret/data/x", "read", "update"), rule("secret/data/y", "deny")},
	})
	s := g.Scope("vault", "default", []string{"a", "b"})
	want := []Rule{{"secret/data/x", []string{"read", "update"}}}
	if !s.Known || !reflect.DeepEqual(s.Rules, want) || s.Permissions != 2 || s.Weight != 6 {
		t.Fatalf("%+v", s)
	}
}

func TestAScopeWithAPolicyThatWasNotFetchedIsUnknown(t *testing.T) {
	g := grants(map[string][]*pb.Rule{"a": {rule("secret/data/x", "read")}})
	if s := g.Scope("vault", "default", []string{"a", "b"}); s.Known || s.Why != "b not fetched" {
		t.Fatalf("%+v", s)
	}
	if s := g.Scope("vault", "default", nil); s.Known || s.Why == "" {
		t.Fatalf("%+v", s)
	}
	g.Put(&pb.Grant{Id: "vault/default/policy/b", Deleted: true, AsOf: timestamppb.New(time.Unix(2, 0))})
	if s := g.Scope("vault", "default", []string{"a", "b"}); !s.Known || s.Permissions != 1 {
		t.Fatalf("a policy that does not exist grants nothing, and is known: %+v", s)
	}
}

func TestAnOlderWordOnAGrantChangesNothing(t *testing.T) {
	g := grants(map[string][]*pb.Rule{"a": {rule("x", "read")}})
	before := g.Revision()
	if g.Put(&pb.Grant{Id: "vault/default/policy/a", Deleted: true, AsOf: timestamppb.New(time.Unix(0, 0))}) || g.Revision() != before {
		t.Fatal("an older word replaced a newer one")
	}
}

func TestUseKeepsOnlyWhatWasUsed(t *testing.T) {
	g := grants(map[string][]*pb.Rule{"p": {
		rule("secret/data/ingest/*", "create", "read", "update"), rule("secret/data/storage/*", "create", "delete", "update"),
		rule("secret/metadata/*", "list"), rule("sys/audit", "read", "sudo"), rule("sys/mounts", "read"),
	}})
	s := g.Scope("vault", "default", []string{"p"})
	got := s.Use([]Usage{
		{Operation: "read", Path: "secret/data/ingest/*", Many: true},
		{Operation: "update", Path: "secret/data/storage/part-1"},
		{Operation: "list", Path: "secret/metadata/"},
		{Operation: "read", Path: "sys/audit"},
		{Operation: "help", Path: "sys/mounts"},
		{Operation: "read", Path: "never/granted"},
	})
	want := []Rule{{"secret/data/ingest/*", []string{"read"}}, {"secret/data/storage/*", []string{"update"}},
		{"secret/metadata/*", []string{"list"}}, {"sys/audit", []string{"read", "sudo"}}}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%v", got)
	}
}
