package agentusage

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/collectors/sourcetest"
)

func sample(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func testMapping(t testing.TB) *Mapping {
	t.Helper()
	m, err := LoadMapping("testdata/mapping.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAgentUsageKeepsTheContractOfSources(t *testing.T) {
	mapping := testMapping(t)
	sourcetest.Run(t, sourcetest.Suite{System: System, Records: Records, Recognise: Recognise,
		Decoder: func() source.Decoder {
			return NewDecoder(Options{Mapping: mapping, Credentials: map[string]Target{"vault_accessor": {Instance: "prod"}}})
		},
		Log: append(sample(t, "usage.jsonl"), sample(t, "bedrock.ndjson")...),
		Secrets: []string{"CANARY", "/etc/shadow", "wJalrXUtnFEMI", "BEGIN RSA", "You are Claude", "cac3250bfea25c22",
			"stop_reason", "eyJhbGciOiJSUzI1NiJ9", "hvs."},
		Unknown: []byte(`{"agent_usage":2,"time":"2026-05-01T10:00:00Z","agent_id":"x"}`),
		Foreign: [][]byte{
			[]byte(`{"time":"2026-05-01T10:00:00Z","type":"request","auth":{},"request":{"id":"x"}}`),
			[]byte(`{"eventVersion":"1.08","eventName":"InvokeModel","eventTime":"2026-05-01T10:00:00Z","eventID":"e","requestParameters":{"modelId":"m"}}`),
			[]byte(`{"protoPayload":{"@type":"type.googleapis.com/google.cloud.audit.AuditLog"},"insertId":"a"}`),
			[]byte(`{"version":1,"event":"issued","jti":"a","time":1777600000}`),
			[]byte(`{"level":"info","msg":"API accessed","type":"audit"}`),
		},
		Golden: "testdata/events.golden"})
}
