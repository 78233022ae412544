package aws

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/iam"
	"google.golang.org/protobuf/proto"

	"github.com/leastwise/leastwise/enforcer/target"
	"github.com/leastwise/leastwise/enforcer/target/aws/mototest"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

func reads(t *testing.T, text string) []statement {
	t.Helper()
	doc, err := parseDocument(text)
	if err != nil {
		t.Fatal(err)
	}
	list, err := doc.read()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// One golden shows a policy as it was and what is left of it.
func TestTheTextOfANarrowedPolicyKeepsDeniesAndConditionsAndDropsWhatWasNotUsed(t *testing.T) {
	was := reads(t, `{"Version": "2012-10-17", "Id": "x", "Statement": [
		{"Sid": "A", "Effect": "Allow", "Action": "s3:*", "Resource": ["arn:aws:s3:::data", "arn:aws:s3:::data/*", "arn:aws:s3:::other/*"]},
		{"Sid": "B", "Effect": "Allow", "Action": ["sqs:SendMessage", "sqs:Receive*"], "Resource": "*", "Condition": {"StringEquals": {"aws:RequestedRegion": "eu-central-1"}}},
		{"Sid": "C", "Effect": "Allow", "NotAction": ["iam:*", "sts:*"], "NotResource": "arn:aws:kms:*:*:key/secret"},
		{"Sid": "D", "Effect": "Deny", "Action": "s3:DeleteObject", "Resource": "arn:aws:s3:::data/keep/*"},
		{"Sid": "E", "Effect": "Allow", "Action": "dynamodb:*", "Resource": "arn:aws:dynamodb:*:*:table/${aws:username}"}]}`)
	list, refused := wants([]*pb.Rule{
		{Resource: "arn:aws:s3:::data/* arn:aws:s3:::other/*", Capabilities: []string{"s3:GetObject", "S3:getobject"}},
		{Resource: "*", Capabilities: []string{"sqs:SendMessage"}},
		{Resource: "not:arn:aws:kms:*:*:key/secret", Capabilities: []string{"kms:Decrypt"}},
		{Resources: []string{"arn:aws:s3:::data/in/*"}, Actions: []string{"s3:PutObject"}},
		{Resources: []string{"arn:aws:dynamodb:eu-central-1:1:table/alice"}, Actions: []string{"dynamodb:GetItem"}},
		{Resource: "*", Capabilities: []string{"iam:ListUsers"}},
	})
	if refused != "" {
		t.Fatal(refused)
	}
	n := narrow(was, list)
	golden(t, "narrowed.json", n.doc.text()+"\n")
	if n.actions != 5 || !slices.Equal(n.elsewhere, []string{"iam:ListUsers"}) {
		t.Errorf("%d actions, elsewhere %v", n.actions, n.elsewhere)
	}
}

// What is left never permits what was not permitted, over all the pairs of
// small policies and wishes.
func TestNarrowingNeverPermitsMore(t *testing.T) {
	actions := []string{"s3:GetObject", "s3:PutObject", "sqs:SendMessage"}
	resources := []string{"arn:aws:s3:::a/x", "arn:aws:s3:::b/x", "arn:aws:sqs:::q"}
	var statements []statement
	for _, effect := range []string{"Allow", "Deny"} {
		for _, action := range []statement{{Action: texts{"*"}}, {Action: texts{"s3:Get*"}}, {Action: texts{"s3:*", "sqs:SendMessage"}}, {NotAction: texts{"s3:Put*"}}} {
			for _, on := range []statement{{Resource: texts{"*"}}, {Resource: texts{"arn:aws:s3:::a/*"}}, {NotResource: texts{"arn:aws:s3:::b/*"}}} {
				statements = append(statements, statement{Effect: effect, Action: action.Action, NotAction: action.NotAction, Resource: on.Resource, NotResource: on.NotResource})
			}
		}
	}
	var rules []*pb.Rule
	for _, resource := range []string{"", "*", "arn:aws:s3:::a/*", "arn:aws:s3:::b/x", "not:arn:aws:s3:::b/*"} {
		for _, action := range append(actions, "s3:*") {
			rules = append(rules, &pb.Rule{Resource: resource, Capabilities: []string{action}})
		}
	}
	kept := 0
	for _, first := range statements {
		for _, second := range statements {
			for _, rule := range rules {
				list, _ := wants([]*pb.Rule{rule})
				left, err := narrow([]statement{first, second}, list).doc.read()
				if err != nil {
					t.Fatal(err)
				}
				for _, action := range actions {
					for _, resource := range resources {
						before, after := permitted([]statement{first, second}, action, resource), permitted(left, action, resource)
						if after {
							kept++
						}
						if after && !before {
							t.Fatalf("%s and %s, narrowed to %v, permit %s on %s: %v", first.raw(), second.raw(), rule, action, resource, left)
						}
					}
				}
			}
		}
	}
	if kept == 0 {
		t.Error("nothing was ever kept")
	}
}

// permitted is IAM's rule for statements without conditions.
func permitted(list []statement, action, resource string) (ok bool) {
	in := func(patterns texts, text string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool { return covers(p, text) })
	}
	for _, s := range list {
		if (len(s.Action) > 0) != in(slices.Concat(s.Action, s.NotAction), action) || (len(s.Resource) > 0) != in(slices.Concat(s.Resource, s.NotResource), resource) {
			continue
		}
		if s.Effect == "Deny" {
			return false
		}
		ok = true
	}
	return ok
}

func TestPatternsCoverWhatTheyMatchAndNoMore(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		covers        bool
	}{
		{"*", "s3:*", true}, {"s3:*", "s3:Get*", true}, {"s3:Get*", "s3:*", false}, {"s3:Get?", "s3:Get*", false}, {"s3:Get?", "s3:GetX", true},
		{"a*b*c", "axxbyyc", true}, {"a*b*c", "axxbyy", false}, {"", "", true}, {"a", "", false}, {"a*", "a", true}, {"?*", "ab", true},
	} {
		if got := covers(c.pattern, c.text); got != c.covers {
			t.Errorf("%q covers %q: %t", c.pattern, c.text, got)
		}
	}
	for _, c := range []struct {
		a, b string
		meet bool
	}{{"s3:*", "s3:get*", true}, {"iam:*", "s3:get", false}, {"abc", "abc", true}, {"abc", "abcd", false}, {"abc", "abc*", true}, {"ab?", "abc", true}} {
		if got := mayMeet(c.a, c.b); got != c.meet {
			t.Errorf("%q and %q may meet: %t", c.a, c.b, got)
		}
	}
}

func TestAPolicyThatIsNotWhollyUnderstoodIsNotNarrowed(t *testing.T) {
	for what, text := range map[string]string{
		"no JSON":            `{"Statement": [`,
		"more text":          `{"Statement": []} {}`,
		"no statement":       `{"Version": "2012-10-17"}`,
		"an unknown element": `{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*", "Principal": "*"}}`,
		"no effect":          `{"Statement": {"Action": "*", "Resource": "*"}}`,
		"both actions":       `{"Statement": {"Effect": "Allow", "Action": "*", "NotAction": "*", "Resource": "*"}}`,
		"no resource":        `{"Statement": {"Effect": "Allow", "Action": "*"}}`,
		"a number":           `{"Statement": {"Effect": "Allow", "Action": 1, "Resource": "*"}}`,
	} {
		doc, err := parseDocument(text)
		if err == nil {
			_, err = doc.read()
		}
		if err == nil {
			t.Errorf("%s is read", what)
		}
	}
}

// broad gives a role or user policies of all kinds, and what they are.
func (a *account) broad(h holder) (before string) {
	a.t.Helper()
	a.n++
	made := must(a.root.CreatePolicy(a.t.Context(), &iam.CreatePolicyInput{PolicyName: p(fmt.Sprintf("broad-%d", a.n)),
		PolicyDocument: p(`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}`)}))
	x := a.open(Config{})
	h.t = x
	for name, text := range map[string]string{
		"own":   `{"Version": "2012-10-17",   "Statement": [{"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}]}`,
		"guard": `{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:DeleteBucket", "Resource": "*"}]}`,
	} {
		must(0, h.put(a.t.Context(), name, text))
	}
	must(0, h.attach(a.t.Context(), *made.Policy.Arn))
	return a.all(h)
}

// all policies of a role or user, as text to compare.
func (a *account) all(h holder) string {
	a.t.Helper()
	h.t = a.open(Config{})
	return fmt.Sprint(a.inline(h.kind, h.name), must(h.attached(a.t.Context())))
}

func decision(credential, principal string) *pb.Decision {
	return &pb.Decision{Credential: credential, Subject: &pb.Subject{Principal: "cloudtrail/default/principal/" + principal},
		Proposal: &pb.Proposal{Granted: 200, Rules: []*pb.Rule{{Resource: "*", Capabilities: []string{"s3:GetObject", "sqs:SendMessage"}}}}}
}

func TestMotoNarrowingAndRollbackGoOnFromEachPointOfACrash(t *testing.T) {
	for _, kind := range []string{"role", "user"} {
		t.Run(kind, func(t *testing.T) {
			a := newAccount(t)
			a.history.Used = nil
			c, _ := a.key()
			h := holder{kind: kind, name: "agent-1"}
			d := decision(c.Key, "arn:aws:iam::123456789012:user/agents/agent-1")
			if kind == "role" {
				c, _ = a.session("one")
				h.name = "agent"
				d = decision(c.Key, a.role("agent"))
				a.history.Used = usedBy(d)
			}
			before := a.broad(h)
			x := a.open(Config{Narrow: true})
			plan, refused, err := x.Plan(t.Context(), d)
			if err != nil || refused != "" {
				t.Fatal(refused, err)
			}
			if a.all(h) != before {
				t.Error("planning changed something")
			}
			again, _, _ := x.Plan(t.Context(), d)
			if !proto.Equal(plan, again) {
				t.Errorf("planned again it is another\n%v\n%v", plan, again)
			}
			act := func(name string, do func() error) {
				t.Helper()
				for n := 0; ; n++ {
					for _, f := range []mototest.Fault{mototest.Dead, mototest.Lost} {
						left := n
						a.proxy.Break(func(string) mototest.Fault {
							switch left--; {
							case left > -1:
								return mototest.None
							case left == -1:
								return f
							}
							return mototest.Dead // nothing is asked any more
						})
						err := do()
						a.proxy.Break(nil)
						if err == nil {
							return
						}
						if target.KindOf(err) != target.Retryable {
							t.Fatalf("%s cut off at request %d: %v", name, n, err)
						}
						if !a.canUse(h, "s3:GetObject", "sqs:SendMessage") {
							t.Errorf("%s cut off at request %d: what was used is not granted", name, n)
						}
					}
				}
			}
			var done *pb.Reissue
			act("Reissue", func() (err error) { done, err = x.Reissue(t.Context(), "l1", d, plan); return err })
			if got := a.inline(h.kind, h.name); len(got) != 1 || !same(got[ScopePolicy], plan.PolicyText) || strings.Contains(a.all(h), "broad") {
				t.Errorf("%v", a.all(h))
			}
			if kind == "role" {
				golden(t, "plan.txt", plan.PolicyText+"\n"+plan.Narrowed+"\n")
			}
			act("Rollback", func() error { return x.Rollback(t.Context(), done) })
			if got := a.all(h); got != before {
				t.Errorf("rolled back it is\n%s\nwas\n%s", got, before)
			}
			if err := x.Rollback(t.Context(), done); err != nil || a.all(h) != before {
				t.Errorf("again: %v", err)
			}
		})
	}
}

// canUse evaluates what stands there now.
func (a *account) canUse(h holder, actions ...string) bool {
	h.t = a.open(Config{})
	var list []statement
	for name, text := range a.inline(h.kind, h.name) {
		if name != DenyPolicy {
			list = append(list, reads(a.t, text)...)
		}
	}
	for _, arn := range must(h.attached(a.t.Context())) {
		list = append(list, reads(a.t, must(h.t.managed(a.t.Context(), arn)))...)
	}
	return !slices.ContainsFunc(actions, func(action string) bool { return !permitted(list, action, "arn:aws:x:::y") })
}

func TestMotoNarrowingIsRefusedWhereItWouldTakeFromOthersOrCanNotBeUndone(t *testing.T) {
	for what, c := range map[string]struct {
		prepare func(a *account, d *pb.Decision)
		cfg     Config
		text    string
	}{
		"it is off": {cfg: Config{}, text: "enforcer.aws.narrow"},
		"another key": {func(a *account, _ *pb.Decision) {
			must(a.root.CreateAccessKey(a.t.Context(), &iam.CreateAccessKeyInput{UserName: p("agent-1")}))
		}, Config{Narrow: true}, "another key"},
		"a group":                {inGroup, Config{Narrow: true}, "groups (readers)"},
		"an incomplete proposal": {func(_ *account, d *pb.Decision) { d.Proposal.Incomplete = "a gap" }, Config{Narrow: true}, "a gap"},
		"no use":                 {func(_ *account, d *pb.Decision) { d.Proposal.Rules = nil }, Config{Narrow: true}, "no use"},
		"Vault's rules":          {func(_ *account, d *pb.Decision) { d.Proposal.Rules[0].Capabilities = []string{"read"} }, Config{Narrow: true}, "no action of AWS"},
		"nothing of it granted":  {func(_ *account, d *pb.Decision) { d.Proposal.Rules[0].Capabilities = []string{"ec2:RunInstances"} }, Config{Narrow: true}, "nothing of what was used"},
		"another account": {func(_ *account, d *pb.Decision) {
			d.Subject.Principal = "cloudtrail/default/principal/arn:aws:iam::999999999999:user/agent-1"
		}, Config{Narrow: true}, "account 999999999999"},
		"the root user": {func(_ *account, d *pb.Decision) {
			d.Subject.Principal = "cloudtrail/default/principal/arn:aws:iam::123456789012:root"
		}, Config{Narrow: true}, "neither"},
		"itself": {func(_ *account, d *pb.Decision) {
			d.Subject.Principal = "cloudtrail/default/principal/arn:aws:iam::123456789012:user/the-enforcer"
		}, Config{Narrow: true}, "itself acts"},
		"no room": {noRoom, Config{Narrow: true}, "no room"},
		"a role without history": {func(a *account, d *pb.Decision) {
			d.Subject.Principal = "cloudtrail/default/principal/" + a.role("agent")
		}, Config{Narrow: true}, "other sessions of the role"},
	} {
		t.Run(what, func(t *testing.T) {
			a := newAccount(t)
			key, _ := a.key()
			d := decision(key.Key, "arn:aws:iam::123456789012:user/agents/agent-1")
			a.broad(holder{kind: "user", name: "agent-1"})
			if c.prepare != nil {
				c.prepare(a, d)
			}
			plan, refused, err := a.open(c.cfg).Plan(t.Context(), d)
			if plan != nil || err != nil || !strings.Contains(refused, c.text) {
				t.Errorf("Plan = %v, %q, %v", plan, refused, err)
			}
		})
	}
}

func inGroup(a *account, _ *pb.Decision) {
	must(a.root.CreateGroup(a.t.Context(), &iam.CreateGroupInput{GroupName: p("readers")}))
	must(a.root.AddUserToGroup(a.t.Context(), &iam.AddUserToGroupInput{GroupName: p("readers"), UserName: p("agent-1")}))
}

func noRoom(a *account, _ *pb.Decision) {
	s := statement{Effect: "Allow", Action: texts{"s3:*"}, Resource: texts{"arn:aws:s3:::" + strings.Repeat("x", userLimit-200)}}
	text := document{Statements: []json.RawMessage{s.raw()}}.text()
	must(a.root.PutUserPolicy(a.t.Context(), &iam.PutUserPolicyInput{UserName: p("agent-1"), PolicyName: p("long"), PolicyDocument: &text}))
}

func TestMotoWhatSomebodyWroteSinceIsNotOverwritten(t *testing.T) {
	a := newAccount(t)
	c, _ := a.session("one")
	d := decision(c.Key, a.role("agent"))
	a.history.Used = usedBy(d)
	a.broad(holder{kind: "role", name: "agent"})
	x := a.open(Config{Narrow: true})
	plan, _, err := x.Plan(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	other := `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ec2:*", "Resource": "*"}]}`
	was := a.inline("role", "agent")["own"]
	a.put("agent", "own", other)
	if _, err := x.Reissue(t.Context(), "l1", d, plan); target.KindOf(err) != target.Impossible || err == nil || !same(a.inline("role", "agent")["own"], other) {
		t.Errorf("Reissue = %v", err)
	}
	a.put("agent", "own", was)
	done, err := x.Reissue(t.Context(), "l1", d, plan)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"own", ScopePolicy} {
		kept := a.inline("role", "agent")[name]
		a.put("agent", name, other)
		if err := x.Rollback(t.Context(), done); target.KindOf(err) != target.Impossible || err == nil || !same(a.inline("role", "agent")[name], other) {
			t.Errorf("Rollback over a changed %s = %v", name, err)
		}
		if kept == "" {
			must(a.root.DeleteRolePolicy(t.Context(), &iam.DeleteRolePolicyInput{RoleName: p("agent"), PolicyName: &name}))
		} else {
			a.put("agent", name, kept)
		}
	}
	if err := x.Rollback(t.Context(), done); err != nil {
		t.Error(err)
	}
}
