package aws

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/leastwise/leastwise/enforcer/target"
	"github.com/leastwise/leastwise/enforcer/target/aws/mototest"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s (go test -rewrite):\n%s\nwant\n%s", name, got, want)
	}
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestTheTextOfDeniesIsAsNarrowAsTheEvidence(t *testing.T) {
	var l denies
	l.add(deny{id: "ASIANAMED00000000000", before: noon, userID: "AROAEXAMPLE:run-1"})
	l.add(deny{id: "ASIASOURCE0000000000", before: noon.Add(time.Hour), source: "alice@example.org"})
	l.add(deny{id: "ASIAALL0000000000000", before: noon.Add(2 * time.Hour)})
	golden(t, "denies.json", l.doc.text()+"\n")
	again, err := parseDocument(l.doc.text())
	if err != nil || !l.equal(&denies{again}) {
		t.Errorf("it reads as %v, %v", again, err)
	}
}

func TestADenyStandsOnlyInTheFormItWasWritten(t *testing.T) {
	good := deny{id: "ASIA1", before: noon, userID: "AROAEXAMPLE:run-1"}
	if d, ok := parseDeny(good.raw()); !ok || d != good {
		t.Fatalf("%+v, %t", d, ok)
	}
	for what, edit := range map[string][2]string{
		"another effect":    {`"Deny"`, `"Allow"`},
		"another action":    {`"Action":"*"`, `"Action":"s3:*"`},
		"another resource":  {`"Resource":"*"`, `"Resource":"arn:aws:s3:::x"`},
		"a condition more":  {`"DateLessThan"`, `"Bool":{"aws:SecureTransport":"false"},"DateLessThan"`},
		"another key":       {keyUserID, "aws:username"},
		"another operator":  {"DateLessThan", "DateGreaterThan"},
		"no time":           {stamp(noon), "soon"},
		"another statement": {sidPrefix, "Mine"},
	} {
		text := strings.Replace(string(good.raw()), edit[0], edit[1], 1)
		if text == string(good.raw()) {
			t.Fatalf("%s: nothing was edited", what)
		}
		if d, ok := parseDeny([]byte(text)); ok {
			t.Errorf("%s is taken for a deny: %+v", what, d)
		}
	}
}

func TestDeniesAddUpAndThoseOfExpiredSessionsGo(t *testing.T) {
	l := denies{doc: document{Statements: nil}}
	foreign := statement{Sid: "Theirs", Effect: "Deny", Action: texts{"s3:*"}, Resource: texts{"*"}}.raw()
	l.doc.Statements = append(l.doc.Statements, foreign)
	old := deny{id: "ASIAOLD", before: noon.Add(-13 * time.Hour), userID: "A:x"}
	young := deny{id: "ASIAYOUNG", before: noon.Add(-11 * time.Hour), userID: "A:y"}
	l.add(old)
	l.add(young)
	l.add(young)
	if len(l.doc.Statements) != 3 {
		t.Fatalf("%s", l.doc.text())
	}
	later := young
	later.before = noon
	l.add(later)
	l.add(young) // an earlier time for the same key takes nothing back
	if d, _ := l.own("ASIAYOUNG"); !d.before.Equal(noon) {
		t.Errorf("%+v", d)
	}
	l.prune(noon)
	if _, ok := l.own("ASIAOLD"); ok || len(l.doc.Statements) != 2 || l.index("Theirs") != 0 {
		t.Errorf("%s", l.doc.text())
	}
}

func TestCollapsingTakesOutOnlyWhatOthersInclude(t *testing.T) {
	var l denies
	for _, d := range []deny{
		{id: "A1", before: noon, userID: "R:x"}, {id: "A2", before: noon.Add(time.Hour), userID: "R:x"}, {id: "A3", before: noon.Add(2 * time.Hour), userID: "R:x"},
		{id: "B1", before: noon.Add(3 * time.Hour), userID: "R:y"}, {id: "C1", before: noon.Add(time.Hour)},
		{id: "D1", before: noon.Add(3 * time.Hour), userID: "R:y"},
	} {
		l.add(d)
	}
	before := l.clone()
	l.collapse()
	var left []string
	for _, raw := range l.doc.Statements {
		left = append(left, strings.TrimPrefix(sidOf(raw), sidPrefix))
	}
	if fmt.Sprint(left) != "[A3 C1 D1]" {
		t.Errorf("left %v", left)
	}
	for _, userID := range []string{"R:x", "R:y", "R:z"} {
		for h := range 5 {
			issued := noon.Add(time.Duration(h)*time.Hour - time.Minute)
			if hit(before, userID, issued) != hit(&l, userID, issued) {
				t.Errorf("%s at %s: before %t", userID, issued, hit(before, userID, issued))
			}
		}
	}
}

func hit(l *denies, userID string, issued time.Time) bool {
	for _, raw := range l.doc.Statements {
		if d, ok := parseDeny(raw); ok && d.hits(userID, "", issued) {
			return true
		}
	}
	return false
}

func TestMotoDeniesOfOneRoleAddUpAndAreTakenBackOneByOne(t *testing.T) {
	a := newAccount(t)
	x := a.open(Config{})
	first, firstWorks := a.session("one")
	second, secondWorks := a.session("two")
	a.put("agent", DenyPolicy, `{"Version": "2012-10-17", "Statement": [{"Sid": "Theirs", "Effect": "Deny", "Action": "iam:*", "Resource": "*"}]}`)
	for _, c := range []target.Credential{first, second} {
		if err := x.Revoke(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if firstWorks() || secondWorks() || !strings.Contains(a.inline("role", "agent")[DenyPolicy], "Theirs") {
		t.Errorf("%s", a.inline("role", "agent")[DenyPolicy])
	}
	if err := x.Restore(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if !firstWorks() || secondWorks() {
		t.Errorf("%s", a.inline("role", "agent")[DenyPolicy])
	}
	if err := x.Restore(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if text := a.inline("role", "agent")[DenyPolicy]; !strings.Contains(text, "Theirs") || strings.Contains(text, sidPrefix) {
		t.Errorf("%s", text)
	}
}

func (a *account) put(role, policy, text string) {
	must(a.root.PutRolePolicy(a.t.Context(), &iam.PutRolePolicyInput{RoleName: &role, PolicyName: &policy, PolicyDocument: &text}))
}

// Another enforcer, or a person, writes the policy between the reading and the
// writing: what they wrote is overwritten, seen by the reading after it, and
// nothing of what was asked for is lost.
func TestMotoADenyOverwrittenByOthersIsPutBackAndProven(t *testing.T) {
	a := newAccount(t)
	x := a.open(Config{})
	c, works := a.session("one")
	puts := 0
	a.proxy.Break(func(action string) mototest.Fault {
		if action == "PutRolePolicy" {
			puts++
		}
		// After the first writing, and before it is read again, somebody who has
		// read before it writes theirs.
		if action == "GetRolePolicy" && puts == 1 {
			puts++
			a.put("agent", DenyPolicy, `{"Version": "2012-10-17", "Statement": [{"Sid": "Theirs", "Effect": "Deny", "Action": "iam:*", "Resource": "*"}]}`)
		}
		return mototest.None
	})
	if err := x.Revoke(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if text := a.inline("role", "agent")[DenyPolicy]; works() || !strings.Contains(text, "Theirs") {
		t.Errorf("%s", text)
	}
}

func TestMotoEnforcersRevokingSessionsOfOneRoleAtOnceLoseNone(t *testing.T) {
	a := newAccount(t)
	x := a.open(Config{})
	const n = 8
	var all []func() bool
	errs := make(chan error, n)
	for i := range n {
		c, works := a.session(fmt.Sprintf("run-%d", i))
		all = append(all, works)
		go func() { errs <- x.Revoke(t.Context(), c) }()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	for i, works := range all {
		if works() {
			t.Errorf("session %d works", i)
		}
	}
}

// IAM answers with what stood there before for a while: a deny written a moment
// ago must not be lost by the next one.
func TestMotoAnOldReadingLosesNoDeny(t *testing.T) {
	a := newAccount(t)
	x := a.open(Config{})
	first, firstWorks := a.session("one")
	second, secondWorks := a.session("two")
	if err := x.Revoke(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	must(a.root.DeleteRolePolicy(t.Context(), &iam.DeleteRolePolicyInput{RoleName: p("agent"), PolicyName: p(DenyPolicy)})) // as an old reading shows it
	if p, err := x.Verify(t.Context(), first); err != nil || p.Gone {
		t.Errorf("proven by memory: %+v, %v", p, err)
	}
	if err := x.Revoke(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if firstWorks() || secondWorks() {
		t.Errorf("%s", a.inline("role", "agent")[DenyPolicy])
	}
}

func TestMotoARoleThatHasNoRoomIsRefusedWithWhatToDo(t *testing.T) {
	a := newAccount(t)
	x := a.open(Config{})
	c, works := a.session("one")
	var l denies
	for i := 0; size(l.doc.text()) < roleLimit-100; i++ {
		l.add(deny{id: fmt.Sprintf("ASIA%016d", i), before: time.Now().Add(time.Hour), userID: fmt.Sprintf("AROAX:run-%d", i)})
	}
	a.put("agent", DenyPolicy, l.doc.text())
	err := x.Revoke(t.Context(), c)
	if target.KindOf(err) != target.Impossible || err == nil || !strings.Contains(err.Error(), "no room") || !works() {
		t.Errorf("Revoke = %v", err)
	}
	// Denies that others include make room.
	for i, raw := range l.doc.Statements {
		d, _ := parseDeny(raw)
		d.userID = "AROAX:same"
		l.doc.Statements[i] = d.raw()
	}
	a.put("agent", DenyPolicy, l.doc.text())
	if err := x.Revoke(t.Context(), c); err != nil || works() {
		t.Errorf("Revoke = %v", err)
	}
}

func TestMotoRolesThatAreNotOursToChangeAreRefused(t *testing.T) {
	a := newAccount(t)
	linked := *must(a.root.CreateServiceLinkedRole(t.Context(), &iam.CreateServiceLinkedRoleInput{AWSServiceName: p("autoscaling.amazonaws.com")})).Role.Arn
	reserved := *must(a.root.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: p("AWSReservedSSO_x"), Path: p("/aws-reserved/sso.amazonaws.com/"), AssumeRolePolicyDocument: p(trust)})).Role.Arn
	own := a.role("leastwise")
	for what, c := range map[string]struct {
		cfg  Config
		role string
		text string
	}{
		"service-linked":  {Config{}, linked, "service-linked"},
		"identity center": {Config{}, reserved, "Identity Center"},
		"its own":         {Config{RoleARN: own}, own, target.ErrOwn.Error()},
	} {
		x := a.open(c.cfg)
		err := x.Revoke(t.Context(), target.Credential{Key: "cloudtrail/default/session/ASIASOMEBODYS0000000", IssuedAt: time.Now(),
			Labels: map[string]string{"session_issuer": c.role, "session_name": "one"}})
		if target.KindOf(err) != target.Impossible || err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: Revoke = %v", what, err)
		}
		if what == "its own" {
			keys, err := x.Protected(t.Context())
			if err != nil || len(keys) != 2 || !strings.Contains(keys[0], "/access_key/AKIA") || !strings.Contains(keys[1], "/session/ASIA") {
				t.Errorf("Protected = %v, %v", keys, err)
			}
		}
	}
}

func TestMotoSessionsOfARoleThatIsGoneOrThatExpiredAreGone(t *testing.T) {
	a := newAccount(t)
	x := a.open(Config{})
	c, _ := a.session("one")
	over := c
	over.ExpiresAt = time.Now().Add(-time.Second)
	if s, err := x.Lookup(t.Context(), over); err != nil || s.Status != target.Gone || !strings.Contains(s.Detail, "expired") {
		t.Errorf("%+v, %v", s, err)
	}
	if err := x.Restore(t.Context(), over); target.KindOf(err) != target.Impossible || err == nil {
		t.Errorf("Restore = %v", err)
	}
	seen, err := x.Lookup(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	c.Found = seen.Found
	must(a.root.DeleteRole(t.Context(), &iam.DeleteRoleInput{RoleName: p("agent")}))
	for _, made := range []bool{false, true} {
		if made {
			a.role("agent") // under the same name
		}
		if err := x.Revoke(t.Context(), c); err != nil {
			t.Error(err)
		}
		if p, err := x.Verify(t.Context(), c); err != nil || !p.Gone {
			t.Errorf("made anew %t: %+v, %v", made, p, err)
		}
	}
	if len(a.inline("role", "agent")) != 0 {
		t.Error("the new role was touched")
	}
}

func TestMotoWhatElseIsHitIsUnknownWithoutWhatEventsTell(t *testing.T) {
	a := newAccount(t)
	c, _ := a.session("one")
	a.history = History{}
	hits, err := a.open(Config{}).Collateral(t.Context(), c)
	if !errors.Is(err, ErrNoHistory) || hits != nil {
		t.Errorf("Collateral = %v, %v", hits, err)
	}
}
