package vault

import (
	"strings"
	"testing"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

func TestNarrowNeverGivesMoreThanIsGranted(t *testing.T) {
	cases := map[string]struct {
		granted  string
		proposed []*pb.Rule
		want     string // lines of the policy, without header; or
		refused  string
	}{
		"fewer capabilities": {
			granted:  `path "secret/data/*" { capabilities = ["create", "read", "update"] }`,
			proposed: []*pb.Rule{{Resource: "secret/data/*", Capabilities: []string{"read"}}},
			want:     `path "secret/data/*" { capabilities = ["read"] }`,
		},
		"narrower path": {
			granted:  `path "secret/*" { capabilities = ["read"] }`,
			proposed: []*pb.Rule{{Resource: "secret/data/a", Capabilities: []string{"read"}}},
			want:     `path "secret/data/a" { capabilities = ["read"] }`,
		},
		"deny below stays": {
			granted: `path "secret/*" { capabilities = ["read"] }
				path "secret/admin/*" { capabilities = ["deny"] }`,
			proposed: []*pb.Rule{{Resource: "secret/*", Capabilities: []string{"read"}}},
			want: `path "secret/*" { capabilities = ["read"] }
path "secret/admin/*" { capabilities = ["deny"] }`,
		},
		"deny of another policy below stays, with wildcards": {
			granted: `path "secret/*" { capabilities = ["read"] }
				path "secret/+/keys" { capabilities = ["deny"] }`,
			proposed: []*pb.Rule{{Resource: "secret/*", Capabilities: []string{"read"}}},
			want: `path "secret/*" { capabilities = ["read"] }
path "secret/+/keys" { capabilities = ["deny"] }`,
		},
		"what was granted below and not used is denied": {
			granted: `path "secret/*" { capabilities = ["read", "update"] }
				path "secret/list/*" { capabilities = ["list"] }`,
			proposed: []*pb.Rule{{Resource: "secret/*", Capabilities: []string{"read"}}},
			want: `path "secret/*" { capabilities = ["read"] }
path "secret/list/*" { capabilities = ["deny"] }`,
		},
		"a wider grant is not carried": {
			granted: `path "secret/*" { capabilities = ["read", "update"] }
				path "secret/data/x/*" { capabilities = ["read"] }`,
			proposed: []*pb.Rule{{Resource: "secret/data/x/*", Capabilities: []string{"read"}}},
			want:     `path "secret/data/x/*" { capabilities = ["read"] }`,
		},
		"root": {
			granted:  `path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }`,
			proposed: []*pb.Rule{{Resource: "secret/data/x", Capabilities: []string{"read"}}},
			want:     `path "secret/data/x" { capabilities = ["read"] }`,
		},
		"old words": {
			granted:  `path "secret/*" { policy = "write" }`,
			proposed: []*pb.Rule{{Resource: "secret/*", Capabilities: []string{"delete", "read"}}},
			want:     `path "secret/*" { capabilities = ["delete", "read"] }`,
		},
		"not granted at all": {
			granted:  `path "secret/data/*" { capabilities = ["read"] }`,
			proposed: []*pb.Rule{{Resource: "sys/mounts", Capabilities: []string{"read"}}},
			refused:  "sys/mounts is proposed and not granted",
		},
		"wider path than granted": {
			granted:  `path "secret/data/x/*" { capabilities = ["read"] }`,
			proposed: []*pb.Rule{{Resource: "secret/data/*", Capabilities: []string{"read"}}},
			refused:  "not granted",
		},
		"more capabilities than granted": {
			granted:  `path "secret/*" { capabilities = ["read"] }`,
			proposed: []*pb.Rule{{Resource: "secret/*", Capabilities: []string{"read", "sudo"}}},
			refused:  "sudo on secret/* is proposed and not granted",
		},
		"denied": {
			granted: `path "secret/*" { capabilities = ["read"] }
				path "secret/*" { capabilities = ["deny"] }`,
			proposed: []*pb.Rule{{Resource: "secret/*", Capabilities: []string{"read"}}},
			refused:  "not granted",
		},
		"more specific rule decides, not the wider one": {
			granted: `path "secret/*" { capabilities = ["read", "update"] }
				path "secret/data/*" { capabilities = ["read"] }`,
			proposed: []*pb.Rule{{Resource: "secret/data/x", Capabilities: []string{"update"}}},
			refused:  "update on secret/data/x is proposed and not granted by secret/data/*",
		},
		"parameters can not be carried": {
			granted:  `path "secret/*" { capabilities = ["update"] allowed_parameters = { "ttl" = [] } }`,
			proposed: []*pb.Rule{{Resource: "secret/*", Capabilities: []string{"update"}}},
			refused:  "allowed_parameters",
		},
		"templates can not be carried": {
			granted:  `path "secret/{{identity.entity.id}}/*" { capabilities = ["read"] }`,
			proposed: []*pb.Rule{{Resource: "secret/{{identity.entity.id}}/*", Capabilities: []string{"read"}}},
			refused:  "can not be written",
		},
		"a rule that would break out of its quotes": {
			granted:  `path "*" { capabilities = ["read"] }`,
			proposed: []*pb.Rule{{Resource: "a\" { capabilities = [\"sudo\"] }\npath \"*", Capabilities: []string{"read"}}},
			refused:  "can not be written",
		},
		"an invented capability": {
			granted:  `path "*" { capabilities = ["root"] }`,
			proposed: []*pb.Rule{{Resource: "*", Capabilities: []string{"root"}}},
			refused:  `capability "root"`,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			g := grants{}
			if err := g.parse(c.granted); err != nil {
				t.Fatal(err)
			}
			rules, refused := g.narrow(c.proposed)
			if c.refused != "" {
				if !strings.Contains(refused, c.refused) {
					t.Errorf("refused %q, rules %v; want refusal %q", refused, rules, c.refused)
				}
				return
			}
			if got := strings.TrimSpace(policyText("", rules)); refused != "" || got != c.want {
				t.Errorf("refused %q, got\n%s\nwant\n%s", refused, got, c.want)
			}
		})
	}
}

func TestPolicyNamesAreTheSameForTheSameRulesAndHoldNothingOdd(t *testing.T) {
	rules := []*pb.Rule{{Resource: "a", Capabilities: []string{"read"}}}
	name := policyName("In gest/../x\n", "c", rules)
	if name != policyName("In gest/../x\n", "c", rules) || !strings.HasPrefix(name, "leastwise-in-gest----x-") {
		t.Errorf("%q", name)
	}
	if name == policyName("ingest", "c", []*pb.Rule{{Resource: "a", Capabilities: []string{"list"}}}) {
		t.Error("other rules, same name")
	}
}
