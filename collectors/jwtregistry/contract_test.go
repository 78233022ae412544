package jwtregistry

import (
	"testing"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/collectors/sourcetest"
)

func TestJWTRegistryKeepsTheContractOfSources(t *testing.T) {
	signed, tokens := signedLog(t)
	log := append(append(sample(t, "registry.jsonl"), sample(t, "keycloak.jsonl")...), signed...)
	keys := keysOf(t, newSigner("good"))
	foreign := [][]byte{
		[]byte(`{"time":"2026-05-01T10:00:00Z","type":"request","auth":{},"request":{"id":"x","operation":"read","path":"identity/oidc/token/r"}}`),
		[]byte(`{"time":"2026-05-01T10:00:00Z","type":"response","auth":{},"request":{"id":"x"},"response":{"data":{"token":"hmac-sha256:1","client_id":"hmac-sha256:2"}}}`),
		[]byte(`{"eventVersion":"1.08","eventName":"GetObject","eventTime":"2026-05-01T10:00:00Z","eventID":"e","userIdentity":{"type":"IAMUser"}}`),
		[]byte(`{"Records":[{"eventVersion":"1.08","eventName":"GetObject","eventID":"e"}]}`),
		[]byte(`{"protoPayload":{"@type":"type.googleapis.com/google.cloud.audit.AuditLog"},"insertId":"a","logName":"l","timestamp":"2026-05-01T10:00:00Z"}`),
		[]byte(`{"resourceSpans":[]}`),
	}
	sourcetest.Run(t, sourcetest.Suite{System: System, Records: Records, Recognise: Recognise,
		Decoder: func() source.Decoder { return NewDecoder(Options{Keys: keys, KeycloakURL: "https://sso.example.org/"}) },
		Log:     log, Secrets: append(tokens, "CANARY"), Foreign: foreign,
		Unknown: []byte(`{"version":1,"event":"frozen","time":1777600000,"jti":"a1"}`),
		Golden:  "testdata/events.golden"})
}
