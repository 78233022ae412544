package aws

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/leastwise/leastwise/enforcer/target"
)

// session of a role: temporary credentials.
type session struct {
	t  *Target
	id string
	c  target.Credential
}

// margin is by how much the time of the log's record and aws:TokenIssueTime of
// one session may differ.
const margin = time.Minute

var (
	anyRole     = regexp.MustCompile(`^arn:aws[a-z-]*:iam::(\d{12}):role(/[!-~]*)?/([\w+=,.@-]{1,64})$`)
	sessionName = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)
)

// roleSeen is what is known of a session's role.
type roleSeen struct {
	name string
	// unknown says why nothing can be told; gone why no session of it works.
	unknown, gone string
	role          *types.Role
}

// ask finds the session's role, which the log names: AWS tells nothing of a
// session by its key.
func (s *session) ask(ctx context.Context) (roleSeen, error) {
	arn := s.c.Labels["session_issuer"]
	m := anyRole.FindStringSubmatch(arn)
	if m == nil {
		return roleSeen{unknown: "the log names no role of it: only sessions of roles can be denied one by one"}, nil
	}
	me, err := s.t.whoami(ctx)
	if err != nil {
		return roleSeen{}, err
	}
	r := roleSeen{name: m[3]}
	if m[1] != me.account {
		r.unknown = foreign(m[1], me.account)
		return r, nil
	}
	if end := s.ends(); !end.IsZero() && !end.After(s.t.now()) {
		r.gone = "it expired at " + stamp(end)
		return r, nil
	}
	out, err := call(ctx, s.t, step{"iam:GetRole", "role/" + r.name, "look at the session's role"}, s.t.aws.iam.GetRole, &iam.GetRoleInput{RoleName: &r.name})
	if gone(err) {
		r.gone = "iam:GetRole: there is no role " + r.name + ", and so no session of it works"
		return r, nil
	}
	if err != nil {
		return r, err
	}
	if out.Role == nil || str(out.Role.RoleId) == "" {
		return r, &target.Error{Op: "look at the session's role", Err: errors.New("IAM's answer names no role")}
	}
	r.role = out.Role
	if was, _, ok := strings.Cut(s.c.Found, ":"); ok && was != str(r.role.RoleId) {
		r.gone = fmt.Sprintf("iam:GetRole: role %s was deleted and made anew, and no session of the former one works", r.name)
	}
	return r, nil
}

// ends is when the session is over at the latest; zero: nobody knows.
func (s *session) ends() time.Time {
	switch {
	case !s.c.ExpiresAt.IsZero():
		return s.c.ExpiresAt
	case !s.c.IssuedAt.IsZero():
		return s.c.IssuedAt.Add(longest)
	default:
		return time.Time{}
	}
}

// deny is the narrowest that surely hits the session.
func (s *session) deny(r roleSeen) deny {
	d := deny{id: s.id, before: s.t.now().UTC().Truncate(time.Second)}
	if !s.c.IssuedAt.IsZero() {
		d.before = s.c.IssuedAt.UTC().Add(margin).Truncate(time.Second)
	}
	name, source := s.c.Labels["session_name"], s.c.Labels["source_identity"]
	switch {
	case sessionName.MatchString(name):
		d.userID = str(r.role.RoleId) + ":" + name
	case sessionName.MatchString(source):
		d.source = source
	}
	return d
}

// denied tells whether a deny of the role takes everything from the session.
func (s *session) denied(ctx context.Context, r roleSeen) (deny, bool, error) {
	l, err := s.t.denies(ctx, r.name)
	if err != nil {
		return deny{}, false, err
	}
	want := s.deny(r)
	if s.c.IssuedAt.IsZero() {
		// When it was issued nobody knows, but it was before its own deny.
		own, ok := l.own(s.id)
		want.before = own.before
		return own, ok && want.within(own), nil
	}
	d, ok := l.covering(want)
	return d, ok, nil
}

func (s *session) lookup(ctx context.Context) (target.Sighting, error) {
	r, err := s.ask(ctx)
	switch {
	case err != nil:
		return target.Sighting{}, err
	case r.unknown != "":
		return target.Sighting{Detail: r.unknown}, nil
	case r.gone != "":
		return target.Sighting{Status: target.Gone, Found: s.c.Found, Detail: r.gone}, nil
	}
	d, ok, err := s.denied(ctx, r)
	if err != nil {
		return target.Sighting{}, err
	}
	found := str(r.role.RoleId) + ":" + s.c.Labels["session_name"]
	if ok {
		return target.Sighting{Status: target.Gone, Found: found, Detail: denial(r, d)}, nil
	}
	end := "at a time that the log does not tell"
	if at := s.ends(); !at.IsZero() {
		end = "until " + stamp(at) + " at the latest"
	}
	return target.Sighting{Status: target.Alive, Found: found, Restore: "role/" + r.name, Detail: fmt.Sprintf("a session of role %s, nothing denies it; it ends by itself %s", r.name, end)}, nil
}

func denial(r roleSeen, d deny) string {
	which := "all its sessions"
	switch {
	case d.userID != "":
		which = "sessions " + d.userID
	case d.source != "":
		which = "sessions of source identity " + d.source
	}
	return fmt.Sprintf("iam:GetRolePolicy %s of role %s: denies %s issued before %s everything", DenyPolicy, r.name, which, stamp(d.before))
}

// verify proves that the deny stands at IAM. The session's key is accepted
// until it expires, and may do nothing.
func (s *session) verify(ctx context.Context) (target.Proof, error) {
	r, err := s.ask(ctx)
	switch {
	case err != nil:
		return target.Proof{}, err
	case r.unknown != "":
		return target.Proof{Text: r.unknown}, nil
	case r.gone != "":
		return target.Proof{Gone: true, Text: r.gone}, nil
	}
	d, ok, err := s.denied(ctx, r)
	if err != nil || !ok {
		return target.Proof{Text: fmt.Sprintf("iam:GetRolePolicy %s of role %s: does not deny it", DenyPolicy, r.name)}, err
	}
	return target.Proof{Gone: true, Text: denial(r, d) + slow}, nil
}

// kept says why a role can not be changed; empty: it can.
func kept(path string) string {
	switch {
	case strings.HasPrefix(path, "/aws-service-role/"):
		return "it is a service-linked role: AWS lets nobody change it, and deletes it with what needs it"
	case strings.HasPrefix(path, "/aws-reserved/"):
		return "IAM Identity Center keeps it: revoke the session there"
	}
	return ""
}

func (s *session) revoke(ctx context.Context) error {
	const op = "deny the session everything"
	r, err := s.ask(ctx)
	switch {
	case err != nil:
		return err
	case r.unknown != "":
		return impossible(op, errors.New(r.unknown))
	case r.gone != "":
		return nil
	}
	if err := s.t.mayChange(ctx, op, holder{t: s.t, kind: "role", name: r.name}, str(r.role.Path)); err != nil {
		return err
	}
	return s.t.changeDenies(ctx, r.name, op, func(l *denies) { l.add(s.deny(r)) })
}

// mayChange refuses roles that AWS keeps, and what the enforcer acts by.
func (t *Target) mayChange(ctx context.Context, op string, h holder, path string) error {
	if why := kept(path); why != "" {
		return impossible(op, errors.New(h.name+": "+why))
	}
	me, err := t.whoami(ctx)
	if err != nil {
		return err
	}
	if me.is(h) {
		return impossible(op, fmt.Errorf("%w: %s %s", target.ErrOwn, h.kind, h.name))
	}
	return nil
}

func (s *session) restore(ctx context.Context) error {
	const op = "take the session's deny away"
	r, err := s.ask(ctx)
	switch {
	case err != nil:
		return err
	case r.unknown != "":
		return impossible(op, errors.New(r.unknown))
	case r.gone != "":
		return impossible(op, fmt.Errorf("%s: its owner has to assume the role again", r.gone))
	}
	if err := s.t.changeDenies(ctx, r.name, op, func(l *denies) { l.remove(sidPrefix + s.id) }); err != nil {
		return err
	}
	d, ok, err := s.denied(ctx, r)
	if err == nil && ok && d.id != s.id {
		return impossible(op, fmt.Errorf("it is hit by the revocation of session %s, too: give that one back, or assume the role again", d.id))
	}
	return err
}

// collateral names the sessions of the role that the deny would hit besides.
// AWS lists no sessions: they are those that the events tell of.
func (s *session) collateral(ctx context.Context) ([]target.Hit, error) {
	const op = "tell which other sessions it hits"
	r, err := s.ask(ctx)
	switch {
	case err != nil:
		return nil, err
	case r.unknown != "":
		return nil, impossible(op, errors.New(r.unknown))
	case r.gone != "":
		return nil, nil
	case s.t.history.Sessions == nil:
		return nil, impossible(op, fmt.Errorf("unknown: AWS lists no sessions, and %w", ErrNoHistory))
	}
	d := s.deny(r)
	others, err := s.t.history.Sessions(ctx, s.c.Labels["session_issuer"], d.before)
	if err != nil {
		return nil, &target.Error{Op: op, Err: err}
	}
	hits := []target.Hit{}
	for _, o := range others {
		userID := ""
		if o.Name != "" {
			userID = str(r.role.RoleId) + ":" + o.Name
		}
		over := !o.ExpiresAt.IsZero() && !o.ExpiresAt.After(s.t.now())
		if o.Key == s.c.Key || over || !d.hits(userID, o.SourceIdentity, o.IssuedAt) {
			continue
		}
		hits = append(hits, target.Hit{Key: o.Key, Text: o.text(r.name)})
	}
	return hits, nil
}

func (o Session) text(role string) string {
	text := "session"
	if o.Name != "" {
		text += " " + o.Name
	}
	text += " of role " + role
	if o.Owner != "" {
		text += ", owned by " + o.Owner
	}
	if !o.IssuedAt.IsZero() {
		text += ", since " + stamp(o.IssuedAt)
	}
	return text
}
