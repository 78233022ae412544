package awsiam

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

func details(t testing.TB) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/details.json")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func read(t testing.TB, text []byte) map[string]*leastwisev1.Grant {
	t.Helper()
	grants, err := Read(bytes.NewReader(text), "", time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	byID := map[string]*leastwisev1.Grant{}
	for _, grant := range grants {
		byID[strings.TrimPrefix(grant.Id, "cloudtrail/default/")] = grant
	}
	return byID
}

// say writes a grant in one line.
func say(grant *leastwisev1.Grant) string {
	if grant == nil {
		return "none"
	}
	var out []string
	for _, r := range grant.Rules {
		out = append(out, fmt.Sprintf("deny=%v if=%v %v not%v on %v not%v", r.Deny, r.Conditional, r.Actions, r.NotActions, r.Resources, r.NotResources))
	}
	for _, a := range grant.Attached {
		out = append(out, a.Grant)
	}
	for _, b := range grant.Boundary {
		out = append(out, "within "+b)
	}
	if grant.Incomplete != "" {
		out = append(out, "! "+grant.Incomplete)
	}
	return strings.ReplaceAll(strings.Join(out, "; "), "cloudtrail/default/", "")
}

func TestASnapshotGivesPoliciesAndPrincipals(t *testing.T) {
	got := read(t, details(t))
	for id, want := range map[string]string{
		"policy/arn:aws:iam::111122223333:policy/ingest": "deny=false if=true [s3:PutObject s3:Get*] not[] on [arn:aws:s3:::landing/*] not[]; " +
			"deny=true if=false [] not[s3:*] on [] not[arn:aws:s3:::landing/*]",
		"policy/arn:aws:iam::111122223333:policy/bound":                "deny=false if=false [s3:* sqs:*] not[] on [*] not[]",
		"policy/arn:aws:iam::aws:policy/ReadOnly":                      "! the snapshot lacks its default version",
		"policy/arn:aws:iam::111122223333:user/alice#own":              "deny=false if=false [sqs:SendMessage] not[] on [arn:aws:sqs:eu-central-1:111122223333:jobs] not[]",
		"policy/arn:aws:iam::111122223333:group/teams/readers#buckets": "deny=false if=false [s3:ListBucket] not[] on [*] not[]",
		"policy/arn:aws:iam::111122223333:role/agents/loader#broken":   `! statement 1: Effect must be "Allow" or "Deny"`,
		"trust/arn:aws:iam::111122223333:role/agents/loader":           "deny=false if=false [sts:AssumeRole] not[] on [Service:ec2.amazonaws.com] not[]",
		"principal/arn:aws:iam::111122223333:role/agents/loader":       "policy/arn:aws:iam::111122223333:policy/ingest; policy/arn:aws:iam::111122223333:role/agents/loader#broken",
		"principal/arn:aws:iam::111122223333:user/stray":               "! the snapshot lacks 1 of its groups, such as nowhere",
		"principal/arn:aws:iam::111122223333:user/alice": "policy/arn:aws:iam::111122223333:group/teams/readers#buckets; policy/arn:aws:iam::111122223333:policy/ingest; " +
			"policy/arn:aws:iam::111122223333:user/alice#own; policy/arn:aws:iam::aws:policy/ReadOnly; within policy/arn:aws:iam::111122223333:policy/bound",
	} {
		if got := say(got[id]); got != want {
			t.Errorf("%s:\n got %s\nwant %s", id, got, want)
		}
	}
	if len(got) != 10 {
		t.Errorf("%d grants, want 10", len(got))
	}
}

// pages splits the snapshot: one list a page, in the given order, all but the last truncated.
func pages(t *testing.T, order ...string) []byte {
	var whole map[string]json.RawMessage
	if err := json.Unmarshal(details(t), &whole); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for i, list := range order {
		last := i == len(order)-1
		page := map[string]any{list: whole[list], "IsTruncated": !last}
		if !last {
			page["Marker"] = "m"
		}
		text, err := json.Marshal(page)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(text)
		out.WriteString("\n")
	}
	return out.Bytes()
}

func TestPagesInAnyOrderGiveTheSameGrants(t *testing.T) {
	want := read(t, details(t))
	for _, order := range [][]string{
		{"UserDetailList", "GroupDetailList", "RoleDetailList", "Policies"}, {"Policies", "RoleDetailList", "GroupDetailList", "UserDetailList"},
	} {
		got := read(t, pages(t, order...))
		for id := range want {
			if say(got[id]) != say(want[id]) {
				t.Errorf("%v: %s: %s, want %s", order, id, say(got[id]), say(want[id]))
			}
		}
	}
}

func TestPoliciesComeBeforeThePrincipalsThatHaveThem(t *testing.T) {
	grants, err := Read(bytes.NewReader(details(t)), "prod", time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	first := slices.IndexFunc(grants, func(g *leastwisev1.Grant) bool { return strings.HasPrefix(g.Id, "cloudtrail/prod/principal/") })
	if first < 0 || slices.ContainsFunc(grants[first:], func(g *leastwisev1.Grant) bool {
		return strings.Contains(g.Id, "/policy/arn:aws:iam::111122223333:policy")
	}) {
		t.Fatalf("%v", grants)
	}
}

func TestBrokenSnapshotsAreRefusedAndNotQuoted(t *testing.T) {
	whole := string(details(t))
	for name, text := range map[string]string{
		"empty":              "",
		"no snapshot":        `{"secret-canary": 1}`,
		"a list":             `[]`,
		"cut":                whole[:len(whole)/2],
		"cut between pages":  `{"UserDetailList": [], "IsTruncated": true, "Marker": "secret-canary"}`,
		"cut by --max-items": `{"UserDetailList": [], "NextToken": "secret-canary"}`,
		"another kind":       `{"UserDetailList": {"secret-canary": 1}}`,
		"a number":           `{"UserDetailList": [{"Arn": 12345678901}]}`,
		"no arn":             `{"RoleDetailList": [{"RoleName": "secret-canary"}]}`,
		"not JSON after":     `{"UserDetailList": []} secret-canary`,
		"NUL":                "\x00",
		"deep":               `{"UserDetailList": ` + strings.Repeat("[", 20_000),
	} {
		grants, err := Read(strings.NewReader(text), "", time.Time{})
		if err == nil || grants != nil {
			t.Errorf("%s: taken", name)
			continue
		}
		if strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "12345678901") {
			t.Errorf("%s: the error quotes the file: %v", name, err)
		}
	}
}

func TestRecognise(t *testing.T) {
	for text, want := range map[string]bool{
		string(details(t)): true, "\ufeff\n{\"RoleDetailList\": []}": true, `{"Records": []}`: false, `["UserDetailList"]`: false, "": false,
	} {
		if got := Recognise([]byte(text)); got != want {
			t.Errorf("Recognise(%.30q) = %v", text, got)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(details(f))
	f.Add([]byte(`{"Policies":[{"Arn":"a","PolicyVersionList":[{"IsDefaultVersion":true,"Document":"%7B"}]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		grants, err := Read(bytes.NewReader(text), "", time.Unix(1, 0))
		if err != nil {
			return
		}
		again, err := Read(bytes.NewReader(text), "", time.Unix(1, 0))
		if err != nil || len(again) != len(grants) {
			t.Fatal("read twice, not the same")
		}
		for i, grant := range grants {
			if say(grant) != say(again[i]) {
				t.Fatalf("%v, then %v", grant, again[i])
			}
		}
	})
}
