package rightsize

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/processor/scope"
	"github.com/leastwise/leastwise/processor/scope/level"
)

func uses(texts ...string) (out []Use) {
	for i, text := range texts {
		permission, resource, _ := strings.Cut(text, " ")
		out = append(out, Use{Permission: permission, Resource: resource, Count: uint64(i + 1)})
	}
	return out
}

func rules(list []scope.Rule) string {
	var out []string
	for _, rule := range list {
		out = append(out, rule.String())
	}
	return strings.Join(out, "; ")
}

func TestTheProposalIsTheNarrowestPartOfTheGrantThatCoversTheUse(t *testing.T) {
	for _, test := range []struct {
		name, system string
		granted      []scope.Rule
		used         []string
		want         string
		unjustified  int
	}{
		{"one path of a folder", "vault", []scope.Rule{{Resource: "secret/data/*", Capabilities: []string{"read", "update"}}}, []string{"read secret/data/a/b"}, "read secret/data/a/b", 0},
		{"several paths of one folder", "vault", []scope.Rule{{Resource: "secret/data/*", Capabilities: []string{"read"}}}, []string{"read secret/data/a/b", "read secret/data/a/c"}, "read secret/data/a/*", 0},
		{"several folders", "vault", []scope.Rule{{Resource: "secret/data/*", Capabilities: []string{"read"}}}, []string{"read secret/data/a/b", "read secret/data/c/d"}, "read secret/data/*", 0},
		{"a prefix of a name is no folder", "vault", []scope.Rule{{Resource: "secret/data/*", Capabilities: []string{"read"}}}, []string{"read secret/data/app1", "read secret/data/app2"}, "read secret/data/*", 0},
		{"a segment stays where use varied", "vault", []scope.Rule{{Resource: "secret/data/+/db", Capabilities: []string{"read"}}}, []string{"read secret/data/a/db", "read secret/data/b/db"}, "read secret/data/+/db", 0},
		{"no record tells the path", "vault", []scope.Rule{{Resource: "secret/data/*", Capabilities: []string{"read"}}}, []string{"read "}, "read secret/data/*", 0},
		{"what is not granted is not proposed", "vault", []scope.Rule{{Resource: "secret/data/*", Capabilities: []string{"read"}}}, []string{"delete secret/data/a"}, "", 1},
		{"one object", "cloudtrail", []scope.Rule{{Resource: "arn:aws:s3:::b/*", Capabilities: []string{"s3:*"}}}, []string{"s3:GetObject arn:aws:s3:::b/in/1"}, "s3:GetObject arn:aws:s3:::b/in/1", 0},
		{"one folder of a bucket", "cloudtrail", []scope.Rule{{Resource: "*", Capabilities: []string{"*"}}}, []string{"s3:GetObject arn:aws:s3:::b/in/1", "s3:GetObject arn:aws:s3:::b/in/2"}, "s3:GetObject arn:aws:s3:::b/in/*", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			used := uses(test.used...)
			granted := scope.PowersOf(test.system, test.granted)
			p := Propose(test.system, granted, used)
			if got := rules(p.Rules); got != test.want || len(p.Unjustified) != test.unjustified {
				t.Errorf("%q, %d unjustified", got, len(p.Unjustified))
			}
			if refused := Refused(granted, p.Powers(), used); len(refused) != 0 {
				t.Errorf("it would have refused %v", refused)
			}
			if len(used) > test.unjustified && len(Refused(granted, scope.PowersOf(test.system, nil), used)) == 0 {
				t.Error("nothing granted refuses nothing")
			}
		})
	}
}

// The two promises, on random grants and uses: nothing new is granted, and nothing that was granted and used is refused.
func TestAProposalNeitherWidensNorBreaks(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(list ...string) string { return list[random.IntN(len(list))] }
	path := func() string {
		return "secret/data/" + pick("a", "b", "app1", "app2") + pick("", "/x", "/y", "/x/z")
	}
	for range 3000 {
		var granted []scope.Rule
		for range 1 + random.IntN(4) {
			rule := scope.Rule{Resource: pick(path(), "secret/data/"+pick("*", "a*", "a/*", "+/x", "app*")), Capabilities: []string{pick("read", "update"), "list"}}
			if !slices.ContainsFunc(granted, func(r scope.Rule) bool { return r.Resource == rule.Resource }) {
				granted = append(granted, rule)
			}
		}
		var used []Use
		for range random.IntN(6) {
			used = append(used, Use{Permission: pick("read", "update", "list"), Resource: path(), Count: 1})
		}
		before := scope.PowersOf("vault", granted)
		p := Propose("vault", before, used)
		after := p.Powers()
		for _, use := range used {
			was, is := before.On(use.Permission, use.Resource), after.On(use.Permission, use.Resource)
			if was == level.Yes && is != level.Yes {
				t.Fatalf("%v: %s was granted and used, and is not any more: %v", granted, use, p.Rules)
			}
		}
		for range 20 {
			permission, resource := pick("read", "update", "list", "delete"), path()
			if before.On(permission, resource) == level.No && after.On(permission, resource) != level.No {
				t.Fatalf("%v used %v: %s on %s is new in %v", granted, used, permission, resource, p.Rules)
			}
		}
	}
}

// String of a use for the failures above.
func (u Use) String() string { return fmt.Sprintf("%s %s", u.Permission, u.Resource) }

func TestArtifactsAreInTheIssuersLanguage(t *testing.T) {
	vault := (&Proposal{System: "vault", Rules: []scope.Rule{{Resource: "secret/data/a", Capabilities: []string{"read", "update"}}}}).Artifact("narrow")
	if vault.Text != "path \"secret/data/a\" { capabilities = [\"read\", \"update\"] }\n" {
		t.Error(vault.Text)
	}
	aws := (&Proposal{System: "cloudtrail", Rules: []scope.Rule{{Resource: "arn:b", Capabilities: []string{"s3:GetObject"}}, {Resource: "arn:a", Capabilities: []string{"s3:GetObject"}}}}).Artifact("narrow")
	if strings.Count(aws.Text, "Effect") != 1 || !strings.Contains(aws.Text, `"arn:a"`) || aws.Loses != "" {
		t.Error(aws.Text)
	}
	var many []scope.Rule
	for i := range 200 {
		many = append(many, scope.Rule{Resource: fmt.Sprintf("arn:aws:s3:::a-bucket-with-a-long-name/%d/*", i), Capabilities: []string{"s3:GetObject"}})
	}
	if long := (&Proposal{System: "cloudtrail", Rules: many}).Artifact("x"); long.Loses == "" {
		t.Error("a policy longer than AWS takes is not told")
	}
	google := (&Proposal{System: "gcpaudit", Rules: []scope.Rule{{Resource: "//cloudresourcemanager.googleapis.com/projects/p", Capabilities: []string{"storage.objects.get", "storage.objects.list"}}}}).Artifact("x")
	if !strings.Contains(google.Text, "roles/storage.objectViewer") && !strings.Contains(google.Text, "roles/") {
		t.Error(google.Text)
	}
	if custom := (&Proposal{System: "gcpaudit", Rules: []scope.Rule{{Resource: "r", Capabilities: []string{"no.such.permission"}}}}).Artifact("x"); !strings.Contains(custom.Text, "a custom role with no.such.permission") {
		t.Error(custom.Text)
	}
}
