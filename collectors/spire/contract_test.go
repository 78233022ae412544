package spire

import (
	"bytes"
	"testing"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/collectors/sourcetest"
)

// planted are records with secrets where a server, a plugin or an administrator may put some.
var planted = []string{
	`{"level":"error","msg":"Failed to authenticate caller","error":"rpc error CANARY1","method":"BatchCreateEntry","service":"entry.v1.Entry","request_id":"c1","subsystem_name":"api","time":"2026-11-21T06:27:18Z"}`,
	`{"level":"info","msg":"API accessed","status":"error","status_code":3,"status_message":"CANARY2","csr":"CANARY3","subject":{"CommonName":"CANARY4"},"method":"MintX509SVID","service":"svid.v1.SVID","request_id":"c2","subsystem_name":"api","time":"2026-11-21T06:27:18Z","type":"audit"}`,
	`{"level":"info","msg":"API accessed","status":"success","selectors":"docker:env:PASSWORD=CANARY5,unix:uid:0","parent_id":"spiffe://example.org/spire/agent/join_token/CANARY6","spiffe_id":"spiffe://example.org/w","method":"BatchCreateEntry","service":"entry.v1.Entry","request_id":"c3","subsystem_name":"api","time":"2026-11-21T06:27:18Z","type":"audit"}`,
	`{"level":"info","msg":"API accessed","status":"success","token":"CANARY7","payload":{"jwt":"CANARY8"},"method":"AttestAgent","service":"agent.v1.Agent","request_id":"c4","subsystem_name":"api","time":"2026-11-21T06:27:18Z","type":"audit"}`,
}

var secrets = []string{"CANARY1", "CANARY2", "CANARY3", "CANARY4", "CANARY5", "CANARY6", "CANARY7", "CANARY8"}

// foreign are records of other sources, and of programs that log alike.
var foreign = [][]byte{
	[]byte(`{"time":"2026-11-21T06:12:00.5Z","type":"request","auth":{"accessor":"a"},"request":{"id":"1","operation":"read","path":"secret/a"}}`),
	[]byte(`{"eventVersion":"1.08","eventID":"e","eventName":"AssumeRole","eventSource":"sts.amazonaws.com","eventTime":"2026-11-21T06:12:00Z","userIdentity":{"type":"AWSService"}}`),
	[]byte(`{"protoPayload":{"@type":"type.googleapis.com/google.cloud.audit.AuditLog","methodName":"m"},"insertId":"i","logName":"projects/p/logs/l","timestamp":"2026-11-21T06:12:00Z"}`),
	[]byte(`{"level":"info","msg":"started","time":"2026-11-21T06:12:00Z"}`),
	[]byte(`{"level":"info","msg":"Starting Workload and SDS APIs","subsystem_name":"endpoints_of_something_else","time":"2026-11-21T06:12:00Z"}`),
	[]byte(`{"level":"debug","msg":"x","subsystem_name":"workload_attestor","time":"2026-11-21T06:12:00Z"}`),
	[]byte(`time="2026-11-21T06:12:00Z" level=info msg="container started" id=3`),
	[]byte(`{"resourceSpans":[{"scopeSpans":[]}]}`),
}

func suite(t *testing.T, form string) sourcetest.Suite {
	log, _ := recording(t, form)
	log = bytes.TrimRight(log, "\n")
	unknown := `{"level":"info","msg":"API accessed","status":"success","method":"FromTheFuture","service":"svid.v2.SVID","request_id":"u","subsystem_name":"api","time":"2026-11-21T06:27:18Z","type":"audit"}`
	for _, line := range planted {
		if form == "text" {
			line = asText(t, []byte(line), false)
		}
		log = append(append(log, '\n'), line...)
	}
	if form == "text" {
		unknown = asText(t, []byte(unknown), false)
	}
	return sourcetest.Suite{System: System, Decoder: func() source.Decoder { return NewDecoder(Options{}) }, Records: Records, Recognise: Recognise,
		Log: append(log, '\n'), Secrets: secrets, Unknown: []byte(unknown), Foreign: foreign, Golden: "testdata/events." + form + ".golden",
		TextLines: form == "text"}
}

func TestContract(t *testing.T) {
	for _, form := range []string{"json", "text"} {
		t.Run(form, func(t *testing.T) { sourcetest.Run(t, suite(t, form)) })
	}
}
