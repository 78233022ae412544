package amplify

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"testing"
)

type record struct {
	EventID      string
	EventTime    string
	UserIdentity struct{ AccessKeyID, ARN, AccountID string }
	Response     struct {
		Credentials struct{ AccessKeyID string }
	} `json:"responseElements"`
}

func read(t *testing.T, path string) (records []record) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unpacked, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(unpacked)
	if err != nil {
		t.Fatal(err)
	}
	var whole struct{ Records []record }
	if err := json.Unmarshal(content, &whole); err != nil {
		t.Fatal(err)
	}
	return whole.Records
}

func TestCopiesHaveIdsOfTheirOwnAndKeepTheirStory(t *testing.T) {
	truth, err := Write(Options{Dir: t.TempDir(), Seed: 7, Bytes: 6 << 20, FileCopies: 25})
	if err != nil {
		t.Fatal(err)
	}
	if len(truth.Files) < 2 {
		t.Fatalf("%d files", len(truth.Files))
	}
	ids, keys, chained := map[string]bool{}, map[string]bool{}, 0
	issued := map[string]bool{}
	records := 0
	for _, path := range truth.Files {
		for _, r := range read(t, path) {
			records++
			if ids[r.EventID] {
				t.Fatalf("event id %s twice", r.EventID)
			}
			ids[r.EventID] = true
			if key := r.UserIdentity.AccessKeyID; key != "" {
				keys[key] = true
			}
			if key := r.Response.Credentials.AccessKeyID; key != "" {
				keys[key], issued[key] = true, true
			}
		}
	}
	for _, path := range truth.Files {
		for _, r := range read(t, path) {
			if issued[r.UserIdentity.AccessKeyID] {
				chained++
			}
		}
	}
	if records != truth.Records || len(keys) != truth.Keys || chained == 0 {
		t.Errorf("%d records of %d keys, %d with an issued key; the truth says %+v", records, len(keys), chained, truth)
	}
	if ratio := float64(truth.Bytes) / float64(truth.Packed); ratio < 7 || ratio > 14 {
		t.Errorf("packed to one part in %.1f", ratio)
	}
}

func TestTheSameOptionsGiveTheSameFiles(t *testing.T) {
	var texts [2]string
	for i := range texts {
		truth, err := Write(Options{Dir: t.TempDir(), Seed: 3, Bytes: 1 << 20, FileCopies: 5})
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range truth.Files {
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			texts[i] += string(content)
		}
	}
	if texts[0] != texts[1] {
		t.Error("other bytes the second time")
	}
}
