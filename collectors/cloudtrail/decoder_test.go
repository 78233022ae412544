package cloudtrail

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

const head = `{"eventTime":"2026-10-02T09:00:00Z","eventSource":"s3.amazonaws.com","eventName":"GetObject","eventID":"e1","eventType":"AwsApiCall"`

func decode(t testing.TB, text string) ([]*leastwisev1.Event, error) {
	t.Helper()
	return NewDecoder(Options{}).Decode(nil, source.Record{Bytes: []byte(text), Position: "a:1", ObservedAt: time.Date(2026, 10, 2, 9, 1, 0, 0, time.UTC)})
}

// one decodes a record and gives its event of an index, with or without a caller's key.
func one(t testing.TB, text string, index uint32) *leastwisev1.Event {
	t.Helper()
	events, err := decode(t, text)
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	for _, ev := range events {
		if ev.Index%indexUnnamed == index {
			return ev
		}
	}
	return nil
}

func TestWhatCanNotBeReadIsRefusedWithItsReason(t *testing.T) {
	for name, c := range map[string]struct{ text, reason, detail string }{
		"no JSON":           {"not json " + canary, "malformed", "not JSON"},
		"cut off":           {head + `,"x":"` + canary, "truncated", "cut"},
		"broken inside":     {head + ` "` + canary + `"}`, "malformed", "not JSON"},
		"empty":             {"  ", "malformed", "empty"},
		"no object":         {`["` + canary + `"]`, "malformed", "object"},
		"another thing":     {`{"a":"` + canary + `"}`, "malformed", "eventName"},
		"no name":           {`{"eventTime":"2026-10-02T09:00:00Z","eventSource":"s3.amazonaws.com","eventType":"AwsApiCall"}`, "malformed", "eventName"},
		"no time":           {`{"eventSource":"s3.amazonaws.com","eventName":"x","eventID":"1"}`, "malformed", "eventTime"},
		"time no time":      {`{"eventTime":"` + canary + `","eventSource":"s3.amazonaws.com","eventName":"x"}`, "malformed", "eventTime"},
		"a row of text":     {head + `,"userIdentity":"{type=IAMUser}"}`, "malformed", "eventJson"},
		"NUL":               {head + "\x00}", "encoding", "NUL"},
		"no UTF-8":          {head + `,"x":"` + "\xff" + `"}`, "encoding", "UTF-8"},
		"nested too deep":   {head + `,"x":` + strings.Repeat("[", 400) + strings.Repeat("]", 400) + "}", "too_deep", "300"},
		"too long":          {head + `,"x":"` + strings.Repeat("x", 9<<20) + `"}`, "too_long", "limit"},
		"bad inside":        {`{"eventJson":"{\"eventName\":` + canary + `"}`, "truncated", "cut"},
		"envelope in depth": {`{"detail":{"detail":` + head + `}}}`, "malformed", "envelope"},
	} {
		events, err := decode(t, c.text)
		var bad *source.Malformed
		if len(events) != 0 || !errors.As(err, &bad) {
			t.Errorf("%s: %d events, error %v", name, len(events), err)
			continue
		}
		if bad.Reason != c.reason || !strings.Contains(bad.Detail, c.detail) {
			t.Errorf("%s: %s: %s, want %s: …%s…", name, bad.Reason, bad.Detail, c.reason, c.detail)
		}
		if strings.Contains(err.Error()+source.DeadLetter(System, "default", source.Record{Bytes: []byte(c.text)}, bad).String(), canary) {
			t.Errorf("%s: text of the record in %v", name, err)
		}
	}
}

func TestStrangeValuesAreNoFailure(t *testing.T) {
	for _, more := range []string{
		`"userIdentity":null`, `"userIdentity":{}`, `"userIdentity":{"type":"FromTheFuture","accessKeyId":"AKIAX"}`,
		`"userIdentity":{"type":"AssumedRole","arn":"nonsense","accessKeyId":"AKIAUNDERROLE"}`, `"userIdentity":{"accessKeyId":7}`,
		`"userIdentity":{"type":"Root"}`, `"userIdentity":[1]`, `"requestParameters":"text"`, `"requestParameters":[{}]`,
		`"responseElements":"text"`, `"responseElements":{"credentials":"x"}`, `"responseElements":{"credentials":{"accessKeyId":"ASIAX","expiration":"never"}}`,
		`"resources":{"ARN":"x"}`, `"resources":[1,{"ARN":2}]`, `"errorCode":7`, `"sourceIPAddress":"\u0000\ud800"`,
		`"userIdentity":{"type":"IAMUser","arn":"` + strings.Repeat("a", 5000) + `","accessKeyId":"` + strings.Repeat("K", 5000) + `"}`,
	} {
		events, err := decode(t, head+","+more+"}")
		if err != nil || len(events) == 0 {
			t.Errorf("%.80s: %d events, %v", more, len(events), err)
			continue
		}
		check(t, []byte(more), events)
	}
}

func TestCallIsUsedDeniedOrNoted(t *testing.T) {
	for _, c := range []struct{ more, kind, outcome, category string }{
		{``, "USED", "SUCCESS", ""},
		{`,"errorCode":"AccessDenied"`, "DENIED", "FAILURE", "access denied"},
		{`,"errorCode":"AccessDeniedException"`, "DENIED", "FAILURE", "access denied"},
		{`,"errorCode":"UnauthorizedOperation"`, "DENIED", "FAILURE", "access denied"},
		{`,"errorCode":"Client.UnauthorizedOperation"`, "DENIED", "FAILURE", "access denied"},
		{`,"errorCode":"KMS.AccessDeniedException"`, "DENIED", "FAILURE", "access denied"},
		{`,"responseElements":{"errorCode":"AccessDenied"}`, "DENIED", "FAILURE", "access denied"},
		{`,"responseElements":{"Error":{"Code":"AccessDenied"}}`, "DENIED", "FAILURE", "access denied"},
		{`,"errorMessage":"User: x is not authorized to perform: y"`, "DENIED", "FAILURE", "access denied"},
		{`,"errorCode":"ThrottlingException"`, "NOTED", "FAILURE", "throttled"},
		{`,"errorCode":"SlowDown"`, "NOTED", "FAILURE", "throttled"},
		{`,"errorCode":"Client.RequestLimitExceeded"`, "NOTED", "FAILURE", "throttled"},
		{`,"errorCode":"ExpiredToken"`, "NOTED", "FAILURE", "authentication failed"},
		{`,"errorCode":"NoSuchKey"`, "USED", "FAILURE", "not found"},
		{`,"errorCode":"ValidationError"`, "USED", "FAILURE", "invalid request"},
		{`,"errorCode":"Client.DryRunOperation"`, "USED", "SUCCESS", "dry run"},
		{`,"errorCode":"SomethingNew"`, "USED", "FAILURE", "failed"},
		{`,"responseElements":{"_return":false}`, "USED", "FAILURE", "failed"},
		{`,"responseElements":{"_return":true}`, "USED", "SUCCESS", ""},
	} {
		ev := one(t, head+c.more+`,"userIdentity":{"type":"IAMUser","accessKeyId":"AKIA1"}}`, indexCall)
		if ev.Kind.String() != c.kind || ev.Outcome.String() != "OUTCOME_"+c.outcome || ev.Error != c.category || ev.Credential != "cloudtrail/default/access_key/AKIA1" {
			t.Errorf("%s: %v %v %q %s", c.more, ev.Kind, ev.Outcome, ev.Error, ev.Credential)
		}
	}
}

func TestPermissionIsTheActionOfIAM(t *testing.T) {
	for from, want := range map[string]string{
		"s3 PutObject": "s3:PutObject", "s3 HeadObject": "s3:GetObject", "s3 ListObjectsV2": "s3:ListBucket",
		"lambda GetFunction20150331v2": "lambda:GetFunction", "lambda ListFunctions20150331": "lambda:ListFunctions", "lambda Invoke": "lambda:InvokeFunction",
		"cloudfront CreateDistribution2020_05_31": "cloudfront:CreateDistribution", "monitoring DescribeAlarms": "cloudwatch:DescribeAlarms",
		"ec2 DescribeInstances": "ec2:DescribeInstances", "lambda 20150331": "lambda:20150331", "lambda Get2x": "lambda:Get2x",
		"route53 CreateHostedZone": "route53:CreateHostedZone",
	} {
		service, event, _ := strings.Cut(from, " ")
		if got := permission(service, event); got != want {
			t.Errorf("%s: %s, want %s", from, got, want)
		}
	}
}

func TestTimesInEveryForm(t *testing.T) {
	want := time.Date(2019, 10, 2, 23, 12, 29, 0, time.UTC)
	for _, text := range []string{"2019-10-02T23:12:29Z", "20191002T231229Z", "Oct 2, 2019 11:12:29 PM", "Oct 2, 2019, 11:12:29 PM",
		"Oct 2, 2019, 11:12:29\u202fPM", "2019-10-02 23:12:29.000", "2019-10-03T01:12:29+02:00", "2019-10-02T23:12:29.000Z"} {
		if at, ok := parseTime([]byte(text)); !ok || !at.Equal(want) {
			t.Errorf("%q: %v, %v", text, at, ok)
		}
	}
	for _, text := range []string{"", "never", "0001-01-01T00:00:00Z", "2019-13-02T23:12:29Z", strings.Repeat("2", 1000)} {
		if at, ok := parseTime([]byte(text)); ok {
			t.Errorf("%q is %v", text, at)
		}
	}
	if at, ok := parseTime([]byte("2024-02-29T00:00:00Z")); !ok || at.Day() != 29 {
		t.Errorf("the end of a month: %v", at)
	}
}

func TestAddressesLoseLeadingZeros(t *testing.T) {
	for from, want := range map[string]string{"010.001.0.020": "10.1.0.20", "10.0.0.1": "10.0.0.1", "0.0.0.0": "0.0.0.0", "s3.amazonaws.com": "s3.amazonaws.com",
		"AWS Internal": "AWS Internal", "2001:db8::1": "2001:db8::1", "": ""} {
		if got := address([]byte(from)); got != want {
			t.Errorf("%s: %s, want %s", from, got, want)
		}
	}
}

func TestEventIsFoundInItsEnvelope(t *testing.T) {
	want := one(t, call("e9"), indexCall)
	for name, text := range map[string]string{
		"EventBridge":       `{"version":"0","id":"x","detail-type":"AWS API Call via CloudTrail","detail":` + call("e9") + `}`,
		"CloudTrail Lake":   `{"eventJson":` + quoted(call("e9")) + `}`,
		"lookup-events":     `{"EventId":"e9","EventName":"GetObject","CloudTrailEvent":` + quoted(call("e9")) + `}`,
		"CloudWatch Logs":   `{"id":"1","timestamp":1,"message":` + quoted(call("e9")) + `}`,
		"columns as fields": strings.Replace(call("e9"), "2026-10-02T09:00:00Z", "2026-10-02 09:00:00.000", 1),
	} {
		if !Recognise([]byte(text)) {
			t.Errorf("%s: not recognised", name)
		}
		if got := one(t, text, indexCall); got.String() != want.String() {
			t.Errorf("%s: %v", name, got)
		}
	}
	file := `{"Events":[{"CloudTrailEvent":` + quoted(call("e9")) + `}],"NextToken":"x"}`
	if line, err := Records(strings.NewReader(file), 0).Next(); err != nil || !Recognise(line.Bytes) {
		t.Errorf("lookup-events: %v, %s", err, line.Bytes)
	}
}

// Copies of one event that the trails of two accounts receive are one, whichever comes first; the one that does not name
// the caller's key takes nothing from the other.
func TestCopiesAreOneEvent(t *testing.T) {
	full := `{"eventTime":"2026-10-02T09:00:00Z","eventSource":"sts.amazonaws.com","eventName":"AssumeRole","eventID":"e1","sharedEventID":"s1","recipientAccountId":"1","userIdentity":{"type":"IAMUser","accessKeyId":"AKIA1","accountId":"1"},"requestParameters":{"roleArn":"arn:aws:iam::2:role/r"},"responseElements":{"credentials":{"accessKeyId":"ASIA2"}}}`
	same := strings.Replace(strings.Replace(full, `"e1"`, `"e2"`, 1), `"recipientAccountId":"1"`, `"recipientAccountId":"2"`, 1)
	bare := strings.Replace(same, `{"type":"IAMUser","accessKeyId":"AKIA1","accountId":"1"}`, `{"type":"AWSAccount","principalId":"AIDA","accountId":"1"}`, 1)
	first, _ := decode(t, full)
	second, _ := decode(t, same)
	other, _ := decode(t, bare)
	for i := range first {
		if first[i].String() != second[i].String() {
			t.Errorf("%v\n%v", first[i], second[i])
		}
		if string(first[i].Id) == string(other[i].Id) {
			t.Errorf("a copy without the caller's key has the id of the one with it: %v", other[i])
		}
	}
	if issued := one(t, bare, indexIssued); issued.Parent != "" || issued.Orphan {
		t.Errorf("parent %q, orphan %v, want neither: the copy does not know", issued.Parent, issued.Orphan)
	}
}
