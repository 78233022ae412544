package aws

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/leastwise/leastwise/enforcer/target"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// System is the first part of the keys of AWS's credentials: they are named by
// CloudTrail's collector.
const System = "cloudtrail"

// Session of a role, as the events tell of it.
type Session struct {
	// Key of the credential.
	Key string
	// Name and SourceIdentity of the session; empty: the events do not tell.
	Name           string
	SourceIdentity string
	// IssuedAt and ExpiresAt; zero: the events do not tell.
	IssuedAt  time.Time
	ExpiresAt time.Time
	// Owner is who answers for it, for a reader; may be empty.
	Owner string
}

// History is what events tell and AWS does not: AWS lists no sessions.
type History struct {
	// Sessions gives those of a role, by its ARN, that were issued before a time
	// and are not known to have ended. Without it what else a revocation hits is
	// unknown.
	Sessions func(ctx context.Context, role string, before time.Time) ([]Session, error)
	// Used gives what all credentials of a role or user, by its ARN, used
	// together. Without it nothing is narrowed that others use, too.
	Used func(ctx context.Context, principal string) (*pb.Proposal, error)
}

// ErrNoHistory says that nobody tells the target what events would tell.
var ErrNoHistory = errors.New("the enforcer has no access to what the events tell")

// Target is one AWS account.
type Target struct {
	cfg     Config
	history History
	log     *slog.Logger
	now     func() time.Time
	aws     *clients
	roles   keyed // held while a role's denies are changed

	mu     sync.Mutex        // guards what follows
	own    []string          // ids of keys that the enforcer acts, or has acted, with
	selves map[string]self   // by id of the key
	wrote  map[string]recent // by role: denies written lately
}

// Open checks the configuration and connects to nothing. log and now may be
// nil.
func Open(c Config, history History, log *slog.Logger, now func() time.Time) (*Target, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if now == nil {
		now = time.Now
	}
	c = c.withDefaults()
	aws, err := connect(context.Background(), c)
	if err != nil {
		return nil, err
	}
	return &Target{cfg: c, history: history, log: log, now: now, aws: aws, selves: map[string]self{}, wrote: map[string]recent{}}, nil
}

// kind of a credential at AWS.
type kind interface {
	lookup(ctx context.Context) (target.Sighting, error)
	revoke(ctx context.Context) error
	verify(ctx context.Context) (target.Proof, error)
	restore(ctx context.Context) error
	collateral(ctx context.Context) ([]target.Hit, error)
}

var keyID = regexp.MustCompile(`^[A-Z0-9]{16,128}$`)

// of gives the credential's kind.
func (t *Target) of(c target.Credential) (kind, string, error) {
	key, err := schemas.ParseKey(c.Key)
	switch op := "read the credential's key"; {
	case err != nil:
		return nil, "", impossible(op, err)
	case key.System != System || key.Instance != t.cfg.Instance:
		return nil, "", impossible(op, fmt.Errorf("%s is not of %s/%s", c.Key, System, t.cfg.Instance))
	case !keyID.MatchString(key.ID):
		return nil, "", impossible(op, errors.New("its id is none of an AWS key"))
	}
	switch key.Type {
	case "access_key":
		return &accessKey{t: t, id: key.ID, c: c}, key.ID, nil
	case "session":
		return &session{t: t, id: key.ID, c: c}, key.ID, nil
	default:
		return nil, "", impossible("revoke a "+key.Type, target.ErrUnsupported)
	}
}

// Lookup tells whether the credential lives. It changes nothing.
func (t *Target) Lookup(ctx context.Context, c target.Credential) (target.Sighting, error) {
	k, id, err := t.of(c)
	if err != nil {
		return target.Sighting{}, err
	}
	own, err := t.owns(ctx, id)
	if err != nil {
		return target.Sighting{}, err
	}
	if own {
		me, err := t.whoami(ctx) // AWS accepts it: it signed the question
		if err != nil {
			return target.Sighting{}, err
		}
		return target.Sighting{Status: target.Alive, Found: id, Detail: "the enforcer itself acts with it, as " + me.arn}, nil
	}
	return k.lookup(ctx)
}

// Revoke deactivates a key, or denies a session everything.
func (t *Target) Revoke(ctx context.Context, c target.Credential) error {
	k, err := t.notOwn(ctx, c, "revoke it")
	if err != nil {
		return err
	}
	return k.revoke(ctx)
}

// notOwn gives the credential's kind unless it is the enforcer's own.
func (t *Target) notOwn(ctx context.Context, c target.Credential, op string) (kind, error) {
	k, id, err := t.of(c)
	if err != nil {
		return nil, err
	}
	own, err := t.owns(ctx, id)
	if err != nil {
		return nil, err
	}
	if own {
		return nil, impossible(op, target.ErrOwn)
	}
	return k, nil
}

// Verify asks IAM for its word that the credential is of no use.
func (t *Target) Verify(ctx context.Context, c target.Credential) (target.Proof, error) {
	k, _, err := t.of(c)
	if err != nil {
		return target.Proof{}, err
	}
	return k.verify(ctx)
}

// slow is AWS's word on how soon a change holds
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_control-access_disable-perms.html).
const slow = "; AWS says that it may take a few minutes to take effect everywhere, and names no bound"

// Collateral names the other sessions that a revocation would hit. A
// deactivated key hits nobody else: sessions that were got with it live on.
func (t *Target) Collateral(ctx context.Context, c target.Credential) ([]target.Hit, error) {
	k, _, err := t.of(c)
	if err != nil {
		return nil, err
	}
	return k.collateral(ctx)
}

// Restore enables a key again, or takes a session's deny away.
func (t *Target) Restore(ctx context.Context, c target.Credential) error {
	k, err := t.notOwn(ctx, c, "give it back")
	if err != nil {
		return err
	}
	return k.restore(ctx)
}

// FinishAfter is when a deactivated key is to be deleted. Sessions end by
// themselves.
func (t *Target) FinishAfter(c target.Credential) time.Duration {
	if k, _, err := t.of(c); err == nil && !t.cfg.KeepKeys {
		if _, ok := k.(*accessKey); ok {
			return t.cfg.DeleteAfter
		}
	}
	return 0
}

// Finish deletes a deactivated key.
func (t *Target) Finish(ctx context.Context, c target.Credential) error {
	k, err := t.notOwn(ctx, c, "delete it")
	if err != nil {
		return err
	}
	key, ok := k.(*accessKey)
	if !ok || t.cfg.KeepKeys {
		return impossible("delete it", target.ErrUnsupported)
	}
	return key.finish(ctx)
}

// Live counts the active access keys of all users. IAM tells them user by user:
// with many thousands of users set enforcer.live_credentials instead. Sessions
// are not counted: AWS lists none.
func (t *Target) Live(ctx context.Context) (int, error) {
	n := 0
	for in := (&iam.ListUsersInput{}); ; {
		page, err := call(ctx, t, step{"iam:ListUsers", "*", "list users"}, t.aws.iam.ListUsers, in)
		if err != nil {
			return 0, err
		}
		for _, u := range page.Users {
			keys, err := t.keysOf(ctx, str(u.UserName))
			if err != nil && !gone(err) {
				return 0, err
			}
			for _, k := range keys {
				if k.Status == types.StatusTypeActive {
					n++
				}
			}
		}
		if in.Marker = page.Marker; !page.IsTruncated || str(page.Marker) == "" {
			return n, nil
		}
	}
}

func (t *Target) keysOf(ctx context.Context, user string) (keys []types.AccessKeyMetadata, err error) {
	for in := (&iam.ListAccessKeysInput{UserName: &user}); ; {
		page, err := call(ctx, t, step{"iam:ListAccessKeys", "user/" + user, "list a user's keys"}, t.aws.iam.ListAccessKeys, in)
		if err != nil {
			return nil, err
		}
		keys = append(keys, page.AccessKeyMetadata...)
		if in.Marker = page.Marker; !page.IsTruncated || str(page.Marker) == "" {
			return keys, nil
		}
	}
}

// keyed are locks by name.
type keyed struct {
	mu    sync.Mutex
	locks map[string]*sync.Mutex
}

func (k *keyed) lock(name string) (unlock func()) {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = map[string]*sync.Mutex{}
	}
	l := k.locks[name]
	if l == nil {
		l = &sync.Mutex{}
		k.locks[name] = l
	}
	k.mu.Unlock()
	l.Lock()
	return l.Unlock
}
