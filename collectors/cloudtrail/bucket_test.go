package cloudtrail

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/leastwise/leastwise/collectors/sourcetest"
)

func TestMotoBucketIsListedAndRemembered(t *testing.T) {
	s := startMoto(t)
	s.put(key("eu-central-1", "2026/10/01", "a"), trail("a"), nil)
	s.put(key("eu-central-1", "2026/10/02", "b"), trail("b"), nil)
	s.put(key("us-east-1", "2025/12/31", "c"), trail("c"), nil)
	s.put("AWSLogs/111122223333/Config/eu-central-1/2026/10/1/x.json.gz", trail("not-cloudtrail"), nil)
	s.put("AWSLogs/111122223333/CloudTrail-Digest/eu-central-1/2026/10/02/x.json.gz", trail("digest"), nil)
	for i := range 1100 { // more than one page
		if i%100 == 0 {
			s.put(key("us-east-1", "2026/01/01", fmt.Sprintf("p%04d", i)), trail(fmt.Sprint("p", i)), nil)
		}
	}
	cfg := Config{Bucket: &BucketConfig{Name: testBucket, Prefix: "AWSLogs/"}, Poll: 500 * time.Millisecond}
	dir := t.TempDir()
	broker := &sourcetest.Broker{}
	broker.Fail(2)
	stop := s.start(broker, dir, cfg)
	soon(t, "the bucket is read", hasAll(broker, "a", "b", "c", "p0", "p1000"))
	s.put(key("eu-central-1", "2026/09/30", "late"), trail("late"), nil)
	s.put(key("ap-south-1", "2026/10/02", "new-region"), trail("new-region"), nil)
	soon(t, "late files and new regions are read", hasAll(broker, "late", "new-region"))
	s.put(key("eu-central-1", "2026/10/03", "cut"), trail("cut-1", "cut-2")[:60], nil)
	soon(t, "a damaged file becomes a dead letter", func() bool { return len(broker.DeadLetters()) == 1 })
	stop()
	if got := recordIDs(broker); got["digest"]+got["not-cloudtrail"] != 0 {
		t.Errorf("read besides: %v", got)
	}
	again := &sourcetest.Broker{}
	s.put(key("eu-central-1", "2026/10/03", "later"), trail("later"), nil)
	s.start(again, dir, cfg)
	soon(t, "reading goes on", hasAll(again, "later"))
	if got := recordIDs(again); len(got) != 1 {
		t.Errorf("read again after a restart: %v", got)
	}
}

func TestMotoMissingPermissionIsNamed(t *testing.T) {
	s := startMoto(t)
	_, err := s.s3.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("nobody's")})
	if err == nil {
		t.Fatal("moto lists a bucket that is not there")
	}
	if text := refused("list", err, "s3:ListBucket").Error(); !strings.Contains(text, "NoSuchBucket") {
		t.Error(text)
	}
	denied := &apiError{"AccessDenied"}
	if text := refused("list", denied, "s3:ListBucket").Error(); !strings.Contains(text, "grant the collector s3:ListBucket") || strings.Contains(text, canary) {
		t.Error(text)
	}
}
