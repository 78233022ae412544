package aws

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/leastwise/leastwise/enforcer/target"
)

// DenyPolicy is the inline policy in which all denies of a role's sessions
// stand.
const DenyPolicy = "leastwise-revoked-sessions"

// longest is how long a role's session can last: MaxSessionDuration is 12 hours
// at most (https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_update-role-settings.html).
const longest = 12 * time.Hour

// deny takes everything from the sessions of a role that were issued before a
// time: those of one name (aws:userid is ROLE-ID:NAME), else of one source
// identity, else all.
type deny struct {
	id     string // of the key that it was made for
	before time.Time
	userID string
	source string
}

const sidPrefix = "Revoked"

type denyStatement struct {
	Sid       string
	Effect    string
	Action    string
	Resource  string
	Condition struct {
		DateLessThan map[string]string
		StringEquals map[string]string `json:",omitempty"`
	}
}

const (
	keyIssued = "aws:TokenIssueTime"
	keyUserID = "aws:userid"
	keySource = "aws:SourceIdentity"
)

func (d deny) raw() json.RawMessage {
	s := denyStatement{Sid: sidPrefix + d.id, Effect: "Deny", Action: "*", Resource: "*"}
	s.Condition.DateLessThan = map[string]string{keyIssued: stamp(d.before)}
	switch {
	case d.userID != "":
		s.Condition.StringEquals = map[string]string{keyUserID: d.userID}
	case d.source != "":
		s.Condition.StringEquals = map[string]string{keySource: d.source}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // texts alone
	return bytes.TrimSpace(b.Bytes())
}

// parseDeny reads a statement if it is exactly of the form that raw writes:
// one that somebody edited may no longer deny.
func parseDeny(raw json.RawMessage) (deny, bool) {
	var s denyStatement
	if strict(raw, &s) != nil || s.Effect != "Deny" || s.Action != "*" || s.Resource != "*" {
		return deny{}, false
	}
	id, ok := strings.CutPrefix(s.Sid, sidPrefix)
	at, err := time.Parse(time.RFC3339, s.Condition.DateLessThan[keyIssued])
	if !ok || err != nil || len(s.Condition.DateLessThan) != 1 || len(s.Condition.StringEquals) > 1 {
		return deny{}, false
	}
	d := deny{id: id, before: at, userID: s.Condition.StringEquals[keyUserID], source: s.Condition.StringEquals[keySource]}
	if len(s.Condition.StringEquals) == 1 && d.userID == "" && d.source == "" {
		return deny{}, false
	}
	return d, true
}

// within tells whether everything that d denies e denies, too.
func (d deny) within(e deny) bool {
	return !d.before.After(e.before) && (e.userID == "" && e.source == "" || e.userID == d.userID && e.source == d.source)
}

// hits tells whether a session of the role is denied. A name or source identity
// that is not known may be the one.
func (d deny) hits(userID, source string, issued time.Time) bool {
	if !issued.IsZero() && !issued.Before(d.before) {
		return false
	}
	return (d.userID == "" || userID == "" || d.userID == userID) && (d.source == "" || source == "" || d.source == source)
}

// denies of one role: the statements of DenyPolicy, some of which somebody
// else may have written.
type denies struct{ doc document }

func sidOf(raw json.RawMessage) string {
	var s struct{ Sid string }
	_ = json.Unmarshal(raw, &s) // no Sid is none of ours
	return s.Sid
}

func (l *denies) index(sid string) int {
	return slices.IndexFunc(l.doc.Statements, func(raw json.RawMessage) bool { return sidOf(raw) == sid })
}

// own gives the deny that was made for a key, if it stands as it was written.
func (l *denies) own(id string) (deny, bool) {
	if i := l.index(sidPrefix + id); i >= 0 {
		return parseDeny(l.doc.Statements[i])
	}
	return deny{}, false
}

// covering gives a deny that takes everything from what want would.
func (l *denies) covering(want deny) (deny, bool) {
	if d, ok := l.own(want.id); ok && want.within(d) {
		return d, true
	}
	for _, raw := range l.doc.Statements {
		if d, ok := parseDeny(raw); ok && want.within(d) {
			return d, true
		}
	}
	return deny{}, false
}

// add puts a deny in, in place of an older one for the same key.
func (l *denies) add(d deny) {
	if old, ok := l.own(d.id); ok && d.within(old) {
		return
	}
	l.put(sidPrefix+d.id, d.raw())
}

func (l *denies) put(sid string, raw json.RawMessage) {
	if i := l.index(sid); i >= 0 {
		l.doc.Statements[i] = raw
		return
	}
	l.doc.Statements = append(l.doc.Statements, raw)
}

func (l *denies) remove(sid string) {
	l.doc.Statements = slices.DeleteFunc(l.doc.Statements, func(raw json.RawMessage) bool { return sidOf(raw) == sid })
}

// prune takes out denies whose sessions have all expired.
func (l *denies) prune(now time.Time) {
	l.doc.Statements = slices.DeleteFunc(l.doc.Statements, func(raw json.RawMessage) bool {
		d, ok := parseDeny(raw)
		return ok && d.before.Add(longest).Before(now)
	})
}

// collapse takes out denies that others include. Nothing more is denied by it
// and nothing less; only giving back one session alone may be lost, so it is
// done when there is no more room.
func (l *denies) collapse() {
	var kept []json.RawMessage
	for i, raw := range l.doc.Statements {
		d, ok := parseDeny(raw)
		included := ok && slices.ContainsFunc(slices.Concat(kept, l.doc.Statements[i+1:]), func(other json.RawMessage) bool {
			e, ok := parseDeny(other)
			return ok && d.within(e)
		})
		if !included {
			kept = append(kept, raw)
		}
	}
	l.doc.Statements = kept
}

func (l *denies) clone() *denies {
	c := *l
	c.doc.Statements = slices.Clone(l.doc.Statements)
	return &c
}

func (l *denies) equal(other *denies) bool {
	return slices.EqualFunc(l.doc.Statements, other.doc.Statements, func(a, b json.RawMessage) bool { return same(string(a), string(b)) })
}

// recent are denies written or taken away within the last minute, by Sid: IAM
// may answer with what stood there before.
type recent map[string]written

type written struct {
	at  time.Time
	raw json.RawMessage // nil: taken away
}

const recently = time.Minute

// denies of a role as IAM has them; none if there is no policy, or no role.
func (t *Target) denies(ctx context.Context, role string) (*denies, error) {
	s := step{"iam:GetRolePolicy", "role/" + role, "read the denies of the role's sessions"}
	name := DenyPolicy
	out, err := call(ctx, t, s, t.aws.iam.GetRolePolicy, &iam.GetRolePolicyInput{RoleName: &role, PolicyName: &name})
	if gone(err) {
		return &denies{}, nil
	}
	if err != nil {
		return nil, err
	}
	doc, err := parseDocument(str(out.PolicyDocument))
	if err != nil {
		return nil, impossible(s.words, fmt.Errorf("policy %s of role %s was changed by somebody: %w", DenyPolicy, role, err))
	}
	return &denies{doc}, nil
}

// changeDenies reads, changes, writes and reads again. Somebody else's change
// in between is met by doing it once more on top of theirs.
func (t *Target) changeDenies(ctx context.Context, role, words string, change func(*denies)) error {
	defer t.roles.lock(role)()
	for range 3 {
		before, err := t.denies(ctx, role)
		if err != nil {
			return err
		}
		after := before.clone()
		t.remember(role, after)
		change(after)
		if after.equal(before) {
			return nil
		}
		after.prune(t.now())
		if size(after.doc.text()) > roleLimit {
			after.collapse()
		}
		if err := t.writeDenies(ctx, role, words, after); err != nil {
			return err
		}
		t.note(role, before, after)
		now, err := t.denies(ctx, role)
		if err != nil {
			return err
		}
		// What stood there before is an old reading: Verify will tell.
		if now.equal(after) || now.equal(before) {
			return nil
		}
	}
	return &target.Error{Op: words, Err: fmt.Errorf("policy %s of role %s is being changed by others", DenyPolicy, role)}
}

func (t *Target) writeDenies(ctx context.Context, role, words string, l *denies) error {
	name := DenyPolicy
	if len(l.doc.Statements) == 0 {
		_, err := call(ctx, t, step{"iam:DeleteRolePolicy", "role/" + role, words}, t.aws.iam.DeleteRolePolicy,
			&iam.DeleteRolePolicyInput{RoleName: &role, PolicyName: &name})
		if gone(err) {
			return nil
		}
		return err
	}
	text := l.doc.text()
	full := fmt.Errorf("no room for one more deny in role %s: its inline policies may hold %d characters; move its other inline policies into managed ones, or revoke all its older sessions by hand (IAM console, Revoke sessions)", role, roleLimit)
	if size(text) > roleLimit {
		return impossible(words, full)
	}
	_, err := call(ctx, t, step{"iam:PutRolePolicy", "role/" + role, words}, t.aws.iam.PutRolePolicy,
		&iam.PutRolePolicyInput{RoleName: &role, PolicyName: &name, PolicyDocument: &text})
	if says(err, "LimitExceeded") {
		return impossible(words, errors.Join(full, err))
	}
	return err
}

// remember puts into a reading what was written lately and is not in it.
func (t *Target) remember(role string, l *denies) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.wrote[role], func(_ string, w written) bool { return t.now().Sub(w.at) > recently })
	for _, sid := range slices.Sorted(maps.Keys(t.wrote[role])) {
		if w := t.wrote[role][sid]; w.raw == nil {
			l.remove(sid)
		} else {
			l.put(sid, w.raw)
		}
	}
}

// note what was written and what was taken away.
func (t *Target) note(role string, before, after *denies) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.wrote[role] == nil {
		t.wrote[role] = recent{}
	}
	for _, l := range []*denies{before, after} {
		for _, raw := range l.doc.Statements {
			if _, ok := parseDeny(raw); !ok {
				continue
			}
			w := written{at: t.now()}
			if sid := sidOf(raw); after.index(sid) >= 0 {
				w.raw = after.doc.Statements[after.index(sid)]
			}
			if i := before.index(sidOf(raw)); i < 0 || w.raw == nil || !same(string(before.doc.Statements[i]), string(w.raw)) {
				t.wrote[role][sidOf(raw)] = w
			}
		}
	}
}
