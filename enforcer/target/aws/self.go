package aws

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/leastwise/leastwise/enforcer/target"
	"github.com/leastwise/leastwise/schemas"
)

// self is by whom the enforcer acts.
type self struct {
	account string
	arn     string
	// kind is role, user or root; name the role's or user's.
	kind, name string
}

// whoami asks AWS once for each key it acts with.
func (t *Target) whoami(ctx context.Context) (self, error) {
	signer, err := t.signer(ctx)
	if err != nil {
		return self{}, err
	}
	t.mu.Lock()
	me, ok := t.selves[signer]
	t.mu.Unlock()
	if ok {
		return me, nil
	}
	out, err := call(ctx, t, step{"sts:GetCallerIdentity", "*", "ask who the enforcer is"}, t.aws.sts.GetCallerIdentity, &sts.GetCallerIdentityInput{})
	if err != nil {
		return self{}, err
	}
	me = parseSelf(str(out.Arn), str(out.Account))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.selves[signer] = me
	return me, nil
}

func parseSelf(arn, account string) self {
	me := self{account: account, arn: arn}
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 {
		return me
	}
	kind, rest, _ := strings.Cut(parts[5], "/")
	switch kind {
	case "assumed-role":
		me.kind = "role"
		me.name, _, _ = strings.Cut(rest, "/")
	case "user":
		me.kind, me.name = "user", rest[strings.LastIndexByte(rest, '/')+1:]
	default:
		me.kind = kind
	}
	return me
}

// is tells whether the enforcer acts by this user or role.
func (s self) is(h holder) bool {
	return s.kind == h.kind && strings.EqualFold(s.name, h.name)
}

// signer notes the ids of the keys that the enforcer acts with, and gives the
// one that signs now. A session's id changes when it is renewed: the older
// ones are the enforcer's still.
func (t *Target) signer(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	id := ""
	for _, s := range t.aws.signers {
		c, err := s.Retrieve(ctx)
		if err != nil {
			return "", &target.Error{Op: "find the enforcer's own credentials", Err: t.silence(ctx, 0)}
		}
		id = c.AccessKeyID
		t.mu.Lock()
		if !slices.Contains(t.own, id) {
			t.own = append(t.own, id)
		}
		t.mu.Unlock()
	}
	return id, nil
}

// owns tells whether the enforcer acts, or has acted, with the key.
func (t *Target) owns(ctx context.Context, id string) (bool, error) {
	if _, err := t.signer(ctx); err != nil {
		return false, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Contains(t.own, id), nil
}

// Protected are the own keys, as CloudTrail's collector names them.
func (t *Target) Protected(ctx context.Context) ([]string, error) {
	if _, err := t.whoami(ctx); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	keys := make([]string, len(t.own))
	for i, id := range t.own {
		keys[i] = t.key(id)
	}
	return keys, nil
}

// key of a credential, as collectors write it.
func (t *Target) key(id string) string {
	kind := "access_key"
	if strings.HasPrefix(id, "ASIA") {
		kind = "session"
	}
	return schemas.Key{System: System, Instance: t.cfg.Instance, Type: kind, ID: id}.String()
}
