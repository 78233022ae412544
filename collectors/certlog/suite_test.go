package certlog

import (
	"bytes"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/collectors/sourcetest"
)

const sample = "testdata/entries.jsonl"

// TestWriteSample makes the file that the contract suite reads, with new keys: LEASTWISE_SAMPLE=1 go test -run WriteSample.
// Afterwards the golden file has to be written anew, too.
func TestWriteSample(t *testing.T) {
	if os.Getenv("LEASTWISE_SAMPLE") == "" {
		t.Skip("writes a file of the source tree; set LEASTWISE_SAMPLE=1 for it")
	}
	ca, other := newAuthority(t, "Workload CA"), newAuthority(t, "Somebody's CA")
	svid := leafTemplate(0x1001, "spiffe://example.org/agent/billing")
	signing := leafTemplate(0x1004, "spiffe://example.org")
	signing.IsCA, signing.BasicConstraintsValid, signing.KeyUsage = true, true, x509.KeyUsageCertSign
	for i, e := range []*logged{
		ca.precertificate(svid, testBegin), ca.certificate(svid, testBegin.Add(time.Minute)),
		other.certificate(leafTemplate(0x1002, "spiffe://example.org/agent/billing"), testBegin.Add(2*time.Minute)),
		ca.certificate(leafTemplate(0x1003, "api.example.com", "*.internal.example.com"), testBegin.Add(3*time.Minute)),
		ca.precertificate(signing, testBegin.Add(4*time.Minute)),
		ca.certificate(leafTemplate(0x1005, "spiffe://example.org/a", "spiffe://example.org/b"), testBegin.Add(5*time.Minute)),
		other.certificate(leafTemplate(0x1006, "www.example.net"), testBegin.Add(6*time.Minute)),
	} {
		text := e.text(t, someLog, uint64(i))
		text = bytes.Replace(text, []byte("{"), []byte(`{"token":"hvs.CANARY-TOKEN","submitter":{"private_key":"CANARY-KEY"},`), 1)
		sampleText = append(append(sampleText, text...), '\n')
	}
	alarm := (&Alarm{Kind: AlarmRewrittenHistory, Position: 7, Head: Head{Size: 9, Root: bytes.Repeat([]byte{1}, 32), Timestamp: 1790000060000, Signature: []byte{4, 3}},
		Trusted: Head{Size: 7, Root: bytes.Repeat([]byte{2}, 32), Timestamp: 1790000000000}}).record(someLog, testBegin.Add(time.Hour))
	sampleText = append(append(sampleText, alarm...), '\n')
	if err := os.WriteFile(sample, sampleText, 0o644); err != nil {
		t.Fatal(err)
	}
}

var sampleText []byte

func TestSourceContract(t *testing.T) {
	log, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := bytes.Cut(log, []byte("\n"))
	var foreign [][]byte
	for _, pattern := range []string{"../vault/testdata/recorded/audit.log", "../*/testdata/*.jsonl", "../*/testdata/*.ndjson"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil || strings.Contains(file, "certlog") {
				continue
			}
			line, _, _ := bytes.Cut(text, []byte("\n"))
			foreign = append(foreign, line)
		}
	}
	sourcetest.Run(t, sourcetest.Suite{
		System: System,
		Decoder: func() source.Decoder {
			return NewDecoder(Options{TrustDomains: []string{"example.org"}, Domains: []string{"example.com"}, All: true})
		},
		Records: Records, Recognise: Recognise, Log: log, Secrets: []string{"CANARY-TOKEN", "CANARY-KEY"},
		Unknown: unknownEntry(first), Foreign: foreign, Golden: "testdata/events.golden",
	})
}

// unknownEntry is an entry of type 9.
func unknownEntry(record []byte) []byte {
	// Version, leaf type, time and entry type are the first 12 bytes: 16 characters of base64.
	at := bytes.Index(record, []byte(`"leaf_input":"`)) + len(`"leaf_input":"`)
	out := bytes.Clone(record)
	copy(out[at+13:], "AAJ")
	return out
}
