package aws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/leastwise/leastwise/enforcer/target"
	"github.com/leastwise/leastwise/enforcer/target/aws/mototest"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// moto runs once for all tests of the package, and ends with them.
var moto struct {
	once     sync.Once
	endpoint string
	stop     func()
	err      error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if moto.stop != nil {
		moto.stop()
	}
	os.Exit(code)
}

// account is an empty account at moto, behind a proxy, with a user that the
// enforcer acts as.
type account struct {
	t       *testing.T
	root    *iam.Client
	sts     *sts.Client
	proxy   *mototest.Proxy
	history History
	n       int
	// sessions that were made, as events would tell of them.
	sessions []Session
}

func newAccount(t *testing.T) *account {
	t.Helper()
	moto.once.Do(func() { moto.endpoint, moto.stop, moto.err = mototest.Launch() })
	if errors.Is(moto.err, mototest.ErrNotSet) {
		t.Skip(moto.err)
	}
	if moto.err != nil {
		t.Fatal(moto.err)
	}
	mototest.Reset(t, moto.endpoint)
	cfg := sdk.Config{Region: "us-east-1", BaseEndpoint: &moto.endpoint, Credentials: credentials.NewStaticCredentialsProvider("AKIAROOT000000000000", "set-up", "")}
	a := &account{t: t, root: iam.NewFromConfig(cfg), sts: sts.NewFromConfig(cfg), proxy: mototest.NewProxy(t, moto.endpoint)}
	must(a.root.CreateUser(t.Context(), &iam.CreateUserInput{UserName: p("the-enforcer")}))
	made := must(a.root.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: p("the-enforcer")}))
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": *made.AccessKey.AccessKeyId, "AWS_SECRET_ACCESS_KEY": *made.AccessKey.SecretAccessKey, "AWS_SESSION_TOKEN": "",
		"AWS_PROFILE": "", "AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent", "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	a.history.Sessions = func(_ context.Context, role string, before time.Time) (list []Session, err error) {
		for _, s := range a.sessions {
			if s.IssuedAt.Before(before) {
				list = append(list, s)
			}
		}
		return list, nil
	}
	return a
}

func p[T any](v T) *T { return &v }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (a *account) open(c Config) *Target {
	a.t.Helper()
	c.Endpoint = a.proxy.URL
	t, err := Open(c, a.history, nil, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	return t
}

// key makes a user with a key.
func (a *account) key() (target.Credential, func() bool) {
	a.n++
	user := fmt.Sprintf("agent-%d", a.n)
	must(a.root.CreateUser(a.t.Context(), &iam.CreateUserInput{UserName: &user, Path: p("/agents/")}))
	made := must(a.root.CreateAccessKey(a.t.Context(), &iam.CreateAccessKeyInput{UserName: &user})).AccessKey
	return target.Credential{Key: "cloudtrail/default/access_key/" + *made.AccessKeyId}, func() bool {
		return a.status(user, *made.AccessKeyId) == types.StatusTypeActive
	}
}

func (a *account) status(user, id string) types.StatusType {
	for _, k := range must(a.root.ListAccessKeys(a.t.Context(), &iam.ListAccessKeysInput{UserName: &user})).AccessKeyMetadata {
		if *k.AccessKeyId == id {
			return k.Status
		}
	}
	return ""
}

const trust = `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}`

// role makes a role if it is not there yet, and gives its ARN.
func (a *account) role(name string) string {
	a.t.Helper()
	if out, err := a.root.GetRole(a.t.Context(), &iam.GetRoleInput{RoleName: &name}); err == nil {
		return *out.Role.Arn
	}
	return *must(a.root.CreateRole(a.t.Context(), &iam.CreateRoleInput{RoleName: &name, Path: p("/agents/"), AssumeRolePolicyDocument: p(trust)})).Role.Arn
}

// session makes a session of role agent; works says whether a deny of the role
// hits it, by AWS's rules: moto does not look at conditions.
func (a *account) session(name string) (target.Credential, func() bool) {
	a.t.Helper()
	arn := a.role("agent")
	out := must(a.sts.AssumeRole(a.t.Context(), &sts.AssumeRoleInput{RoleArn: &arn, RoleSessionName: &name}))
	c := target.Credential{Key: "cloudtrail/default/session/" + *out.Credentials.AccessKeyId, IssuedAt: time.Now().Truncate(time.Second), ExpiresAt: *out.Credentials.Expiration,
		Labels: map[string]string{"session_issuer": arn, "session_name": name}}
	a.sessions = append(a.sessions, Session{Key: c.Key, Name: name, IssuedAt: c.IssuedAt, ExpiresAt: c.ExpiresAt, Owner: "data"})
	return c, func() bool { return !a.denied(*out.AssumedRoleUser.AssumedRoleId, "", c.IssuedAt) }
}

// denied evaluates the denies of role agent as AWS does, by code of its own.
func (a *account) denied(userID, source string, issued time.Time) bool {
	for _, text := range a.inline("role", "agent") {
		var doc struct {
			Statement []struct {
				Effect, Action, Resource string
				Condition                map[string]map[string]string
			}
		}
		if err := json.Unmarshal([]byte(text), &doc); err != nil {
			continue // another policy, with lists
		}
		for _, s := range doc.Statement {
			hit := s.Effect == "Deny" && s.Action == "*" && s.Resource == "*"
			for operator, keys := range s.Condition {
				for key, value := range keys {
					switch operator + " " + key {
					case "DateLessThan aws:TokenIssueTime":
						hit = hit && issued.Before(must(time.Parse(time.RFC3339, value)))
					case "StringEquals aws:userid":
						hit = hit && value == userID
					case "StringEquals aws:SourceIdentity":
						hit = hit && value == source
					default:
						a.t.Errorf("a condition that this test does not know: %s %s", operator, key)
					}
				}
			}
			if hit {
				return true
			}
		}
	}
	return false
}

// inline policies of a role or user, by name.
func (a *account) inline(kind, name string) map[string]string {
	a.t.Helper()
	all := map[string]string{}
	if kind == "user" {
		for _, n := range must(a.root.ListUserPolicies(a.t.Context(), &iam.ListUserPoliciesInput{UserName: &name})).PolicyNames {
			all[n] = plain(*must(a.root.GetUserPolicy(a.t.Context(), &iam.GetUserPolicyInput{UserName: &name, PolicyName: &n})).PolicyDocument)
		}
		return all
	}
	for _, n := range must(a.root.ListRolePolicies(a.t.Context(), &iam.ListRolePoliciesInput{RoleName: &name})).PolicyNames {
		all[n] = plain(*must(a.root.GetRolePolicy(a.t.Context(), &iam.GetRolePolicyInput{RoleName: &name, PolicyName: &n})).PolicyDocument)
	}
	return all
}

func usedBy(d *pb.Decision) func(context.Context, string) (*pb.Proposal, error) {
	return func(context.Context, string) (*pb.Proposal, error) { return d.Proposal, nil }
}
