package reach

import (
	"strings"
	"testing"

	"github.com/leastwise/leastwise/processor/scope"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

const (
	self   = "arn:aws:iam::123456789012:role/agent"
	admin  = "arn:aws:iam::123456789012:role/admin"
	person = "arn:aws:iam::123456789012:user/person"
	own    = "arn:aws:iam::123456789012:policy/own"
	robot  = "robot@p.iam.gserviceaccount.com"
	worker = "worker@p.iam.gserviceaccount.com"
)

// world holds one principal of each issuer, which is granted exactly some permissions, and others to be reached.
type world struct {
	grants *scope.Grants
	roles  []Role
	start  Start
}

func aws(id string) string { return "cloudtrail/default/" + id }

func (w *world) put(grants ...*pb.Grant) {
	for _, g := range grants {
		w.grants.Put(g)
	}
}

func attached(ids ...string) (out []*pb.Attachment) {
	for _, id := range ids {
		out = append(out, &pb.Attachment{Grant: id})
	}
	return out
}

// granting makes a world in which the start has for each need its first permission on its first resource, but for the
// need left out.
func granting(r *Rule, leaveOut int) *world {
	w := &world{grants: scope.NewGrants()}
	var rules []*pb.Rule
	flags := map[string]string{}
	for i, n := range r.needs {
		if i == leaveOut {
			continue
		}
		switch r.System {
		case "cloudtrail":
			resource := "*"
			switch {
			case n.target && r.Reaches == kindUser:
				resource = person
			case n.target:
				resource = admin
			case n.self:
				resource = self
			case n.ownPolicy:
				resource = own
			}
			rules = append(rules, &pb.Rule{Actions: []string{n.permissions[0]}, Resources: []string{resource}})
		case "gcpaudit":
			rules = append(rules, &pb.Rule{Actions: []string{n.permissions[0]}})
		case "vault":
			fill := strings.NewReplacer("{policy}", "own", "{mount}", "auth/"+r.Kind+"/", "{role}", "deploy")
			capabilities := []string{n.permissions[0]}
			if strings.HasSuffix(n.resources[0], "orphan") {
				capabilities = append(capabilities, "sudo")
			}
			rules = append(rules, &pb.Rule{Resource: fill.Replace(n.resources[0]), Capabilities: capabilities})
		case "spire":
			flags[n.permissions[0]] = "true"
		}
	}
	switch r.System {
	case "cloudtrail":
		w.put(&pb.Grant{Id: aws("policy/" + own), Rules: rules}, &pb.Grant{Id: aws("policy/nothing")},
			&pb.Grant{Id: aws("principal/" + self), Attached: attached(aws("policy/" + own))},
			&pb.Grant{Id: aws("principal/" + admin), Attached: attached(aws("policy/nothing"))},
			&pb.Grant{Id: aws("principal/" + person), Attached: attached(aws("policy/nothing"))},
			&pb.Grant{Id: aws("trust/" + admin), Rules: []*pb.Rule{{Actions: []string{"sts:AssumeRole"}, Resources: []string{"Service:" + r.Trusts, "AWS:" + self}}}})
		w.start = Start{Credential: aws("session/ASIAX"), Principal: aws("principal/" + self)}
	case "gcpaudit":
		on := func(role string) []*pb.Attachment {
			return []*pb.Attachment{{Grant: "gcpaudit/default/policy/" + role, Resource: "//cloudresourcemanager.googleapis.com/projects/p"}}
		}
		w.put(&pb.Grant{Id: "gcpaudit/default/policy/projects/p/roles/own", Rules: rules},
			&pb.Grant{Id: "gcpaudit/default/principal/serviceAccount:" + robot, Attached: on("projects/p/roles/own")},
			&pb.Grant{Id: "gcpaudit/default/principal/serviceAccount:" + worker})
		w.start = Start{Credential: "gcpaudit/default/key/k", Principal: "gcpaudit/default/principal/" + robot}
	case "vault":
		w.put(&pb.Grant{Id: "vault/default/policy/own", Rules: merged(rules)}, &pb.Grant{Id: "vault/default/policy/deploy"})
		w.roles = []Role{{Instance: "default", Mount: "auth/" + r.Kind + "/", Type: r.Kind, Name: "deploy", Policies: []string{"deploy"}}}
		w.start = Start{Credential: "vault/default/token/t", Principal: "vault/default/entity/e", Policies: []string{"own"}}
	case "spire":
		w.start = Start{Credential: "spire/example.org/x509_svid/1", Labels: flags}
	}
	return w
}

// merged joins rules on one path, as Vault does.
func merged(rules []*pb.Rule) (out []*pb.Rule) {
	at := map[string]*pb.Rule{}
	for _, r := range rules {
		if at[r.Resource] == nil {
			at[r.Resource] = &pb.Rule{Resource: r.Resource}
			out = append(out, at[r.Resource])
		}
		at[r.Resource].Capabilities = append(at[r.Resource].Capabilities, r.Capabilities...)
	}
	return out
}

// by finds the last step of a path that a rule made.
func by(a *Answer, rule string) *Path {
	for i, p := range a.Paths {
		if p.Steps[len(p.Steps)-1].Rule == rule {
			return &a.Paths[i]
		}
	}
	return nil
}

// alone answers with one rule in force.
func alone(w *world, r *Rule) *Answer {
	m := NewMap(w.grants, w.roles, nil, nil)
	m.rules = []*Rule{r}
	return m.From(w.start)
}

func TestEachStepNeedsAllThatItNamesAndNothingElse(t *testing.T) {
	for _, r := range Rules() {
		t.Run(r.ID, func(t *testing.T) {
			p := by(alone(granting(r, -1), r), r.ID)
			if p == nil {
				t.Fatalf("with %v it is not taken", r.Needs)
			}
			want := Allowed
			if r.Certainty != "" {
				want = Suggested
			}
			if p.Certainty != want {
				t.Errorf("it is %s, want %s: %+v", p.Certainty, want, p.Steps)
			}
			if strings.ContainsAny(p.Steps[0].Does, "{}") {
				t.Errorf("a name was not filled in: %s", p.Steps[0].Does)
			}
			for i := range r.needs {
				if by(alone(granting(r, i), r), r.ID) != nil {
					t.Errorf("without %q it is taken", r.Needs[i])
				}
			}
		})
	}
}

func TestRulesThatAreWronglyWrittenAreRefused(t *testing.T) {
	good := "- {id: a, system: vault, needs: [read on x], reaches: secrets, does: x, sources: [y]}\n"
	if _, err := parseRules([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"twice":          good + good,
		"no source":      strings.Replace(good, "[y]", "[]", 1),
		"unknown target": strings.Replace(good, "secrets", "moon", 1),
		"unknown key":    strings.Replace(good, "does", "doez: 1, does", 1),
		"no resource":    strings.Replace(good, "read on x", "\"read on \"", 1),
		"no permission":  strings.Replace(good, "read on x", "\" on x\"", 1),
		"certainty":      strings.Replace(good, "does", "certainty: proven, does", 1),
	} {
		if _, err := parseRules([]byte(text)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
