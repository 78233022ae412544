package cloudtrail

import (
	"fmt"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/collectors/source"
)

// Callers are remembered by how their identities begin, and that must not mix them up.
func TestCallersThatLookAlikeAreTold(t *testing.T) {
	warm := NewDecoder(Options{})
	long := strings.Repeat("x", beginning)
	for range 3 {
		for _, end := range []string{`"accessKeyId":"ASIA1"`, `"accessKeyId":"ASIA2"`, `"accessKeyId":"ASIA1","sessionContext":{"sourceIdentity":"someone"}`,
			`"accessKeyId":"ASIA1" `, `"accessKeyId":"ASIA1","accessKeyId":"ASIA3"`} {
			for _, region := range []string{`,"awsRegion":"eu-central-1"`, `,"awsRegion":"us-east-1"`, ``} {
				rec := source.Record{Bytes: []byte(fmt.Sprintf(`{"eventTime":"2026-10-02T09:00:00Z","eventSource":"s3.amazonaws.com","eventName":"GetObject","eventID":"e",
					"userIdentity":{"type":"AssumedRole","arn":"%s",%s}%s,"errorCode":"AccessDenied"}`, long, end, region))}
				want, err := NewDecoder(Options{}).Decode(nil, rec)
				if err != nil {
					t.Fatal(err)
				}
				got, err := warm.Decode(nil, rec)
				if err != nil || len(got) != 1 || got[0].String() != want[0].String() {
					t.Errorf("%s%s:\n%v, %v\n%v", end, region, got, err, want)
				}
			}
		}
	}
	if len(warm.likely.young) != 1 || len(warm.callers.young) != 15 {
		t.Errorf("%d and %d callers are remembered", len(warm.likely.young), len(warm.callers.young))
	}
}
