package aws

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/leastwise/leastwise/enforcer/target"
)

// accessKey of an IAM user.
type accessKey struct {
	t  *Target
	id string
	c  target.Credential
}

// seen is what IAM says of a key.
type seen struct {
	user string
	// status is Active, Inactive, or empty: IAM has no such key.
	status types.StatusType
	made   time.Time
	// unknown says why IAM can tell nothing of it; else empty.
	unknown string
	// text names the question and the answer.
	text string
}

// ask finds the key's user and its status. A key that was found once is asked
// for by its user: IAM's answer about a key that is gone, and one that is
// another account's, is the same.
func (k *accessKey) ask(ctx context.Context) (seen, error) {
	me, err := k.t.whoami(ctx)
	if err != nil {
		return seen{}, err
	}
	if account := k.c.Labels["account"]; account != "" && account != me.account {
		return seen{unknown: foreign(account, me.account)}, nil
	}
	user := k.user()
	if user == "" {
		out, err := call(ctx, k.t, step{"iam:GetAccessKeyLastUsed", "user/*", "find the key's user"}, k.t.aws.iam.GetAccessKeyLastUsed,
			&iam.GetAccessKeyLastUsedInput{AccessKeyId: &k.id})
		if gone(err) {
			return k.absent(ctx, me)
		}
		if err != nil {
			return seen{}, err
		}
		user = str(out.UserName)
	}
	if user == "" || strings.HasPrefix(user, "<") {
		return seen{}, impossible("find the key's user", errors.New("it is the root user's key: only the root user can deactivate it"))
	}
	keys, err := k.t.keysOf(ctx, user)
	if gone(err) {
		return seen{user: user, text: "iam:ListAccessKeys: there is no user " + user}, nil
	}
	if err != nil {
		return seen{}, err
	}
	for _, key := range keys {
		if str(key.AccessKeyId) == k.id {
			s := seen{user: user, status: key.Status, text: fmt.Sprintf("iam:ListAccessKeys of user %s: %s", user, strings.ToLower(string(key.Status)))}
			if key.CreateDate != nil {
				s.made = *key.CreateDate
			}
			return s, nil
		}
	}
	return seen{user: user, text: fmt.Sprintf("iam:ListAccessKeys of user %s: no such key", user)}, nil
}

// user that was found when the key lived (Found is USER/ID).
func (k *accessKey) user() string {
	for _, name := range []string{k.c.Found, k.c.Restore} {
		if user, ok := strings.CutSuffix(name, "/"+k.id); ok {
			return user
		}
	}
	return ""
}

// absent: IAM has no such key. That is proof only if it was this account's: an
// id tells its account
// (https://docs.aws.amazon.com/STS/latest/APIReference/API_GetAccessKeyInfo.html).
func (k *accessKey) absent(ctx context.Context, me self) (seen, error) {
	out, err := call(ctx, k.t, step{"sts:GetAccessKeyInfo", "*", "ask whose account the key is of"}, k.t.aws.sts.GetAccessKeyInfo,
		&sts.GetAccessKeyInfoInput{AccessKeyId: &k.id})
	if err != nil {
		return seen{}, err
	}
	if account := str(out.Account); account != me.account {
		return seen{unknown: foreign(account, me.account)}, nil
	}
	return seen{text: "iam:GetAccessKeyLastUsed: no such key in account " + me.account}, nil
}

func foreign(account, own string) string {
	return fmt.Sprintf("it is of account %s, and this target acts in %s", clean(account, 20), own)
}

func (k *accessKey) lookup(ctx context.Context) (target.Sighting, error) {
	s, err := k.ask(ctx)
	switch {
	case err != nil:
		return target.Sighting{}, err
	case s.unknown != "":
		return target.Sighting{Detail: s.unknown}, nil
	case s.status == types.StatusTypeActive:
		name := s.user + "/" + k.id
		return target.Sighting{Status: target.Alive, Found: name, Restore: name, Detail: "active key of user " + s.user + ", made " + stamp(s.made)}, nil
	default:
		return target.Sighting{Status: target.Gone, Found: k.c.Found, Detail: s.text}, nil
	}
}

func (k *accessKey) verify(ctx context.Context) (target.Proof, error) {
	s, err := k.ask(ctx)
	switch {
	case err != nil:
		return target.Proof{}, err
	case s.unknown != "":
		return target.Proof{Text: s.unknown}, nil
	case s.status == types.StatusTypeActive:
		return target.Proof{Text: s.text}, nil
	}
	return target.Proof{Gone: true, Text: s.text + slow}, nil
}

func (k *accessKey) revoke(ctx context.Context) error {
	return k.set(ctx, "deactivate the key", types.StatusTypeInactive)
}

func (k *accessKey) set(ctx context.Context, op string, status types.StatusType) error {
	s, err := k.ask(ctx)
	switch enable := status == types.StatusTypeActive; {
	case err != nil:
		return err
	case s.unknown != "":
		return impossible(op, errors.New(s.unknown))
	case s.status == "" && enable:
		return impossible(op, fmt.Errorf("it was deleted (%s): its owner has to make a new one", s.text))
	case s.status == "" || s.status == status:
		return nil
	}
	_, err = call(ctx, k.t, step{"iam:UpdateAccessKey", "user/" + s.user, op}, k.t.aws.iam.UpdateAccessKey,
		&iam.UpdateAccessKeyInput{UserName: &s.user, AccessKeyId: &k.id, Status: status})
	if gone(err) && status == types.StatusTypeInactive {
		return nil
	}
	return err
}

func (k *accessKey) restore(ctx context.Context) error {
	return k.set(ctx, "enable the key again", types.StatusTypeActive)
}

// collateral is empty: a key is one credential, whoever holds copies of it.
func (k *accessKey) collateral(context.Context) ([]target.Hit, error) { return nil, nil }

// finish deletes the key if it is inactive and was not used since. Between the
// question and the act somebody could enable it: IAM has no delete on a
// condition.
func (k *accessKey) finish(ctx context.Context) error {
	const op = "delete the key"
	s, err := k.ask(ctx)
	switch {
	case err != nil:
		return err
	case s.unknown != "":
		return impossible(op, errors.New(s.unknown))
	case s.status == "":
		return nil
	case s.status != types.StatusTypeInactive:
		return impossible(op, errors.New("somebody enabled it again: it is active"))
	}
	used, err := k.used(ctx)
	if err != nil {
		return err
	}
	// Requests that were on their way, and AWS's notes of them, may be late.
	if at := k.c.RevokedAt; !at.IsZero() && used.After(at.Add(time.Hour)) {
		return impossible(op, fmt.Errorf("it was used at %s, after it was deactivated: somebody had enabled it again", stamp(used)))
	}
	_, err = call(ctx, k.t, step{"iam:DeleteAccessKey", "user/" + s.user, op}, k.t.aws.iam.DeleteAccessKey,
		&iam.DeleteAccessKeyInput{UserName: &s.user, AccessKeyId: &k.id})
	if gone(err) {
		return nil
	}
	return err
}

// used is when the key was last used; zero: never, or gone.
func (k *accessKey) used(ctx context.Context) (time.Time, error) {
	out, err := call(ctx, k.t, step{"iam:GetAccessKeyLastUsed", "user/*", "ask when the key was last used"}, k.t.aws.iam.GetAccessKeyLastUsed,
		&iam.GetAccessKeyLastUsedInput{AccessKeyId: &k.id})
	switch {
	case gone(err):
		return time.Time{}, nil
	case err != nil:
		return time.Time{}, err
	case out.AccessKeyLastUsed == nil || out.AccessKeyLastUsed.LastUsedDate == nil:
		return time.Time{}, nil
	}
	return *out.AccessKeyLastUsed.LastUsedDate, nil
}
