package vault

import (
	"bytes"
	"testing"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/collectors/sourcetest"
)

func TestVaultKeepsTheContractOfSources(t *testing.T) {
	raw := `{"time":"2026-05-01T10:00:00Z","type":"request","auth":{"client_token":"hvs.CANARYtoken","accessor":"clear-accessor",` +
		`"policies":["default"],"policy_results":{"allowed":true},"token_type":"service"},"request":{"id":"raw-1","operation":"update",` +
		`"path":"secret/data/x","client_token":"hvs.CANARYtoken","client_token_accessor":"clear-accessor",` +
		`"data":{"password":"CANARYpassword"}},"error":""}`
	log := append(bytes.Join(recordedLines(t), []byte("\n")), []byte("\n"+raw+"\n")...)
	sourcetest.Run(t, sourcetest.Suite{System: System, Decoder: func() source.Decoder { return NewDecoder(Options{}) },
		Records: Records, Recognise: Recognise, Log: log, Secrets: []string{"hvs.CANARYtoken", "CANARYpassword"},
		Unknown: []byte(`{"time":"2026-05-01T10:00:00Z","type":"from-the-future","request":{"id":"x"}}`),
		Foreign: [][]byte{[]byte(`{"eventVersion":"1.08","eventName":"GetObject","eventTime":"2026-05-01T10:00:00Z"}`),
			[]byte(`{"protoPayload":{"@type":"type.googleapis.com/google.cloud.audit.AuditLog"},"timestamp":"2026-05-01T10:00:00Z"}`)},
		Golden: "testdata/events.golden", Merge: Prefer})
}
