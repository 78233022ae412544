package awstrail

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/simulator/motoserver"
)

// trail reads the log files that the queue announces.
func trail(t *testing.T, s *Site) []record {
	t.Helper()
	received, err := s.aws.query(t.Context(), operator, "sqs", sqsVersion, "ReceiveMessage", "QueueUrl", s.QueueURL, "MaxNumberOfMessages", "10")
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Bodies []string `xml:"ReceiveMessageResult>Message>Body"`
	}
	if err := received.read(&answer); err != nil {
		t.Fatal(err)
	}
	var records []record
	for _, body := range answer.Bodies {
		var note struct {
			Records []struct {
				S3 struct{ Object struct{ Key string } }
			}
		}
		if err := json.Unmarshal([]byte(body), &note); err != nil {
			t.Fatal(err)
		}
		for _, n := range note.Records {
			file, err := s.aws.do(t.Context(), http.MethodGet, "/"+TrailBucket+"/"+n.S3.Object.Key, operator, "s3", "", nil)
			if err != nil {
				t.Fatal(err)
			}
			unzip, err := gzip.NewReader(bytes.NewReader(file.body))
			if err != nil {
				t.Fatal(err)
			}
			var log struct{ Records []record }
			if err := json.NewDecoder(unzip).Decode(&log); err != nil {
				t.Fatal(err)
			}
			records = append(records, log.Records...)
		}
	}
	return records
}

func TestMotoTrailTellsOfEachCallWithTheIDsThatMotoGave(t *testing.T) {
	moto, err := motoserver.Start(t.Context(), t.TempDir())
	if errors.Is(err, motoserver.ErrNotFound) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(moto.Stop)
	s, err := Setup(t.Context(), moto.Endpoint, "steady", "https://tokens.example.org", "steady")
	if err != nil {
		t.Fatal(err)
	}
	if want := "arn:aws:iam::" + Account + ":role/steady"; s.RoleARN != want || !strings.HasSuffix(s.ProviderARN, ":oidc-provider/tokens.example.org") {
		t.Fatalf("role %s, provider %s", s.RoleARN, s.ProviderARN)
	}
	session, err := s.Assume(t.Context(), "secret.web.token", "steady")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := session.WhoAmI(t.Context()); err != nil {
		t.Fatal(err)
	}
	if call, err := session.Report(t.Context(), "daily/1", []byte("report")); err != nil || call.Failure != "" {
		t.Fatalf("%+v, %v", call, err)
	}
	if call, err := session.Report(t.Context(), "daily/none", nil); err != nil || call.Failure != "NoSuchKey" {
		t.Fatalf("a report that is not there: %+v, %v", call, err)
	}
	for range 2 { // the second has nothing to deliver
		if err := s.Deliver(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	records := trail(t, s)
	if len(records) != 4 {
		t.Fatalf("%d records, want one a call: %v", len(records), records)
	}
	given := records[0]["responseElements"].(object)["credentials"].(object)
	if records[0]["eventName"] != "AssumeRoleWithWebIdentity" || given["accessKeyId"] != session.KeyID || !strings.HasPrefix(session.KeyID, "ASIA") {
		t.Errorf("issuance %v of %s", records[0], session.KeyID)
	}
	ids := map[any]bool{}
	for i, r := range records {
		caller := r["userIdentity"].(object)
		if i > 0 && (caller["accessKeyId"] != session.KeyID || caller["arn"] != "arn:aws:sts::"+Account+":assumed-role/steady/steady-agent") {
			t.Errorf("%v was called by %v", r["eventName"], caller)
		}
		if r["requestID"] == "" || ids[r["eventID"]] {
			t.Errorf("ids of %v: %v, %v", r["eventName"], r["requestID"], r["eventID"])
		}
		ids[r["eventID"]] = true
	}
	if records[3]["errorCode"] != "NoSuchKey" || records[2]["eventCategory"] != "Data" || records[1]["eventCategory"] != "Management" {
		t.Errorf("%v", records[1:])
	}
	text, err := json.Marshal(records)
	if err != nil || strings.Contains(string(text), "secret.web.token") || strings.Contains(string(text), "sessionToken") {
		t.Errorf("a secret is in the trail: %v", err)
	}
}

func TestMotoRecordsAreKeptWhileTheBucketIsAway(t *testing.T) {
	moto, err := motoserver.Start(t.Context(), t.TempDir())
	if errors.Is(err, motoserver.ErrNotFound) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(moto.Stop)
	s, err := Setup(t.Context(), moto.Endpoint, "steady", "https://tokens.example.org", "steady")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Assume(t.Context(), "token", "steady"); err != nil {
		t.Fatal(err)
	}
	s.aws.endpoint = "http://127.0.0.1:1"
	if err := s.Deliver(t.Context()); err == nil {
		t.Fatal("delivered to nobody")
	}
	s.aws.endpoint = moto.Endpoint
	if err := s.Deliver(t.Context()); err != nil {
		t.Fatal(err)
	}
	if records := trail(t, s); len(records) != 1 {
		t.Errorf("%d records", len(records))
	}
}
