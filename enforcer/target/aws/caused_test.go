package aws

import (
	"encoding/json"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

func TestOnlyActionsThatWereAllowedOnEverythingAndAreNoLongerAllowedAreCaused(t *testing.T) {
	target := &Target{cfg: Config{Instance: "default"}}
	since := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	was, err := json.Marshal(previous{Kind: "role", Name: "ingest"})
	if err != nil {
		t.Fatal(err)
	}
	done := &pb.Reissue{Previous: string(was), PolicyText: `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::data/*"}]}`,
		Former: former(reads(t, `{"Version": "2012-10-17", "Statement": [
			{"Effect": "Allow", "Action": ["s3:*", "sqs:Send*"], "Resource": "*"},
			{"Effect": "Allow", "Action": "dynamodb:GetItem", "Resource": "arn:aws:dynamodb:*:*:table/a"},
			{"Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*", "Condition": {"Bool": {"aws:SecureTransport": "true"}}},
			{"Effect": "Deny", "Action": "s3:Delete*", "Resource": "arn:aws:s3:::keep/*"},
			{"Effect": "Deny", "NotAction": ["s3:*", "sqs:*", "dynamodb:*", "kms:*"], "Resource": "*"}]}`))}
	session := func(change func(s *pb.Subject)) *pb.Decision {
		d := &pb.Decision{Subject: &pb.Subject{Type: "session", Principal: System + "/default/principal/arn:aws:iam::111122223333:role/agents/ingest",
			IssuedAt: timestamppb.New(since.Add(time.Minute))}}
		if change != nil {
			change(d.Subject)
		}
		return d
	}
	for action, want := range map[string]bool{
		"s3:PutObject":     true,
		"sqs:SendMessage":  true,
		"S3:putobject":     true,
		"s3:GetObject":     false, // allowed now, on some
		"s3:DeleteObject":  false, // was denied on some
		"dynamodb:GetItem": false, // was allowed on some: on which it was refused is not known
		"kms:Decrypt":      false, // under a condition
		"sqs:Purge":        false,
		"iam:CreateUser":   false,
		"s3:*":             false,
		"PutObject":        false,
	} {
		if got := target.Caused(done, since, session(nil), action); got != want {
			t.Errorf("%s: %t", action, got)
		}
	}
	for name, change := range map[string]func(s *pb.Subject){
		"another role":             func(s *pb.Subject) { s.Principal += "2" },
		"a session from before":    func(s *pb.Subject) { s.IssuedAt = timestamppb.New(since.Add(-time.Minute)) },
		"a session of unknown age": func(s *pb.Subject) { s.IssuedAt = nil },
	} {
		if target.Caused(done, since, session(change), "s3:PutObject") {
			t.Errorf("counts for %s", name)
		}
	}
	if len(former(reads(t, `{"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::a"}]}`))) != 0 {
		t.Error("keeps what tells nothing")
	}
}
