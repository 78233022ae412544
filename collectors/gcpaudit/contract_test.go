package gcpaudit

import (
	"testing"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/collectors/sourcetest"
)

func TestSourceContract(t *testing.T) {
	sourcetest.Run(t, sourcetest.Suite{
		System:  System,
		Decoder: func() source.Decoder { return NewDecoder(Options{}) },
		Records: Records, Recognise: Recognise,
		Log: secretLog(t), Secrets: canaries(),
		Unknown: []byte(`{"logName":"projects/p/logs/appengine","insertId":"x","timestamp":"2026-10-02T09:00:00Z","protoPayload":{"@type":"type.googleapis.com/google.appengine.logging.v1.RequestLog"}}`),
		Foreign: [][]byte{
			[]byte(`{"time":"2026-11-21T06:12:00Z","type":"request","auth":{},"request":{"id":"1","path":"secret/logName"}}`),
			[]byte(`{"Records":[{"eventVersion":"1.08","eventID":"x","eventName":"GetObject","eventSource":"s3.amazonaws.com"}]}`),
			[]byte(`{"level":"info","msg":"API accessed","type":"audit","service":"svid.v1.SVID"}`),
			[]byte(`{"note":"\"logName\"","logName":7}`),
			[]byte(`{"schemaType":"ModelInvocationLog","modelId":"x","accountId":"1"}`),
		},
		Golden: "testdata/golden.jsonl",
	})
}
