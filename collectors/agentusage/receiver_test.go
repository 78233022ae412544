package agentusage

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/collectors/sourcetest"
	logs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	traces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	log "go.opentelemetry.io/proto/otlp/logs/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// listening starts a collector that takes OTLP.
func listening(t *testing.T, broker *sourcetest.Broker, cfg OTLPConfig) (c *Collector, stop func()) {
	t.Helper()
	cfg.HTTP, cfg.GRPC = "127.0.0.1:0", "127.0.0.1:0"
	stop = sourcetest.Start(t, broker, t.TempDir(), func(deps collect.Deps) (collect.Runner, error) {
		var err error
		c, err = New(Config{OTLP: &cfg, BatchWait: 20 * time.Millisecond}, deps)
		return c, err
	})
	sourcetest.Eventually(t, "the receiver listens", func() bool { _, at := c.Addresses(); return at != "" })
	return c, stop
}

func attribute(key, value string) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: value}}}
}

// spans is an export of n spans, in protobuf and in OTLP's JSON form.
func spans(from, n int) (*traces.ExportTraceServiceRequest, []byte) {
	res := &resource.Resource{Attributes: []*common.KeyValue{attribute("gen_ai.agent.id", "agent-9"), attribute("service.name", "research")}}
	group := &trace.ScopeSpans{}
	var jsonSpans []string
	for i := from; i < from+n; i++ {
		group.Spans = append(group.Spans, &trace.Span{TraceId: bytes.Repeat([]byte{0xab}, 16), SpanId: fmt.Appendf(nil, "%08d", i), Name: "chat",
			StartTimeUnixNano: 1777629600000000000 + uint64(i), EndTimeUnixNano: 1777629700000000000,
			Attributes: []*common.KeyValue{attribute("gen_ai.operation.name", "chat"), attribute("aws.access_key_id", "ASIAIOSFODNN7EXAMPLE"),
				attribute("gen_ai.input.messages", "CANARY-messages"),
				{Key: "http.response.status_code", Value: &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: 200}}}},
			Events: []*trace.Span_Event{{Name: "gen_ai.content.prompt", Attributes: []*common.KeyValue{attribute("gen_ai.prompt", "CANARY-prompt")}}}})
		jsonSpans = append(jsonSpans, fmt.Sprintf(`{"traceId":"%s","spanId":"%x","name":"chat","startTimeUnixNano":"%d","endTimeUnixNano":"1777629700000000000",
			"attributes":[{"key":"gen_ai.operation.name","value":{"stringValue":"chat"}},{"key":"aws.access_key_id","value":{"stringValue":"ASIAIOSFODNN7EXAMPLE"}},
			{"key":"gen_ai.input.messages","value":{"stringValue":"CANARY-messages"}},{"key":"http.response.status_code","value":{"intValue":"200"}}]}`,
			strings.Repeat("AB", 16), fmt.Sprintf("%08d", i), 1777629600000000000+uint64(i)))
	}
	inJSON := `{"resourceSpans":[{"resource":{"attributes":[{"key":"gen_ai.agent.id","value":{"stringValue":"agent-9"}},{"key":"service.name","value":{"stringValue":"research"}}]},
		"scopeSpans":[{"spans":[` + strings.Join(jsonSpans, ",") + `]}]}]}`
	return &traces.ExportTraceServiceRequest{ResourceSpans: []*trace.ResourceSpans{{Resource: res, ScopeSpans: []*trace.ScopeSpans{group}}}}, []byte(inJSON)
}

func post(t *testing.T, url, kind string, body []byte, headers ...string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", kind)
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

func wire(t *testing.T, m proto.Message) []byte {
	t.Helper()
	out, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAnExportIsTheSameOverEveryTransportAndFromAFile(t *testing.T) {
	export, inJSON := spans(0, 3)
	decoded, err := NewDecoder(Options{}).Decode(nil, source.Record{Bytes: inJSON})
	if err != nil || len(decoded) != 3 {
		t.Fatalf("%d events, %v", len(decoded), err)
	}
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	zip.Write(wire(t, export))
	zip.Close()
	for name, send := range map[string]func(c *Collector) error{
		"protobuf over HTTP": func(c *Collector) error { return send(t, c, "application/x-protobuf", wire(t, export)) },
		"packed": func(c *Collector) error {
			return send(t, c, "application/x-protobuf", packed.Bytes(), "Content-Encoding", "gzip")
		},
		"JSON over HTTP": func(c *Collector) error { return send(t, c, "application/json; charset=utf-8", inJSON) },
		"gRPC": func(c *Collector) error {
			_, err := traces.NewTraceServiceClient(dial(t, c)).Export(t.Context(), export)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			broker := &sourcetest.Broker{}
			c, _ := listening(t, broker, OTLPConfig{})
			if err := send(c); err != nil {
				t.Fatal(err)
			}
			events := broker.Events() // at once: the answer says that they are published
			if len(events) != 3 {
				t.Fatalf("%d events were published when the export was answered, want 3", len(events))
			}
			for _, want := range decoded {
				got := events[fmt.Sprintf("%x", want.Id)]
				if got == nil {
					t.Fatalf("no event with the id of %v", want)
				}
				got = proto.CloneOf(got)
				got.ObservedAt, got.Position = nil, want.Position
				if !proto.Equal(got, want) {
					t.Errorf("got  %v\nwant %v", got, want)
				}
				if bytes.Contains(wire(t, got), []byte("CANARY")) {
					t.Errorf("a prompt in %v", got)
				}
			}
		})
	}
}

func send(t *testing.T, c *Collector, kind string, body []byte, headers ...string) error {
	t.Helper()
	at, _ := c.Addresses()
	if code, text := post(t, "http://"+at+"/v1/traces", kind, body, headers...); code != http.StatusOK {
		return fmt.Errorf("status %d: %s", code, text)
	}
	return nil
}

func dial(t *testing.T, c *Collector) *grpc.ClientConn {
	t.Helper()
	_, at := c.Addresses()
	conn, err := grpc.NewClient(at, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// While the broker is away no export is answered with success; sent again, it counts once.
func TestAnExportIsNotAcceptedBeforeItIsPublished(t *testing.T) {
	broker := &sourcetest.Broker{}
	broker.Fail(1 << 30)
	c, _ := listening(t, broker, OTLPConfig{Timeout: 50 * time.Millisecond})
	export, _ := spans(0, 2)
	if err := send(t, c, "application/x-protobuf", wire(t, export)); err == nil || !strings.Contains(err.Error(), "503") {
		t.Fatalf("the export was answered with %v while nothing could be published", err)
	}
	_, err := traces.NewTraceServiceClient(dial(t, c)).Export(t.Context(), export)
	if status.Code(err) != codes.Unavailable {
		t.Fatalf("gRPC answered %v", err)
	}
	broker.Fail(0)
	sourcetest.Eventually(t, "the export is taken", func() bool { return send(t, c, "application/x-protobuf", wire(t, export)) == nil })
	if n := len(broker.Events()); n != 2 {
		t.Errorf("%d events, want 2: an export that is sent again counts once", n)
	}
}

func TestAnExportLargerThanABatchIsAnsweredAfterItsLastRecord(t *testing.T) {
	broker := &sourcetest.Broker{}
	var c *Collector
	sourcetest.Start(t, broker, t.TempDir(), func(deps collect.Deps) (collect.Runner, error) {
		var err error
		c, err = New(Config{OTLP: &OTLPConfig{HTTP: "127.0.0.1:0"}, BatchRecords: 7, BatchWait: 5 * time.Millisecond}, deps)
		return c, err
	})
	sourcetest.Eventually(t, "the receiver listens", func() bool { at, _ := c.Addresses(); return at != "" })
	export, _ := spans(0, 40)
	if err := send(t, c, "application/x-protobuf", wire(t, export)); err != nil {
		t.Fatal(err)
	}
	if n := len(broker.Events()); n != 40 {
		t.Errorf("%d events when the export was answered, want 40", n)
	}
}

func TestStoppingRefusesWhatWaits(t *testing.T) {
	broker := &sourcetest.Broker{}
	broker.Fail(1 << 30)
	c, stop := listening(t, broker, OTLPConfig{Timeout: time.Hour})
	export, _ := spans(0, 1)
	answered := make(chan error, 1)
	go func() {
		_, err := traces.NewTraceServiceClient(dial(t, c)).Export(context.Background(), export)
		answered <- err
	}()
	sourcetest.Eventually(t, "the broker is tried", func() bool { return c.Trouble("kafka") != "" })
	stop()
	if err := <-answered; err == nil {
		t.Error("an export was accepted that nobody published")
	}
}

func TestWhatTheReceiverRefuses(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("CANARY-0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	broker := &sourcetest.Broker{}
	c, _ := listening(t, broker, OTLPConfig{TokenFile: token, MaxExportBytes: 4096})
	at, _ := c.Addresses()
	export, inJSON := spans(0, 1)
	var bomb bytes.Buffer
	zip := gzip.NewWriter(&bomb)
	zip.Write(make([]byte, 1<<20))
	zip.Close()
	right := []string{"Authorization", "Bearer CANARY-0123456789abcdef"}
	for name, c := range map[string]struct {
		path, kind string
		body       []byte
		headers    []string
		want       int
	}{
		"no token":           {"/v1/traces", "application/x-protobuf", wire(t, export), nil, 401},
		"a wrong token":      {"/v1/traces", "application/x-protobuf", wire(t, export), []string{"Authorization", "Bearer x"}, 401},
		"no protobuf":        {"/v1/traces", "application/x-protobuf", []byte("CANARY"), right, 400},
		"no JSON":            {"/v1/logs", "application/json", []byte("{CANARY"), right, 400},
		"another type":       {"/v1/traces", "text/plain", inJSON, right, 415},
		"another packing":    {"/v1/traces", "application/json", inJSON, append(right, "Content-Encoding", "br"), 415},
		"no gzip":            {"/v1/traces", "application/json", inJSON, append(right, "Content-Encoding", "gzip"), 400},
		"too large":          {"/v1/traces", "application/json", bytes.Repeat([]byte(" "), 5000), right, 413},
		"too large unpacked": {"/v1/traces", "application/json", bomb.Bytes(), append(right, "Content-Encoding", "gzip"), 413},
		"metrics":            {"/v1/metrics", "application/json", []byte("{}"), right, 404},
		"nothing of agents":  {"/v1/logs", "application/json", []byte(`{"resourceLogs":[]}`), right, 200},
		"right":              {"/v1/traces", "application/json", inJSON, right, 200},
	} {
		t.Run(name, func(t *testing.T) {
			code, text := post(t, "http://"+at+c.path, c.kind, c.body, c.headers...)
			if code != c.want || strings.Contains(text, "CANARY") {
				t.Errorf("status %d %q, want %d", code, text, c.want)
			}
		})
	}
	if _, err := traces.NewTraceServiceClient(dial(t, c)).Export(t.Context(), export); status.Code(err) != codes.Unauthenticated {
		t.Errorf("gRPC without a token: %v", err)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer CANARY-0123456789abcdef")
	record := &log.LogRecord{TimeUnixNano: 1777629600000000000, Body: attribute("", "CANARY-body").Value,
		Attributes: []*common.KeyValue{attribute("gen_ai.agent.id", "a"), attribute("gen_ai.operation.name", "chat")}}
	_, err := logs.NewLogsServiceClient(dial(t, c)).Export(ctx, &logs.ExportLogsServiceRequest{ResourceLogs: []*log.ResourceLogs{
		{ScopeLogs: []*log.ScopeLogs{{LogRecords: []*log.LogRecord{record}}}}}})
	if err != nil || len(broker.Events()) != 2 {
		t.Errorf("gRPC with the token: %v, %d events", err, len(broker.Events()))
	}
}

// A file is read on from where it was left, after the broker has taken what was read.
func TestAFileIsReadOnFromTheCheckpoint(t *testing.T) {
	dir, data, broker := t.TempDir(), t.TempDir(), &sourcetest.Broker{}
	file := filepath.Join(dir, "usage.jsonl")
	write := func(id string) {
		line, _ := json.Marshal(map[string]any{"agent_usage": 1, "id": id, "time": 1777629600, "agent_id": "a", "action": "x"})
		out, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		if _, err := out.Write(append(line, '\n')); err != nil {
			t.Fatal(err)
		}
	}
	build := func(deps collect.Deps) (collect.Runner, error) {
		return New(Config{File: file, BatchWait: 5 * time.Millisecond}, deps)
	}
	write("1")
	broker.Fail(1)
	stop := sourcetest.Start(t, broker, data, build)
	sourcetest.Eventually(t, "the first record", func() bool { return len(broker.Events()) == 1 })
	stop()
	write("2")
	later := &sourcetest.Broker{}
	stop = sourcetest.Start(t, later, data, build)
	sourcetest.Eventually(t, "the rest", func() bool { return len(later.Events()) > 0 })
	stop()
	if n := len(later.Events()); n != 1 {
		t.Errorf("%d events after the restart, want 1: what was published is not read again", n)
	}
}

func TestConfigurationsThatCanNotWorkAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  Config
		want string
	}{
		"nothing":          {Config{Instance: "x"}, "set file"},
		"both":             {Config{File: "a", OTLP: &OTLPConfig{HTTP: "127.0.0.1:1"}}, "not both"},
		"no address":       {Config{OTLP: &OTLPConfig{}}, "http or grpc"},
		"a bad address":    {Config{OTLP: &OTLPConfig{HTTP: "nope"}}, "HOST:PORT"},
		"open to all":      {Config{OTLP: &OTLPConfig{GRPC: "0.0.0.0:4317"}}, "token_file"},
		"half of TLS":      {Config{OTLP: &OTLPConfig{HTTP: "127.0.0.1:1", CertFile: "c"}}, "go together"},
		"no type":          {Config{File: "a", Credentials: map[string]Target{"mine": {System: "x"}}}, "mine"},
		"a slash":          {Config{File: "a", Credentials: map[string]Target{"jti": {Instance: "a/b"}}}, "slash"},
		"a negative batch": {Config{File: "a", BatchRecords: -1}, "negative"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := c.cfg.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one about %q", err, c.want)
			}
		})
	}
}
