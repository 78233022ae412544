package cloudtrail

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// assumed is a record of AssumeRole as CloudTrail writes it, with a policy in the request or with what stands for it.
func assumed(id, policy, arns string) string {
	asked := `"roleArn":"arn:aws:iam::111122223333:role/agent","roleSessionName":"tenant-7","durationSeconds":900`
	if policy != "" {
		asked += `,"policy":` + policy
	}
	if arns != "" {
		asked += `,"policyArns":[{"arn":"` + arns + `"}]`
	}
	return fmt.Sprintf(`{"eventVersion":"1.08","userIdentity":{"type":"AssumedRole","principalId":"AROAEXAMPLE:broker","arn":"arn:aws:sts::111122223333:assumed-role/broker/broker","accountId":"111122223333","accessKeyId":"ASIABROKER0000000001"},
		"eventTime":"2026-10-02T09:00:00Z","eventSource":"sts.amazonaws.com","eventName":"AssumeRole","awsRegion":"eu-central-1","eventID":"%s","eventType":"AwsApiCall",
		"requestParameters":{%s},
		"responseElements":{"credentials":{"accessKeyId":"ASIASESSION%s","sessionToken":"canary-session-token","expiration":"Oct 2, 2026, 9:15:00 AM"},
			"assumedRoleUser":{"assumedRoleId":"AROAEXAMPLE:tenant-7","arn":"arn:aws:sts::111122223333:assumed-role/agent/tenant-7"},"packedPolicySize":12}}`, id, asked, id)
}

const tenantPolicy = `{"Version":"2012-10-17","Statement":[
	{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::data/tenant-7/*"},
	{"Effect":"Allow","Action":"sqs:SendMessage","Resource":"*","Condition":{"StringEquals":{"aws:SourceVpc":"vpc-1"}}},
	{"Effect":"Deny","Action":"s3:PutObject","Resource":"arn:aws:s3:::data/tenant-7/locked/*"}]}`

func TestAPolicyWrittenInTheRequestBecomesAGrantThatTheSessionNames(t *testing.T) {
	var told []*leastwisev1.Grant
	d := NewDecoder(Options{Instance: "prod", Facts: func(f *leastwisev1.Fact) { told = append(told, f.GetGrant()) }})
	issued := func(text string) *leastwisev1.Event {
		t.Helper()
		events, err := d.Decode(nil, source.Record{Bytes: []byte(text), Position: "a:1", ObservedAt: time.Date(2026, 10, 2, 9, 1, 0, 0, time.UTC)})
		if err != nil {
			t.Fatal(err)
		}
		for _, ev := range events {
			if ev.Kind == leastwisev1.Event_ISSUED {
				return ev
			}
		}
		t.Fatal("no issuance")
		return nil
	}
	const managed = "arn:aws:iam::aws:policy/ReadOnlyAccess"
	quoted := strconv.Quote(tenantPolicy)
	first := issued(assumed("1", quoted, ""))
	if len(first.Policies) != 1 || !strings.HasPrefix(first.Policies[0], sessionPolicyName) || first.Labels["session_policy"] != "true" {
		t.Fatalf("%v", first)
	}
	if len(told) != 1 || told[0].Id != "cloudtrail/prod/policy/"+first.Policies[0] || len(told[0].Rules) != 3 || told[0].AsOf == nil || told[0].Incomplete != "" {
		t.Fatalf("%v", told)
	}
	if rules := told[0].Rules; rules[0].Conditional || !rules[1].Conditional || !rules[2].Deny || rules[0].Resources[0] != "arn:aws:s3:::data/tenant-7/*" {
		t.Errorf("%v", rules)
	}
	both := issued(assumed("2", quoted, managed))
	if !slices.Equal(both.Policies, []string{managed, first.Policies[0]}) || len(told) != 1 {
		t.Errorf("with a managed one, told %d times: %v", len(told), both.Policies)
	}
	// What can not be read is said to be there, and nothing is made of it.
	for name, policy := range map[string]string{"cut off": strconv.Quote(tenantPolicy[:100]), "hidden": `"HIDDEN_DUE_TO_SECURITY_REASONS"`,
		"no policy": `"{}"`, "misspelt": strconv.Quote(strings.Replace(tenantPolicy, `"Condition"`, `"Conditions"`, 1))} {
		ev := issued(assumed("3", policy, managed))
		if ev.Labels["session_policy"] != "inline" || !slices.Equal(ev.Policies, []string{managed}) || len(told) != 1 {
			t.Errorf("%s: %v, %d grants", name, ev, len(told))
		}
	}
	if ev := issued(assumed("4", "", "")); len(ev.Policies) != 0 || ev.Labels["session_policy"] != "" {
		t.Errorf("a session of its own accord: %v", ev)
	}
	for i := range maxSessionPolicies + 10 {
		text := assumed("5", strconv.Quote(strings.ReplaceAll(tenantPolicy, "tenant-7", "tenant-"+strconv.Itoa(i))), "")
		if ev := issued(text); len(ev.Policies) != 1 || ev.Labels["session_policy"] != "true" {
			t.Fatalf("session %d: %v", i, ev)
		}
	}
	if len(told) > maxSessionPolicies || len(d.sessions) > maxSessionPolicies {
		t.Errorf("%d grants are told", len(told))
	}
}
