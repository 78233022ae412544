package awstrail

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

type (
	object = map[string]any
	// record is one CloudTrail record, as the user guide's "CloudTrail record contents" has it.
	record = map[string]any
)

// record completes a record and keeps it for the next delivery.
func (s *Site) record(r record, at time.Time, requestID string, data bool) {
	r["eventVersion"], r["eventTime"], r["awsRegion"] = "1.11", at.Truncate(time.Second).Format(time.RFC3339), Region
	r["sourceIPAddress"], r["userAgent"] = "127.0.0.1", "leastwise-demo-agent"
	r["requestID"], r["eventID"] = requestID, newUUID()
	r["eventType"], r["managementEvent"], r["recipientAccountId"] = "AwsApiCall", !data, Account
	r["readOnly"] = r["eventName"] != "PutObject"
	r["eventCategory"] = "Management"
	if data {
		r["eventCategory"] = "Data"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = append(s.pending, r)
}

// Deliver writes what was recorded as one log file into the trail's bucket; nothing if there is nothing. After an error
// the records are kept for the next delivery.
func (s *Site) Deliver(ctx context.Context) error {
	s.mu.Lock()
	records := s.pending
	s.pending = nil
	s.files++
	n := s.files
	s.mu.Unlock()
	if len(records) == 0 {
		return nil
	}
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	err := errors.Join(json.NewEncoder(zip).Encode(map[string]any{"Records": records}), zip.Close())
	if err == nil {
		now := time.Now().UTC()
		key := fmt.Sprintf("/%s/AWSLogs/%s/CloudTrail/%s/%s/%s_CloudTrail_%s_%s_%04d.json.gz", TrailBucket, Account, Region, now.Format("2006/01/02"),
			Account, Region, now.Format("20060102T1504Z"), n)
		_, err = s.put(ctx, operator, key, packed.Bytes())
	}
	if err != nil {
		s.mu.Lock()
		s.pending = append(records, s.pending...)
		s.mu.Unlock()
		return fmt.Errorf("deliver the trail: %w", err)
	}
	return nil
}

func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
