package enforcer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/enforcer/target/aws"
	"github.com/leastwise/leastwise/enforcer/target/aws/mototest"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/stream"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// awsWorld is a partition of an enforcer over a journal in memory and an AWS
// account at moto, with a clock of its own: hours pass in no time.
type awsWorld struct {
	t        *testing.T
	endpoint string
	root     *iam.Client
	proxy    *mototest.Proxy
	d        *pb.Decision
	now      time.Time
	e        *Enforcer
	p        *partition
	journal  []*pb.LadderState

	// kill is the moment at which the process dies, of those between the intent
	// and the last result; negative: never. moment counts them.
	kill, moment int
	dead         bool
}

func newAWSWorld(t *testing.T, endpoint string, kill int) *awsWorld {
	t.Helper()
	mototest.Reset(t, endpoint)
	cfg := sdk.Config{Region: "us-east-1", BaseEndpoint: &endpoint, Credentials: credentials.NewStaticCredentialsProvider("AKIAROOT000000000000", "set-up", "")}
	w := &awsWorld{t: t, endpoint: endpoint, root: iam.NewFromConfig(cfg), proxy: mototest.NewProxy(t, endpoint), now: time.Now().UTC().Truncate(time.Second), kill: kill}
	w.do(w.root.CreateUser(t.Context(), &iam.CreateUserInput{UserName: new("the-enforcer")}))
	made, err := w.root.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: new("the-enforcer")})
	w.do(made, err)
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": *made.AccessKey.AccessKeyId, "AWS_SECRET_ACCESS_KEY": *made.AccessKey.SecretAccessKey, "AWS_SESSION_TOKEN": "",
		"AWS_PROFILE": "", "AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent", "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	w.proxy.Break(func(string) mototest.Fault {
		switch {
		case w.dies(): // before the request is sent
			return mototest.Dead
		case w.dies(): // it is done, and nobody is there to hear the answer
			return mototest.Lost
		}
		return mototest.None
	})
	return w
}

func (w *awsWorld) do(_ any, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// dies counts a moment between the intent and the last result, and tells
// whether the process is dead by then.
func (w *awsWorld) dies() bool {
	if len(w.journal) == 0 || w.journal[len(w.journal)-1].State < revokeIntended {
		return w.dead
	}
	if w.moment == w.kill {
		w.dead = true
	}
	w.moment++
	return w.dead
}

// start is a process that has nothing but the journal.
func (w *awsWorld) start() {
	w.t.Helper()
	w.dead = false
	env := daemon.NewEnv("enforcer", slog.New(slog.NewTextHandler(io.Discard, nil)))
	env.Now = func() time.Time { return w.now }
	used := func(context.Context, string) (*pb.Proposal, error) { return w.d.Proposal, nil }
	alone := func(context.Context, string, time.Time) ([]aws.Session, error) { return nil, nil }
	e, err := New(Config{Mode: "enforce", Budget: "20/h 100%", Escalation: []string{"oncall"}, Writer: "test",
		AWS: []aws.Config{{Endpoint: w.proxy.URL, Narrow: true, KeepKeys: true}}},
		Deps{Env: env, AWS: aws.History{Used: used, Sessions: alone}, Notify: map[string]Channel{"owner": &inbox{}, "oncall": &inbox{}}})
	if err != nil {
		w.t.Fatal(err)
	}
	e.append = func(_ context.Context, s *pb.LadderState) error {
		if w.dead || w.dies() {
			return errCrash
		}
		w.journal = append(w.journal, proto.CloneOf(s))
		return nil
	}
	for topic := range e.waiting {
		delete(e.waiting, topic)
	}
	w.e, w.p = e, newPartition(e)
	for _, s := range w.journal {
		raw, err := s.MarshalVT()
		if err != nil {
			w.t.Fatal(err)
		}
		if err := e.ledger.apply(stream.Message{Key: []byte(s.Credential), Value: raw}); err != nil {
			w.t.Fatal(err)
		}
		w.p.resume(proto.CloneOf(s))
	}
}

// run lets time pass, with a decision each minute, until the process dies.
func (w *awsWorld) run(d time.Duration) {
	w.t.Helper()
	for end := w.now.Add(d); w.now.Before(end) && !w.dead; w.now = w.now.Add(20 * time.Second) {
		said := proto.CloneOf(w.d)
		said.DecidedAt, said.AsOf = timestamppb.New(w.now), timestamppb.New(w.now)
		w.p.decide(said)
		if err := w.p.tick(w.t.Context()); err != nil && !errors.Is(err, errCrash) {
			w.t.Fatal(err)
		}
	}
}

// broad is a managed policy that grants all of S3.
func (w *awsWorld) broad() *string {
	made, err := w.root.CreatePolicy(w.t.Context(), &iam.CreatePolicyInput{PolicyName: new("broad"),
		PolicyDocument: new(`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}`)})
	w.do(made, err)
	return made.Policy.Arn
}

// key of a user with a broad managed policy.
func (w *awsWorld) key() (check func()) {
	ctx, user := w.t.Context(), new("agent")
	w.do(w.root.CreateUser(ctx, &iam.CreateUserInput{UserName: user}))
	made, err := w.root.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: user})
	w.do(made, err)
	w.do(w.root.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: user, PolicyArn: w.broad()}))
	w.decide("access_key/"+*made.AccessKey.AccessKeyId, "arn:aws:iam::123456789012:user/agent", nil)
	return func() {
		list, err := w.root.ListAccessKeys(ctx, &iam.ListAccessKeysInput{UserName: user})
		w.do(list, err)
		if len(list.AccessKeyMetadata) != 1 || list.AccessKeyMetadata[0].Status != types.StatusTypeInactive {
			w.t.Errorf("the keys are %+v", list.AccessKeyMetadata)
		}
		if n := w.proxy.Count("UpdateAccessKey"); n != 1 {
			w.t.Errorf("deactivated %d times", n)
		}
		inline, err := w.root.ListUserPolicies(ctx, &iam.ListUserPoliciesInput{UserName: user})
		w.do(inline, err)
		attached, err := w.root.ListAttachedUserPolicies(ctx, &iam.ListAttachedUserPoliciesInput{UserName: user})
		w.do(attached, err)
		if fmt.Sprint(inline.PolicyNames) != "[leastwise-scope]" || len(attached.AttachedPolicies) != 0 {
			w.t.Errorf("inline %v, attached %+v", inline.PolicyNames, attached.AttachedPolicies)
		}
	}
}

// session of a role with a broad managed and a broad inline policy.
func (w *awsWorld) session() (check func()) {
	ctx, role := w.t.Context(), new("agent")
	trust := `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}`
	made, err := w.root.CreateRole(ctx, &iam.CreateRoleInput{RoleName: role, AssumeRolePolicyDocument: &trust})
	w.do(made, err)
	w.do(w.root.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: role, PolicyArn: w.broad()}))
	w.do(w.root.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: role, PolicyName: new("own"),
		PolicyDocument: new(`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}}`)}))
	client := sts.New(sts.Options{Region: "us-east-1", BaseEndpoint: &w.endpoint, Credentials: credentials.NewStaticCredentialsProvider("AKIAROOT000000000000", "set-up", "")})
	out, err := client.AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: made.Role.Arn, RoleSessionName: new("run-1")})
	w.do(out, err)
	w.decide("session/"+*out.Credentials.AccessKeyId, *made.Role.Arn, map[string]string{"session_issuer": *made.Role.Arn, "session_name": "run-1"})
	return func() {
		denies, err := w.root.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: role, PolicyName: new(aws.DenyPolicy)})
		w.do(denies, err)
		if n := strings.Count(*denies.PolicyDocument, "Revoked"); n != 1 || !strings.Contains(*denies.PolicyDocument, *out.Credentials.AccessKeyId) {
			w.t.Errorf("%d denies: %s", n, *denies.PolicyDocument)
		}
		inline, err := w.root.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: role})
		w.do(inline, err)
		attached, err := w.root.ListAttachedRolePolicies(ctx, &iam.ListAttachedRolePoliciesInput{RoleName: role})
		w.do(attached, err)
		if len(inline.PolicyNames) != 2 || len(attached.AttachedPolicies) != 0 {
			w.t.Errorf("inline %v, attached %+v", inline.PolicyNames, attached.AttachedPolicies)
		}
	}
}

func (w *awsWorld) decide(credential, principal string, labels map[string]string) {
	w.d = violating()
	w.d.Credential = "cloudtrail/default/" + credential
	sub := w.d.Subject
	sub.Source, sub.Type, sub.Labels = "cloudtrail", strings.Split(credential, "/")[0], labels
	sub.Principal = "cloudtrail/default/principal/" + principal
	sub.IssuedAt, sub.ExpiresAt = timestamppb.New(w.now), timestamppb.New(w.now.Add(12*time.Hour))
	w.d.Proposal.Rules = []*pb.Rule{{Resource: "*", Capabilities: []string{"s3:GetObject", "s3:ListBucket"}}}
}

// The process dies at 20 moments between the intent and the last result: before
// a request is sent, after it was done and before its answer is heard, and
// before an entry is durable. What it was about happens once in effect, and
// ends verified.
func TestMotoDyingBetweenIntentAndResultIsOnceInEffectAndVerified(t *testing.T) {
	endpoint, stop, err := mototest.Launch()
	if errors.Is(err, mototest.ErrNotSet) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	rng := rand.New(rand.NewPCG(seed(t), 2))
	for kind, make := range map[string]func(*awsWorld) func(){"access key": (*awsWorld).key, "session": (*awsWorld).session} {
		t.Run(kind, func(t *testing.T) {
			whole := newAWSWorld(t, endpoint, -1)
			check := make(whole)
			whole.start()
			whole.run(3 * time.Hour)
			whole.end()
			check()
			if whole.moment < 10 {
				t.Fatalf("only %d moments are between the intent and the end", whole.moment)
			}
			for range 20 {
				kill := rng.IntN(whole.moment)
				t.Run(fmt.Sprintf("moment %d of %d", kill, whole.moment), func(t *testing.T) {
					w := newAWSWorld(t, endpoint, kill)
					check := make(w)
					w.start()
					w.run(3 * time.Hour)
					if !w.dead {
						t.Fatal("it did not die")
					}
					w.kill = -1
					w.start()
					w.run(3 * time.Hour)
					w.end()
					check()
				})
			}
		})
	}
}

func (w *awsWorld) end() {
	w.t.Helper()
	s := w.journal[len(w.journal)-1]
	if s.State != closed || s.Proof == "" || s.GetReissue().GetPolicyName() != aws.ScopePolicy {
		w.t.Errorf("it ends in %v", s)
	}
	var last *pb.LadderState
	for i, s := range w.journal {
		if err := checkEntry(last, s); err != nil {
			w.t.Errorf("journal entry %d: %v\n%v", i, err, s)
		}
		last = s
	}
}
