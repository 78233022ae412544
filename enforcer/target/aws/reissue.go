package aws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/leastwise/leastwise/enforcer/target"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// ScopePolicy is the inline policy that holds what observed use justifies.
const ScopePolicy = "leastwise-scope"

// previous is what Rollback puts back, as JSON in Reissue.previous.
type previous struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	// ID does not change; a role made anew under the same name has another.
	ID string `json:"id"`
	// Inline policies by name, as they were written. Managed policies are named:
	// they stay what they are.
	Inline   map[string]string `json:"inline"`
	Attached []string          `json:"attached"`
}

// maxPrevious bounds what the journal has to keep.
const maxPrevious = 16 << 10

// holderOf gives the role or user whose policies a credential has.
func (t *Target) holderOf(d *pb.Decision) (h holder, arn, refused string) {
	sub := d.GetSubject()
	h.t = t
	key, err := schemas.ParseKey(sub.GetPrincipal())
	if err != nil || key.System != System || key.Instance != t.cfg.Instance || key.Type != "principal" {
		return h, "", "whose credential it is is not known as a role or user of AWS"
	}
	arn = key.ID
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[2] != "iam" {
		return h, "", "it is neither a role's nor a user's"
	}
	kind, rest, _ := strings.Cut(parts[5], "/")
	if h.kind, h.name = kind, rest[strings.LastIndexByte(rest, '/')+1:]; kind != "role" && kind != "user" || h.name == "" {
		return h, "", "it is neither a role's nor a user's"
	}
	return h, arn, ""
}

// Plan reads the policies of the credential's role or user and says what they
// would be narrowed to. It changes nothing.
func (t *Target) Plan(ctx context.Context, d *pb.Decision) (*pb.Reissue, string, error) {
	if !t.cfg.Narrow {
		return nil, "narrowing is off (enforcer.aws.narrow)", nil
	}
	h, arn, refused := t.holderOf(d)
	if refused != "" {
		return nil, refused, nil
	}
	me, err := t.whoami(ctx)
	if err != nil {
		return nil, "", err
	}
	if account := strings.Split(arn, ":")[4]; account != me.account {
		return nil, foreign(account, me.account), nil
	}
	id, path, bounded, err := h.look(ctx)
	if gone(err) {
		return nil, fmt.Sprintf("%s %s does not exist any more", h.kind, h.name), nil
	}
	if err != nil {
		return nil, "", err
	}
	switch why := kept(path); {
	case why != "":
		return nil, h.name + ": " + why, nil
	case me.is(h):
		return nil, "it is the " + h.kind + " by which the enforcer itself acts", nil
	}
	p, refused, err := t.proposal(ctx, h, arn, d)
	if refused != "" || err != nil {
		return nil, refused, err
	}
	list, refused := wants(p.Rules)
	if refused != "" {
		return nil, refused, nil
	}
	return t.planFor(ctx, h, id, bounded, p, list)
}

// proposal is what use justifies. A role's policies are those of all its
// sessions, and a user's those of all its keys: what one credential used says
// nothing of what the others need.
func (t *Target) proposal(ctx context.Context, h holder, arn string, d *pb.Decision) (p *pb.Proposal, refused string, err error) {
	p = d.GetProposal()
	if t.history.Used != nil {
		if p, err = t.history.Used(ctx, arn); err != nil {
			return nil, "", &target.Error{Op: "ask what the " + h.kind + " used", Err: err}
		}
	} else if others, err := t.shared(ctx, h, d.GetCredential()); others != "" || err != nil {
		return nil, others, err
	}
	switch {
	case p.GetIncomplete() != "":
		return nil, "the proposed scope is incomplete: " + p.GetIncomplete(), nil
	case len(p.GetRules()) == 0:
		return nil, "no use was observed, so no scope is justified", nil
	}
	return p, "", nil
}

// shared says who else has the same policies, as far as AWS tells; empty:
// nobody.
func (t *Target) shared(ctx context.Context, h holder, credential string) (string, error) {
	if h.kind == "role" {
		return "what other sessions of the role used is unknown: " + ErrNoHistory.Error(), nil
	}
	keys, err := t.keysOf(ctx, h.name)
	if err != nil {
		return "", err
	}
	for _, k := range keys {
		if t.key(str(k.AccessKeyId)) != credential {
			return fmt.Sprintf("user %s has another key, and what that used is unknown: %v", h.name, ErrNoHistory), nil
		}
	}
	return "", nil
}

func (t *Target) planFor(ctx context.Context, h holder, id string, bounded bool, p *pb.Proposal, list []want) (*pb.Reissue, string, error) {
	if h.kind == "user" {
		groups, err := h.groups(ctx)
		if err != nil {
			return nil, "", err
		}
		if len(groups) > 0 {
			return nil, fmt.Sprintf("user %s has permissions from groups (%s), which others have, too: narrow those by hand", h.name, strings.Join(groups, ", ")), nil
		}
	}
	was, statements, used, refused, err := t.standing(ctx, h)
	if refused != "" || err != nil {
		return nil, refused, err
	}
	was.ID = id
	n := narrow(statements, list)
	text := n.doc.text()
	raw, err := json.Marshal(was)
	switch {
	case err != nil:
		return nil, "", impossible("note the policies that stand there now", err)
	case n.actions == 0:
		return nil, fmt.Sprintf("nothing of what was used is granted by policies of %s %s itself", h.kind, h.name), nil
	case len(raw) > maxPrevious:
		return nil, fmt.Sprintf("its inline policies are too long to be kept for a rollback (%d bytes of %d)", len(raw), maxPrevious), nil
	case used+size(text) > h.limit():
		return nil, fmt.Sprintf("no room: while old and new stand side by side, inline policies would have %d characters, and AWS takes %d for a %s", used+size(text), h.limit(), h.kind), nil
	}
	plan := &pb.Reissue{PolicyName: ScopePolicy, PolicyText: text, Previous: string(raw), GrantedBefore: p.Granted, GrantedAfter: uint32(n.actions)}
	if !bounded {
		plan.Former = former(statements)
	}
	plan.Narrowed = fmt.Sprintf("%s %s keeps %d actions in inline policy %s, in place of %s; no new key is made", h.kind, h.name, n.actions, ScopePolicy, was.names())
	if p.GetObservedFrom() != nil && p.GetObservedUntil() != nil {
		plan.Narrowed = fmt.Sprintf("observed %s to %s; ", stamp(p.ObservedFrom.AsTime()), stamp(p.ObservedUntil.AsTime())) + plan.Narrowed
	}
	if len(plan.Former) == 0 {
		plan.Narrowed += "; denials that follow from it can not be told apart: a permissions boundary, or no action was allowed on everything"
	}
	if len(n.elsewhere) > 0 {
		plan.Narrowed += "; granted elsewhere, such as on the resource, and left there: " + few(n.elsewhere)
	}
	return plan, "", nil
}

func (p previous) names() string {
	names := slices.Sorted(maps.Keys(p.Inline))
	for _, arn := range p.Attached {
		names = append(names, arn[strings.LastIndexByte(arn, '/')+1:])
	}
	if len(names) == 0 {
		return "nothing"
	}
	return few(names)
}

func few(names []string) string {
	const most = 8
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// standing reads what is granted now, and how much room it takes.
func (t *Target) standing(ctx context.Context, h holder) (was previous, statements []statement, used int, refused string, err error) {
	was = previous{Kind: h.kind, Name: h.name, Inline: map[string]string{}}
	take := func(name, text string) {
		doc, err := parseDocument(text)
		if err == nil {
			var list []statement
			list, err = doc.read()
			statements = append(statements, list...)
		}
		if err != nil && refused == "" {
			refused = fmt.Sprintf("policy %s can not be read: %v", name, err)
		}
	}
	names, err := h.inline(ctx)
	if err != nil {
		return was, nil, 0, "", err
	}
	for _, name := range names {
		text, err := h.get(ctx, name)
		if err != nil {
			return was, nil, 0, "", err
		}
		if name == DenyPolicy {
			used += max(size(text), h.limit()/4) // it will grow
			continue
		}
		if name != ScopePolicy { // that one is written over
			used += size(text)
		}
		was.Inline[name] = text
		take(name, text)
	}
	if was.Attached, err = h.attached(ctx); err != nil {
		return was, nil, 0, "", err
	}
	for _, arn := range was.Attached {
		text, err := t.managed(ctx, arn)
		if err != nil {
			return was, nil, 0, "", err
		}
		take(arn, text)
	}
	return was, statements, used, refused, nil
}

// Reissue puts the narrow policy in, then takes the former ones away. At each
// point of a crash the role or user may do no more than before and no less
// than it used; doing it again goes on from there.
func (t *Target) Reissue(ctx context.Context, _ string, _ *pb.Decision, plan *pb.Reissue) (*pb.Reissue, error) {
	const op = "narrow the policies"
	if plan.GetPolicyName() != ScopePolicy || plan.GetPolicyText() == "" {
		return nil, impossible(op, errors.New("the plan names no policy of Leastwise"))
	}
	h, was, err := t.from(ctx, op, plan)
	if err != nil {
		return nil, err
	}
	// All is looked at before anything is done.
	for name, text := range was.Inline {
		now, err := h.get(ctx, name)
		if err != nil && !gone(err) {
			return nil, err
		}
		if err == nil && !same(now, text) && (name != ScopePolicy || !same(now, plan.PolicyText)) {
			return nil, impossible(op, fmt.Errorf("inline policy %s of %s %s was changed since the plan was made", name, h.kind, h.name))
		}
	}
	if err := h.put(ctx, ScopePolicy, plan.PolicyText); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(was.Inline)) {
		if name == ScopePolicy {
			continue
		}
		if err := h.remove(ctx, name); err != nil {
			return nil, err
		}
	}
	for _, arn := range was.Attached {
		if err := h.detach(ctx, arn); err != nil {
			return nil, err
		}
	}
	return proto.CloneOf(plan), nil
}

// from finds the role or user of a plan, and refuses if it is another now.
func (t *Target) from(ctx context.Context, op string, plan *pb.Reissue) (holder, previous, error) {
	var was previous
	if err := strict([]byte(plan.GetPrevious()), &was); err != nil || was.Kind != "role" && was.Kind != "user" || was.Name == "" {
		return holder{}, was, impossible(op, errors.New("the plan does not say what stood there before"))
	}
	h := holder{t, was.Kind, was.Name}
	id, path, _, err := h.look(ctx)
	switch {
	case gone(err):
		return h, was, impossible(op, fmt.Errorf("%s %s does not exist any more", h.kind, h.name))
	case err != nil:
		return h, was, err
	case id != was.ID:
		return h, was, impossible(op, fmt.Errorf("%s %s was deleted and made anew", h.kind, h.name))
	}
	return h, was, t.mayChange(ctx, op, h, path)
}

// Rollback puts the former policies back exactly, then takes the narrow one
// away, unless somebody has changed them since. Doing it again is harmless.
func (t *Target) Rollback(ctx context.Context, done *pb.Reissue) error {
	const op = "roll back"
	h, was, err := t.from(ctx, op, done)
	if err != nil {
		return err
	}
	for name, text := range was.Inline {
		now, err := h.get(ctx, name)
		if err != nil && !gone(err) {
			return err
		}
		if err == nil && !same(now, text) && (name != ScopePolicy || !same(now, done.PolicyText)) {
			return impossible(op, fmt.Errorf("inline policy %s of %s %s was written by somebody since: decide by hand", name, h.kind, h.name))
		}
	}
	_, had := was.Inline[ScopePolicy]
	if !had {
		now, err := h.get(ctx, ScopePolicy)
		if err != nil && !gone(err) {
			return err
		}
		if err == nil && !same(now, done.PolicyText) {
			return impossible(op, fmt.Errorf("inline policy %s of %s %s was changed by somebody since: decide by hand", ScopePolicy, h.kind, h.name))
		}
	}
	for _, arn := range was.Attached {
		if err := h.attach(ctx, arn); gone(err) {
			return impossible(op, fmt.Errorf("managed policy %s was deleted since: decide by hand", arn))
		} else if err != nil {
			return err
		}
	}
	// The narrow policy's own name comes last: what it replaced is back by then.
	for _, name := range slices.Sorted(maps.Keys(was.Inline)) {
		if name == ScopePolicy {
			continue
		}
		if err := h.put(ctx, name, was.Inline[name]); err != nil {
			return err
		}
	}
	if had {
		return h.put(ctx, ScopePolicy, was.Inline[ScopePolicy])
	}
	return h.remove(ctx, ScopePolicy)
}
