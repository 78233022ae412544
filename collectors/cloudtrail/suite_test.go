package cloudtrail

import (
	"os"
	"testing"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/collectors/sourcetest"
)

// canary stands wherever the records of trail.json hold a secret, a free text, or a request's content.
const canary = "CANARY-SECRET-0001"

func readTestdata(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestSourceContract(t *testing.T) {
	sourcetest.Run(t, sourcetest.Suite{
		System:    System,
		Decoder:   func() source.Decoder { return NewDecoder(Options{}) },
		Records:   Records,
		Recognise: Recognise,
		Log:       readTestdata(t, "trail.json"),
		Secrets:   []string{canary},
		Unknown: []byte(`{"eventVersion":"2.0","eventTime":"2030-01-01T00:00:00Z","eventSource":"x.amazonaws.com","eventName":"New",` +
			`"eventType":"AwsFromTheFuture","eventID":"1","userIdentity":{"type":"Robot","accessKeyId":"AKIAX"}}`),
		Foreign: [][]byte{
			[]byte(`{"time":"2026-11-21T06:12:00Z","type":"request","auth":{},"request":{"id":"1","path":"eventName"}}`),
			[]byte(`{"protoPayload":{"methodName":"eventName"},"insertId":"1","logName":"projects/p/logs/x"}`),
			[]byte(`{"level":"info","msg":"API accessed","type":"audit","request_id":"1"}`),
			[]byte(`{"eventVersion":"2.1","eventSource":"aws:s3","eventName":"ObjectCreated:Put","eventID":"1","s3":{}}`),
			[]byte(`{"modelId":"m","input":{"inputBodyJson":{"text":"{\"eventSource\":\"s3.amazonaws.com\",\"eventName\":\"GetObject\",\"userIdentity\":{}}"}}}`),
		},
		Golden: "testdata/events.golden",
	})
}

func TestRecordedAttackContract(t *testing.T) {
	sourcetest.Run(t, sourcetest.Suite{
		System:    System,
		Decoder:   func() source.Decoder { return NewDecoder(Options{}) },
		Records:   Records,
		Recognise: Recognise,
		Log:       readTestdata(t, "stolen-instance-credential.jsonl"),
		Secrets:   []string{"IQoJb3JpZ2luX2VjE"},
		Golden:    "testdata/stolen-instance-credential.golden",
	})
}
