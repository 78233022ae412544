package enforcer

import (
	"bytes"
	"context"
	"log/slog"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/enforcer/control"
	"github.com/leastwise/leastwise/enforcer/exception"
	"github.com/leastwise/leastwise/enforcer/target/targettest"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/kafkatest"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// site is a real stream with the topics of the contract.
type site struct {
	t   testing.TB
	c   *stream.Client
	log *safeBuffer
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{t: t, c: kafkatest.New(t), log: &safeBuffer{}}
	var topics []stream.Topic
	for _, topic := range schemas.Topics() {
		n := 1
		if topic.CoPartitioned {
			n = 2
		}
		topics = append(topics, stream.Topic{Name: topic.Name, Partitions: n, Settings: topic.Settings})
	}
	if err := s.c.EnsureTopics(t.Context(), topics); err != nil {
		t.Fatal(err)
	}
	return s
}

// fastConfig is scaled: what takes hours takes tenths of seconds.
func fastConfig() Config {
	return Config{Mode: "enforce", Budget: "50/h 100%", RetryMin: 50 * time.Millisecond, RetryMax: 200 * time.Millisecond,
		HoldEvery: 100 * time.Millisecond, LogDeadline: time.Minute, ActTimeout: 2 * time.Second, MaxAttempts: 4, Escalation: []string{"oncall"}}
}

// start runs an enforcer and gives how to stop it.
func (s *site) start(cfg Config, targets map[string]Target) (stop func()) {
	s.t.Helper()
	_, stop = s.begin(cfg, targets)
	return stop
}

func (s *site) begin(cfg Config, targets map[string]Target) (e *Enforcer, stop func()) {
	s.t.Helper()
	env := daemon.NewEnv("enforcer", slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	e, err := New(cfg, Deps{Stream: s.c, Env: env, Targets: targets, Notify: map[string]Channel{"owner": &inbox{}, "oncall": &inbox{}}})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				s.t.Errorf("Run: %v", err)
			}
		})
	}
	s.t.Cleanup(stop)
	return e, stop
}

func (s *site) say(d *pb.Decision) {
	s.t.Helper()
	d.DecidedAt = timestamppb.Now()
	d.AsOf = d.DecidedAt
	raw, err := d.MarshalVT()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.c.Publish(s.t.Context(), stream.Message{Topic: schemas.TopicDecisions, Key: []byte(d.Credential), Value: raw}); err != nil {
		s.t.Fatal(err)
	}
}

// journal reads every entry of a credential, in order.
func (s *site) journal(credential string) []*pb.LadderState {
	s.t.Helper()
	var list []*pb.LadderState
	for p := range 2 {
		_, err := s.c.ReadPartition(s.t.Context(), schemas.TopicEnforcement, p, stream.Earliest, func(m stream.Message) error {
			e, err := decodeEntry(m)
			if err == nil && e.Credential == credential {
				list = append(list, e)
			}
			return nil // a test may have planted what can not be read
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
	return list
}

// until polls the journal for a state, with a heartbeat of the decision.
func (s *site) until(d *pb.Decision, states ...pb.LadderState_State) *pb.LadderState {
	s.t.Helper()
	var last *pb.LadderState
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		s.say(d)
		for _, e := range s.journal(d.Credential) {
			last = e
			for _, state := range states {
				if e.State == state {
					return e
				}
			}
		}
	}
	s.t.Fatalf("no %v within half a minute; newest %v\n%s", states, last, s.log)
	return nil
}

func scaled(credential string) *pb.Decision {
	return with(func(d *pb.Decision) {
		d.Credential = credential
		d.Ladder.GraceMs, d.Ladder.RemindMs = 300, []int64{100}
	})
}

func TestRunTakesDecisionsFromKafkaToTheTargetAndTheJournal(t *testing.T) {
	s := newSite(t)
	f := &targettest.Fake{}
	f.Add(cred)
	s.start(fastConfig(), map[string]Target{"fake/default": f})
	d := scaled(cred)
	s.until(d, reissued)
	gone := with(func(d *pb.Decision) { d.Violations, d.Subject.State = nil, "revoked" })
	end := s.until(gone, closed)
	if f.Revoked(cred) != 1 || end.SeenInLogAt == nil {
		t.Errorf("revoked %d times, %v", f.Revoked(cred), end)
	}
	var before *pb.LadderState
	for _, e := range s.journal(cred) {
		if err := checkEntry(before, e); err != nil {
			t.Errorf("%v\n%v", err, e)
		}
		before = e
	}
}

func TestAnotherInstanceGoesOnWhereOneStopped(t *testing.T) {
	s := newSite(t)
	f := &targettest.Fake{}
	f.Add(cred)
	d := scaled(cred)
	d.Ladder.GraceMs = 1500
	stop := s.start(fastConfig(), map[string]Target{"fake/default": f})
	first := s.until(d, notified)
	stop()
	s.start(fastConfig(), map[string]Target{"fake/default": f})
	end := s.until(d, reissued)
	if end.LadderId != first.LadderId || !end.RevokeAt.AsTime().Equal(first.RevokeAt.AsTime()) || f.Revoked(cred) != 1 {
		t.Errorf("first %v\nend %v", first, end)
	}
}

func TestTheKillSwitchOfTheControlTopicHoldsEverything(t *testing.T) {
	s := newSite(t)
	f := &targettest.Fake{}
	f.Add(cred)
	who := control.Who{Name: "operator", Reason: "test"}
	if err := control.SetKillSwitch(t.Context(), s.c, true, who, time.Now()); err != nil {
		t.Fatal(err)
	}
	s.start(fastConfig(), map[string]Target{"fake/default": f})
	d := scaled(cred)
	e := s.until(d, held, revokeIntended)
	if e.State != held || !strings.Contains(e.Waiting, "kill_switch") || f.Revoked(cred) != 0 {
		t.Fatalf("%v", e)
	}
	if err := control.SetKillSwitch(t.Context(), s.c, false, who, time.Now()); err != nil {
		t.Fatal(err)
	}
	s.until(d, reissued)
}

func TestAnApprovedExceptionOfTheTopicKeepsTheCredentialAlive(t *testing.T) {
	s := newSite(t)
	f := &targettest.Fake{}
	f.Add(cred)
	x, err := exception.Request(t.Context(), s.c, &pb.Exception{Credential: cred, PolicyId: "*", Reason: "migration", RequestedBy: "alice",
		Until: timestamppb.New(time.Now().Add(time.Hour))}, exception.Limits{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exception.Approve(t.Context(), s.c, x.Id, "bob", exception.Limits{}, time.Now()); err != nil {
		t.Fatal(err)
	}
	s.start(fastConfig(), map[string]Target{"fake/default": f})
	if e := s.until(scaled(cred), exempted, notified); e.State != exempted || f.Revoked(cred) != 0 {
		t.Errorf("%v", e)
	}
}

func TestRecordsThatCanNotBeReadAreLeftAndTheRestGoesOn(t *testing.T) {
	s := newSite(t)
	f := &targettest.Fake{}
	f.Add(cred)
	for _, topic := range []string{schemas.TopicDecisions, schemas.TopicEnforcement, schemas.TopicExceptions, schemas.TopicControl} {
		for _, value := range [][]byte{[]byte("\xff\xff\xff"), nil, []byte("hello")} {
			if err := s.c.Publish(t.Context(), stream.Message{Topic: topic, Key: []byte(cred), Value: value}); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.start(fastConfig(), map[string]Target{"fake/default": f})
	s.until(scaled(cred), reissued)
}

func TestUnequalPartitionCountsRefuseToStart(t *testing.T) {
	c := kafkatest.New(t)
	if err := c.EnsureTopics(t.Context(), []stream.Topic{{Name: schemas.TopicDecisions, Partitions: 2}, {Name: schemas.TopicEnforcement, Partitions: 3}}); err != nil {
		t.Fatal(err)
	}
	e, err := New(Config{}, Deps{Stream: c, Env: daemon.NewEnv("enforcer", slog.New(slog.DiscardHandler))})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "same number of partitions") {
		t.Errorf("%v", err)
	}
}

// The enforcer holds the keys: no parser of logs, no policy engine and no
// database client is linked into it.
func TestTheBinaryLinksNeitherPolicyEngineNorParserNorDatabase(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "./cmd/enforcer").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range strings.Fields(string(out)) {
		for _, bad := range []string{"open-policy-agent", "ClickHouse/", "fastjson", "leastwise/collectors", "leastwise/processor", "leastwise/rego", "internal/store", "internal/chdb", "franz-go"} {
			if strings.Contains(pkg, bad) {
				t.Errorf("%s is linked", pkg)
			}
		}
	}
}
