package cloudtrail

import (
	"strconv"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/collectors/sourcetest"
)

// Two are no texts of its own: the record, twice.
func TestAllTextsOfARecordAreToldToItsShape(t *testing.T) {
	var r record
	sourcetest.AllTextsTold(t, r, r.texts(), 2)
}

func TestALineOfAKnownShapeIsToldByWhatItHolds(t *testing.T) {
	const line = `{"eventTime":"2026-10-02T09:00:00Z","eventSource":"sts.amazonaws.com","eventName":"AssumeRole","eventID":"NUMBER","awsRegion":"REGION",` +
		`"userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::1:user/u","accessKeyId":"AKIA1"},` +
		`"requestParameters":{"roleArn":"ROLE","functionName":"f"},"responseElements":{"credentials":{"accessKeyId":"ASIANUMBER"}}}`
	d := NewDecoder(Options{})
	for i, c := range [][3]string{{"eu-west-1", "arn:aws:iam::1:role/a", "arn:aws:iam::1:role/a"}, {"eu-west-2", "arn:aws:iam::1:role/a", "arn:aws:iam::1:role/a"},
		{"eu-west-2", "arn:aws:iam::1:role/b", "arn:aws:iam::1:role/b"}, {"eu-west-2", "IQoJb3JpZ2luX2VjEAAA", "f"}, {"eu-west-1", "arn:aws:iam::1:role/a", "arn:aws:iam::1:role/a"}} {
		text := strings.NewReplacer("NUMBER", strconv.Itoa(i), "REGION", c[0], "ROLE", c[1]).Replace(line)
		events, err := d.Decode(nil, source.Record{Bytes: []byte(text)})
		if err != nil || len(events) != 2 {
			t.Fatalf("%s: %d events, %v", text, len(events), err)
		}
		if got := events[0].Resource; got != c[2] {
			t.Errorf("%v: resource %q", c, got)
		}
		if got := events[1].Labels; got["region"] != c[0] || c[1] == c[2] && got["session_issuer"] != c[1] {
			t.Errorf("%v: labels of the session %v", c, got)
		}
	}
}
