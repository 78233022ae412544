package cloudtrail

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/collectors/sourcetest"
	"github.com/leastwise/leastwise/internal/stream"
)

const testBucket = "trail"

// site is an AWS of this test's own.
type site struct {
	t        *testing.T
	endpoint string
	*cloud
	queueURL string
}

// startMoto runs a moto server until the test ends. It skips the test if there is none: LEASTWISE_MOTO names it, else it
// is looked for in ~/.cache/leastwise/moto.
func startMoto(t *testing.T) *site {
	t.Helper()
	binary := os.Getenv("LEASTWISE_MOTO")
	if binary == "" {
		home, _ := os.UserHomeDir()
		binary = filepath.Join(home, ".cache/leastwise/moto/bin/moto_server")
	}
	if _, err := os.Stat(binary); err != nil {
		t.Skipf("moto_server is not installed (%v): python3 -m venv ~/.cache/leastwise/moto && ~/.cache/leastwise/moto/bin/pip install 'moto[server]'", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	host, port, _ := net.SplitHostPort(address)
	server := exec.Command(binary, "-H", host, "-p", port)
	var log bytes.Buffer
	server.Stdout, server.Stderr = &log, &log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
	s := &site{t: t, endpoint: "http://" + address}
	soon(t, "moto answers", func() bool {
		answer, err := http.Get(s.endpoint + "/moto-api/data.json")
		if err == nil {
			answer.Body.Close()
		}
		return err == nil
	})
	if s.cloud, err = openCloud(t.Context(), s.aws()); err != nil {
		t.Fatal(err)
	}
	_, err = s.s3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(testBucket),
		CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: "eu-central-1"}})
	if err != nil {
		t.Fatal(err)
	}
	made, err := s.sqs.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("announcements")})
	if err != nil {
		t.Fatal(err)
	}
	at, err := url.Parse(*made.QueueUrl)
	if err != nil {
		t.Fatal(err)
	}
	s.queueURL = s.endpoint + at.Path
	return s
}

func (s *site) aws() AWSConfig {
	return AWSConfig{Region: "eu-central-1", Endpoint: s.endpoint, PathStyle: true}
}

// soon waits for what a collector will do. The servers of these tests are slow on a machine with much to do.
func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// key is where CloudTrail puts a log file.
func key(region, day, name string) string {
	return "AWSLogs/111122223333/CloudTrail/" + region + "/" + day + "/111122223333_CloudTrail_" + region + "_" + name + ".json.gz"
}

// trail is a log file with one event for each id.
func trail(ids ...string) []byte {
	var events []string
	for _, id := range ids {
		events = append(events, call(id))
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	fmt.Fprintf(w, `{"Records":[%s]}`, strings.Join(events, ","))
	w.Close()
	return packed.Bytes()
}

func call(id string) string {
	return `{"eventTime":"2026-10-02T09:00:00Z","eventSource":"s3.amazonaws.com","eventName":"GetObject","eventID":"` + id +
		`","userIdentity":{"type":"IAMUser","accessKeyId":"AKIA1","arn":"arn:aws:iam::1:user/a"}}`
}

func (s *site) put(key string, body []byte, metadata map[string]string) {
	s.t.Helper()
	if _, err := s.s3.PutObject(s.t.Context(), &s3.PutObjectInput{Bucket: aws.String(testBucket), Key: &key,
		Body: bytes.NewReader(body), Metadata: metadata}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) send(message string) {
	s.t.Helper()
	if _, err := s.sqs.SendMessage(s.t.Context(), &sqs.SendMessageInput{QueueUrl: &s.queueURL, MessageBody: &message}); err != nil {
		s.t.Fatal(err)
	}
}

// queued are the messages that are not deleted: visible, and hidden.
func (s *site) queued() (visible, hidden int) {
	s.t.Helper()
	answer, err := s.sqs.GetQueueAttributes(s.t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &s.queueURL,
		AttributeNames: []sqstypes.QueueAttributeName{"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"}})
	if err != nil {
		s.t.Fatal(err)
	}
	visible, _ = strconv.Atoi(answer.Attributes["ApproximateNumberOfMessages"])
	hidden, _ = strconv.Atoi(answer.Attributes["ApproximateNumberOfMessagesNotVisible"])
	return visible, hidden
}

func (s *site) start(broker *sourcetest.Broker, dir string, cfg Config) (stop func()) {
	s.t.Helper()
	cfg.AWS, cfg.BatchWait = s.aws(), time.Second
	return sourcetest.Start(s.t, broker, dir, func(deps collect.Deps) (collect.Runner, error) { return New(cfg, deps) })
}

func (s *site) startQueue(broker *sourcetest.Broker, dir string) (stop func()) {
	return s.start(broker, dir, Config{Queue: &QueueConfig{URL: s.queueURL}})
}

// recordIDs are those of the events published.
func recordIDs(broker *sourcetest.Broker) map[string]int {
	ids := map[string]int{}
	for _, ev := range broker.Events() {
		ids[ev.RecordId]++
	}
	return ids
}

func hasAll(broker *sourcetest.Broker, ids ...string) func() bool {
	return func() bool {
		got := recordIDs(broker)
		for _, id := range ids {
			if got[id] == 0 {
				return false
			}
		}
		return true
	}
}

func quoted(text string) string {
	out, _ := json.Marshal(text)
	return string(out)
}

func TestMotoQueueIsReadInEveryEnvelope(t *testing.T) {
	s := startMoto(t)
	attributes, err := s.sqs.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &s.queueURL, AttributeNames: []sqstypes.QueueAttributeName{"QueueArn"}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.s3.PutBucketNotificationConfiguration(t.Context(), &s3.PutBucketNotificationConfigurationInput{Bucket: aws.String(testBucket),
		NotificationConfiguration: &s3types.NotificationConfiguration{QueueConfigurations: []s3types.QueueConfiguration{{
			QueueArn: aws.String(attributes.Attributes["QueueArn"]), Events: []s3types.Event{"s3:ObjectCreated:*"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	s.put(key("eu-central-1", "2026/10/02", "notified"), trail("notified-1", "notified-2"), nil)
	s.put("AWSLogs/111122223333/Config/x.json.gz", trail("not-cloudtrail"), nil)
	if _, err := s.s3.PutBucketNotificationConfiguration(t.Context(), &s3.PutBucketNotificationConfigurationInput{Bucket: aws.String(testBucket),
		NotificationConfiguration: &s3types.NotificationConfiguration{}}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sns", "bridge", "native", "escaped +ä"} {
		s.put(key("eu-west-1", "2026/10/02", name), trail(name), nil)
	}
	s3Event := func(key string) string {
		return `{"Records":[{"eventSource":"aws:s3","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"trail"},"object":{"key":` + quoted(url.QueryEscape(key)) + `}}}]}`
	}
	s.send(`{"Type":"Notification","TopicArn":"t","Message":` + quoted(s3Event(key("eu-west-1", "2026/10/02", "sns"))) + `}`)
	s.send(s3Event(key("eu-west-1", "2026/10/02", "escaped +ä")))
	s.send(`{"version":"0","detail-type":"Object Created","source":"aws.s3","detail":{"bucket":{"name":"trail"},"object":{"key":` + quoted(key("eu-west-1", "2026/10/02", "bridge")) + `}}}`)
	s.send(`{"Type":"Notification","Message":` + quoted(`{"s3Bucket":"trail","s3ObjectKey":[`+quoted(key("eu-west-1", "2026/10/02", "native"))+`]}`) + `}`)
	s.send(`{"version":"0","detail-type":"AWS API Call via CloudTrail","source":"aws.s3","detail":` + call("itself") + `}`)
	s.send(`{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"trail"}`)
	s.send("CloudTrail validation message.")
	s.send(`{"Records":[{"eventName":"ObjectRemoved:Delete","s3":{"bucket":{"name":"trail"},"object":{"key":"gone"}}}]}`)
	s.send(`poison ` + canary)
	s.send(s3Event(key("eu-west-1", "2026/10/02", "never-written")))

	broker := &sourcetest.Broker{}
	s.startQueue(broker, t.TempDir())
	soon(t, "all is published", hasAll(broker, "notified-1", "notified-2", "sns", "escaped +ä", "bridge", "native", "itself"))
	soon(t, "all messages are deleted", func() bool { visible, hidden := s.queued(); return visible+hidden == 0 })
	if recordIDs(broker)["not-cloudtrail"] != 0 {
		t.Error("a file of another service was read")
	}
	letters := broker.DeadLetters()
	if len(letters) != 2 {
		t.Errorf("%d dead letters, want those of the poison message and of the missing object", len(letters))
	}
	for _, letter := range letters {
		if letter.Reason != source.ReasonRejected || strings.Contains(letter.String(), canary) {
			t.Errorf("dead letter %v", letter)
		}
	}
}

// closed is a broker that does not answer until it is opened.
type closed struct {
	sourcetest.Broker
	opened chan struct{}
	asked  chan struct{}
	once   sync.Once
}

func (c *closed) Publish(ctx context.Context, messages ...stream.Message) error {
	for _, m := range messages {
		if strings.Contains(m.Topic, "events") {
			c.once.Do(func() { close(c.asked) })
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-c.opened:
			}
		}
	}
	return c.Broker.Publish(ctx, messages...)
}

func TestMotoMessageIsDeletedAfterItsEventsArePublished(t *testing.T) {
	s := startMoto(t)
	for i := range 3 {
		s.put(key("eu-west-1", "2026/10/02", strconv.Itoa(i)), trail(fmt.Sprint("id-", i)), nil)
		s.send(`{"s3Bucket":"trail","s3ObjectKey":[` + quoted(key("eu-west-1", "2026/10/02", strconv.Itoa(i))) + `]}`)
	}
	broker := &closed{opened: make(chan struct{}), asked: make(chan struct{})}
	dir := t.TempDir()
	run := func() (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		c, err := New(Config{Queue: &QueueConfig{URL: s.queueURL, Visibility: 30 * time.Second}, AWS: s.aws(), BatchWait: time.Second},
			collect.Deps{Stream: broker, DataDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	stop := run()
	<-broker.asked
	if visible, hidden := s.queued(); visible+hidden != 3 {
		t.Fatalf("%d messages are left before anything was published", visible+hidden)
	}
	stop() // while Kafka is away
	if visible, hidden := s.queued(); visible+hidden != 3 {
		t.Fatalf("%d messages are left after a stop before anything was published", visible+hidden)
	}
	close(broker.opened)
	stop = run()
	defer stop()
	soon(t, "all is published", hasAll(&broker.Broker, "id-0", "id-1", "id-2"))
	soon(t, "all messages are deleted", func() bool { visible, hidden := s.queued(); return visible+hidden == 0 })
}

// counting counts requests by what they ask for.
type counting struct {
	mu    sync.Mutex
	calls map[string]int
}

func (c *counting) Do(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	c.calls[r.Header.Get("X-Amz-Target")]++
	c.mu.Unlock()
	return http.DefaultClient.Do(r)
}

func (c *counting) count(call string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls["AmazonSQS."+call]
}

func TestMotoMessageStaysHiddenWhileItIsWorkedOn(t *testing.T) {
	s := startMoto(t)
	requests := &counting{calls: map[string]int{}}
	far := *s.cloud
	far.sqs = sqs.New(s.sqs.Options(), func(o *sqs.Options) { o.HTTPClient = requests })
	s.send(`{"s3Bucket":"trail","s3ObjectKey":["a.json"]}`)
	q := newQueue(&far, QueueConfig{URL: s.queueURL, Visibility: 3 * time.Second}, nil, func(error) {})
	defer q.Close()
	one, err := q.next(t.Context(), time.Second)
	if err != nil || one == nil {
		t.Fatal(one, err)
	}
	soon(t, "its time is extended beyond what it was", func() bool { return requests.count("ChangeMessageVisibility") >= 4 })
	if other, err := q.next(t.Context(), 0); other != nil || err != nil {
		t.Fatalf("the message was given again: %v, %v", other, err)
	}
	if err := one.done(t.Context()); err != nil {
		t.Fatal(err)
	}
	if visible, hidden := s.queued(); visible+hidden != 0 {
		t.Error("it is not deleted")
	}
}

func TestMotoMessageWhoseObjectCanNotBeReadComesAgain(t *testing.T) {
	s := startMoto(t)
	s.send(`{"s3Bucket":"trail","s3ObjectKey":["a.json","b.json"]}`)
	q := newQueue(s.cloud, QueueConfig{URL: s.queueURL, Visibility: time.Minute}, nil, func(err error) {
		if err != nil {
			t.Error(err)
		}
	})
	defer q.Close()
	one, _ := q.next(t.Context(), time.Second)
	two, _ := q.next(t.Context(), 0)
	if one == nil || two == nil {
		t.Fatal("the message has two objects")
	}
	one.again(t.Context())
	if err := two.done(t.Context()); err != nil {
		t.Fatal(err)
	}
	if visible, hidden := s.queued(); visible+hidden != 1 {
		t.Error("the message is gone, though one of its objects was not read")
	}
}
