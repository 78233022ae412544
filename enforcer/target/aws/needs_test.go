package aws

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/enforcer/target/aws/mototest"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

func TestThePolicyTheEnforcerNeeds(t *testing.T) {
	golden(t, "enforcer.json", Config{}.PolicyJSON())
	golden(t, "enforcer-narrow.json", Config{Narrow: true, KeepKeys: true, RoleARN: "arn:aws:iam::123456789012:role/ops/leastwise"}.PolicyJSON())
}

// simulated answers for every action but one that is missing.
func simulated(missing string) func(string, http.ResponseWriter, *http.Request) bool {
	return func(action string, w http.ResponseWriter, r *http.Request) bool {
		if action != "SimulatePrincipalPolicy" {
			return false
		}
		fmt.Fprint(w, `<SimulatePrincipalPolicyResponse><SimulatePrincipalPolicyResult><EvaluationResults>`)
		for name, values := range r.Form {
			if strings.HasPrefix(name, "ActionNames.member.") {
				decision := "allowed"
				if values[0] == missing {
					decision = "implicitDeny"
				}
				fmt.Fprintf(w, `<member><EvalActionName>%s</EvalActionName><EvalDecision>%s</EvalDecision></member>`, values[0], decision)
			}
		}
		fmt.Fprint(w, `</EvaluationResults></SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>`)
		return true
	}
}

func TestEachActionThatIsMissingIsNamed(t *testing.T) {
	c := Config{Narrow: true, Timeout: time.Minute}
	for _, n := range c.needs() {
		for _, action := range n.actions {
			missing, err := fake(t, c, simulated(action)).Capabilities(t.Context())
			if err != nil || len(missing) != 1 || missing[0].Capability != action || missing[0].Step == "" {
				t.Errorf("without %s: %v, %v", action, missing, err)
			}
		}
	}
	if missing, err := fake(t, c, simulated("")).Capabilities(t.Context()); err != nil || len(missing) != 0 {
		t.Errorf("%v, %v", missing, err)
	}
}

// Every action that the code asks for stands in the policy: each request of a
// whole round is compared with it.
func TestMotoThePolicyNamesEveryActionThatIsAskedFor(t *testing.T) {
	a := newAccount(t)
	key, _ := a.key()
	c, _ := a.session("one")
	d := decision(c.Key, a.role("agent"))
	u := decision(key.Key, "arn:aws:iam::123456789012:user/agents/agent-1")
	a.history.Used = usedBy(d)
	a.broad(holder{kind: "role", name: "agent"})
	a.broad(holder{kind: "user", name: "agent-1"})
	cfg := Config{Narrow: true}
	x := a.open(cfg)
	from := len(a.proxy.Seen())
	ok := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	for _, d := range []func() (any, error){
		func() (any, error) { return x.Capabilities(t.Context()) }, func() (any, error) { return x.Live(t.Context()) },
		func() (any, error) { return nil, x.Revoke(t.Context(), c) }, func() (any, error) { return nil, x.Restore(t.Context(), c) },
		func() (any, error) { return nil, x.Revoke(t.Context(), key) }, func() (any, error) { return nil, x.Finish(t.Context(), key) },
		func() (any, error) { return x.Verify(t.Context(), key) },
	} {
		ok(d())
	}
	for _, d := range []*pb.Decision{d, u} {
		plan, refused, err := x.Plan(t.Context(), d)
		if err != nil || refused != "" {
			t.Fatal(refused, err)
		}
		done, err := x.Reissue(t.Context(), "l1", d, plan)
		ok(done, err)
		ok(nil, x.Rollback(t.Context(), done))
	}
	named := map[string]bool{"GetCallerIdentity": true} // needs no permission
	for _, n := range cfg.needs() {
		for _, action := range n.actions {
			named[action[4:]] = true
		}
	}
	asked := map[string]bool{}
	for _, action := range a.proxy.Seen()[from:] {
		asked[action] = true
		if !named[action] {
			t.Errorf("%s is asked for and stands in no policy", action)
		}
	}
	for action := range named {
		if !asked[action] {
			t.Errorf("%s stands in the policy and is never asked for", action)
		}
	}
}

func TestWhereNothingIsSimulatedOnlyReadingIsTriedAndTheDoctorSaysSo(t *testing.T) {
	x := fake(t, Config{}, func(action string, w http.ResponseWriter, _ *http.Request) bool {
		switch action {
		case "SimulatePrincipalPolicy":
			w.WriteHeader(http.StatusNotImplemented)
		case "ListUsers", "GetRole":
			mototest.Refuse(w, 403, "AccessDenied", "no")
		default:
			return changesAnything(t, action)
		}
		return true
	})
	missing, err := x.Capabilities(t.Context())
	var names []string
	for _, m := range missing {
		names = append(names, m.Capability)
	}
	if err != nil || !slices.Equal(names, []string{"iam:ListUsers", "iam:GetRole"}) {
		t.Errorf("%v, %v", missing, err)
	}
	report, err := x.Doctor(t.Context())
	if err != nil || report.OK() || !strings.Contains(report.String(), "FAIL  capabilities: capability \"iam:GetRole\"") {
		t.Errorf("%v, %v", report, err)
	}
}

func changesAnything(t *testing.T, action string) bool {
	if mototest.Changes(action) {
		t.Errorf("%s changes something", action)
	}
	return false
}

func TestMotoDoctor(t *testing.T) {
	a := newAccount(t)
	a.key()
	report, err := a.open(Config{}).Doctor(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"ok    own credentials: arn:aws:iam::123456789012:user/the-enforcer", "whether it may change is not known", "2 active access keys", "narrowing: off"} {
		if !strings.Contains(report.String(), line) {
			t.Errorf("no %q in\n%s", line, report)
		}
	}
	if !report.OK() {
		t.Errorf("%s", report)
	}
}

func TestTheConfigurationSaysWhichKeyIsWrong(t *testing.T) {
	for text, c := range map[string]Config{
		"":             {},
		"instance":     {Instance: "a/b"},
		"endpoint":     {Endpoint: "localhost:5000"},
		"password":     {Endpoint: "http://a:CANARY@localhost"},
		"role_arn":     {RoleARN: "arn:aws:iam::12:role/x"},
		"external_id":  {ExternalID: "x"},
		"delete_after": {DeleteAfter: -time.Hour},
		"keep_keys":    {KeepKeys: true, DeleteAfter: time.Hour},
	} {
		err := c.Validate()
		if (err == nil) != (text == "") || err != nil && (!strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "CANARY")) {
			t.Errorf("%+v: %v, want %q", c, err, text)
		}
	}
}
