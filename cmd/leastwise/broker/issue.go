package broker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/cmd/leastwise/admit"
	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/enforcer/exception"
	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/rego"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Wish is what an agent asks for: a token with policies or rules, or a certificate.
type Wish struct {
	Policies []string `json:"policies,omitempty"`
	Rules    []Rule   `json:"rules,omitempty"`
	// Role and Name of a certificate.
	Role     string `json:"role,omitempty"`
	Name     string `json:"name,omitempty"`
	Lifetime string `json:"lifetime"`
	Reason   string `json:"reason"`
}

// Answer to a wish. WrappingToken is given once and kept nowhere.
type Answer struct {
	Request string `json:"request"`
	Status  string `json:"status"` // issued, waiting or refused
	Detail  string `json:"detail,omitempty"`

	WrappingToken string     `json:"wrapping_token,omitempty"`
	WrapSeconds   int        `json:"wrap_seconds,omitempty"`
	Accessor      string     `json:"accessor,omitempty"`
	Policies      []string   `json:"policies,omitempty"`
	Ends          *time.Time `json:"ends,omitempty"`

	// Exceptions that somebody else has to approve, by policy.
	Exceptions map[string]string   `json:"exceptions,omitempty"`
	Admission  *contract.Admission `json:"admission,omitempty"`
}

// name of a policy, a role or a certificate: it becomes part of a path at Vault.
var name = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// maxLife of anything the broker issues; who needs longer needs no broker.
const maxLife = 90 * 24 * time.Hour

// life checks a wish and gives its lifetime.
func (w *Wish) life() (time.Duration, error) {
	life, err := rego.ParseDuration(w.Lifetime)
	switch {
	case err != nil || life < time.Second || life > maxLife:
		return 0, fmt.Errorf("lifetime %q: expected a duration of 1s to %s, such as 30m", w.Lifetime, "90d")
	case strings.TrimSpace(w.Reason) == "" || len(w.Reason) > 2000:
		return 0, errors.New("reason: expected why you need it, in at most 2000 bytes: the approver decides on it")
	case (len(w.Policies)+len(w.Rules) > 0) == (w.Role != ""):
		return 0, errors.New("expected policies or rules for a token, or role and name for a certificate")
	case w.Role != "" && (!name.MatchString(w.Role) || w.Name == "" || len(w.Name) > 253):
		return 0, errors.New("role, name: expected a role of the PKI and the name that the certificate shall have")
	case len(w.Policies)+len(w.Rules) > 50:
		return 0, errors.New("more than 50 policies and rules")
	}
	for _, p := range w.Policies {
		if !name.MatchString(p) || p == "root" {
			return 0, errors.New("policies: expected names of Vault's policies; root is never issued")
		}
	}
	for _, r := range w.Rules {
		if r.Path == "" || len(r.Capabilities) == 0 || strings.ContainsAny(r.Path, "+{}\"\\\r\n$%") || strings.Contains(strings.TrimSuffix(r.Path, "*"), "*") {
			return 0, errors.New("rules: expected a path with at most one * at its end, and capabilities")
		}
	}
	return life.Truncate(time.Second), nil
}

// Rules are the policies in force, Catalog the catalog.
type Rules interface {
	Rules() *rego.Set
	Catalog() *catalog.Catalog
}

// outcome is an answer with its HTTP status.
type outcome struct {
	code int
	Answer
}

// issue answers one wish of a caller. An error is for the log: who asks learns that the broker can not answer now.
func (b *Broker) issue(ctx context.Context, who Caller, key string, w *Wish) (outcome, error) {
	sum := sha256.Sum256([]byte(who.Principal + "\x00" + key))
	id := "iss-" + hex.EncodeToString(sum[:12])
	refuse := func(code int, format string, args ...any) (outcome, error) {
		return outcome{code, Answer{Request: id, Status: refused, Detail: fmt.Sprintf(format, args...)}}, nil
	}
	life, err := w.life()
	if err != nil {
		return refuse(http.StatusUnprocessableEntity, "%v", err)
	}
	if !b.take(id) {
		return refuse(http.StatusConflict, "this request is being answered")
	}
	defer b.leave(id)
	text, err := json.Marshal(w)
	if err != nil {
		return outcome{}, err
	}
	digest := sha256.Sum256(text)
	e := entry{ID: id, Caller: who.Name, Wish: w, Digest: hex.EncodeToString(digest[:])}
	if before, ok := b.journal.get(id); ok {
		switch {
		case before.Digest != e.Digest:
			return refuse(http.StatusUnprocessableEntity, "this Idempotency-Key was used for another wish; take a new one")
		case before.State == done:
			return outcome{http.StatusConflict, Answer{Request: id, Status: done, Accessor: before.Accessor, Ends: &before.Ends,
				Detail: "issued already; it was handed out once. Who did not get it asks under a new key"}}, nil
		case before.State == begun:
			return refuse(http.StatusConflict, "whether it was issued is not known, since the broker or Vault failed at it; ask under a new key")
		}
	}
	known := b.rules.Catalog()
	m := catalog.Match{}
	if known != nil {
		m = known.Resolve(catalog.Query{Principal: who.Principal, Source: "vault", Type: kindOf(w), Labels: who.Labels, Policies: w.Policies})
	}
	if m.Agent == nil || m.Owner == nil {
		out, _ := refuse(http.StatusForbidden, "%s is nobody's agent in the catalog: somebody has to answer for it first", who.Name)
		return out, b.note(e, refused, out.Detail)
	}
	e.Agent, e.Owner = m.Agent.ID, m.Owner.ID
	if lacks := b.cfg.lacks(e.Agent, w); lacks != "" {
		out, _ := refuse(http.StatusForbidden, "nobody offers agent %s %s; who runs the broker may add an offer", e.Agent, lacks)
		return out, b.note(e, refused, out.Detail)
	}
	return b.judge(ctx, who, w, life, e)
}

func kindOf(w *Wish) string {
	if w.Role != "" {
		return "certificate"
	}
	return "token"
}

// ticket marks the exceptions of one request; they count for no other.
func ticket(id string) string { return "issuance request " + id }

// judge asks the policies, and issues or waits.
func (b *Broker) judge(ctx context.Context, who Caller, w *Wish, life time.Duration, e entry) (outcome, error) {
	now := b.now()
	all, err := exception.List(ctx, b.log)
	if err != nil {
		return outcome{}, err
	}
	own := slices.DeleteFunc(slices.Clone(all), func(x *pb.Exception) bool { return x.Ticket != ticket(e.ID) })
	all = slices.DeleteFunc(all, func(x *pb.Exception) bool {
		return strings.HasPrefix(x.Ticket, ticket("")) && x.Ticket != ticket(e.ID)
	})
	request := &admit.Request{Principal: who.Principal, Labels: who.Labels, Type: kindOf(w), Source: "vault", Instance: b.cfg.Vault.Instance, Lifetime: &life,
		Scope: admit.Scope{Given: w.Role == "", Policies: slices.Sorted(slices.Values(w.Policies))}}
	for _, r := range w.Rules {
		request.Scope.Vault = append(request.Scope.Vault, &pb.Rule{Resource: r.Path, Capabilities: r.Capabilities})
	}
	grants := map[string]*pb.Grant{}
	for _, p := range request.Scope.Policies {
		g, err := b.vault.grant(ctx, p)
		if err != nil {
			return outcome{}, err
		}
		if g == nil {
			out := outcome{http.StatusUnprocessableEntity, Answer{Request: e.ID, Status: refused, Detail: "Vault has no policy " + p}}
			return out, b.note(e, refused, out.Detail)
		}
		grants[schemas.Key{System: "vault", Instance: b.cfg.Vault.Instance, Type: "policy", ID: p}.String()] = g
	}
	answer, err := admit.Admit(ctx, request, admit.Against{Rules: b.rules.Rules(), Catalog: b.rules.Catalog(), Grant: func(id string) *pb.Grant { return grants[id] },
		Exceptions: all, LookedUp: true, Now: now})
	if err != nil {
		return outcome{}, err
	}
	if !answer.Allowed {
		return b.ask(ctx, who, w, life, e, answer, own)
	}
	for _, f := range answer.Justify {
		if f.Until.Before(now.Add(life)) {
			out := outcome{http.StatusForbidden, Answer{Request: e.ID, Status: refused, Admission: answer,
				Detail: fmt.Sprintf("exception %s ends at %s, before what you ask for would: ask for less, or again under a new key", *f.Exception, f.Until.UTC().Format(time.RFC3339))}}
			return out, b.note(e, refused, out.Detail)
		}
		e.Exceptions = append(e.Exceptions, *f.Exception)
	}
	return b.make(ctx, w, life, e, answer)
}

// ask writes a request for an exception of each policy that it stands past, once.
func (b *Broker) ask(ctx context.Context, who Caller, w *Wish, life time.Duration, e entry, answer *contract.Admission, own []*pb.Exception) (outcome, error) {
	now := b.now()
	out := outcome{http.StatusAccepted, Answer{Request: e.ID, Status: waiting, Admission: answer, Exceptions: map[string]string{},
		Detail: "somebody else has to approve it first; then send the same request again, with the same Idempotency-Key"}}
	for _, f := range answer.Justify {
		if f.Exception != nil || out.Exceptions[f.Policy] != "" {
			continue
		}
		at := slices.IndexFunc(own, func(x *pb.Exception) bool { return x.PolicyId == f.Policy })
		if at >= 0 {
			x := own[at]
			if x.RevokedAt != nil || !x.Until.AsTime().After(now) {
				out = outcome{http.StatusForbidden, Answer{Request: e.ID, Status: refused, Admission: answer, Detail: "exception " + x.Id + " was refused or has ended" + ended(x) + ": ask under a new key"}}
				return out, b.note(e, refused, out.Detail)
			}
			out.Exceptions[f.Policy] = x.Id
			continue
		}
		limits := exception.Limits{}
		if p, ok := b.rules.Rules().Policy(f.Policy); ok {
			limits = exception.Limits{MaxDuration: p.Exception.MaxDuration, Approvers: p.Exception.Approvers}
		}
		lasts := b.cfg.ApproveWithin + life
		if limits.MaxDuration > 0 {
			lasts = min(lasts, limits.MaxDuration)
		}
		if lasts <= life {
			out = outcome{http.StatusForbidden, Answer{Request: e.ID, Status: refused, Admission: answer, Detail: fmt.Sprintf("policy %s lets no exception last longer than %s", f.Policy, limits.MaxDuration)}}
			return out, b.note(e, refused, out.Detail)
		}
		x, err := exception.Request(ctx, b.log, &pb.Exception{Identity: who.Principal, PolicyId: f.Policy, Ticket: ticket(e.ID), RequestedBy: who.Name, Issuance: asked(w, life, e, answer, f.Policy),
			Reason: fmt.Sprintf("%s (%s of agent %s for %s: %s)", strings.TrimSpace(w.Reason), answer.Type, e.Agent, answer.Lifetime, admit.Words(f)), Until: timestamppb.New(now.Add(lasts))}, limits, now)
		if err != nil {
			return outcome{}, err
		}
		out.Exceptions[f.Policy] = x.Id
	}
	for _, id := range out.Exceptions {
		e.Exceptions = append(e.Exceptions, id)
	}
	slices.Sort(e.Exceptions)
	return out, b.note(e, waiting, "")
}

// asked is what people decide on.
func asked(w *Wish, life time.Duration, e entry, answer *contract.Admission, policy string) *pb.Issuance {
	out := &pb.Issuance{Request: e.ID, Agent: e.Agent, Owner: e.Owner, Type: answer.Type, Policies: w.Policies, Role: w.Role, Name: w.Name,
		LifetimeSeconds: int64(life / time.Second), Reason: strings.TrimSpace(w.Reason)}
	for _, r := range w.Rules {
		out.Rules = append(out.Rules, &pb.Rule{Resource: r.Path, Capabilities: r.Capabilities})
	}
	for _, f := range answer.Justify {
		if f.Policy == policy {
			out.Objections = append(out.Objections, admit.Words(f))
		}
	}
	return out
}

// ended says who refused an exception and why, if anybody did.
func ended(x *pb.Exception) string {
	switch {
	case x.RevokedBy == "":
		return ""
	case x.RevokedWhy == "":
		return " (by " + x.RevokedBy + ")"
	}
	return " (by " + x.RevokedBy + ": " + x.RevokedWhy + ")"
}

// make issues. The journal knows before Vault does.
func (b *Broker) make(ctx context.Context, w *Wish, life time.Duration, e entry, answer *contract.Admission) (outcome, error) {
	if err := b.note(e, begun, ""); err != nil {
		return outcome{}, err
	}
	got, err := b.vaultMakes(ctx, w, life, &e)
	if err != nil {
		return outcome{}, errors.Join(err, b.note(e, begun, "Vault failed at it"))
	}
	e.Accessor, e.Ends = got.Accessor, got.Ends
	if err := b.note(e, done, ""); err != nil {
		return outcome{}, err // nobody gets what no record tells of; it ends by itself
	}
	if len(e.Exceptions) > 0 {
		b.tell(ctx, e)
	}
	return outcome{http.StatusOK, Answer{Request: e.ID, Status: done, WrappingToken: got.Wrapping, WrapSeconds: got.WrapTTL, Accessor: got.Accessor,
		Policies: got.Policies, Ends: &got.Ends, Admission: answer}}, nil
}

// tellWithin is how long the agent waits at most for what is only told to people.
const tellWithin = 5 * time.Second

// tell lets those who approved it see that it was issued. The journal is what counts: if Kafka does not answer, the log says so.
func (b *Broker) tell(ctx context.Context, e entry) {
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellWithin)
	defer cancel()
	err := exception.Issued(within, b.log, e.ID, e.Accessor, e.Ends, b.now())
	if err != nil && !errors.Is(err, exception.ErrNotFound) { // an exception that somebody else asked for is no request's
		b.logger.Error("it was issued, and who approved it is not told", "request", e.ID, "error", err)
	}
}

// vaultMakes asks Vault for what the wish says.
func (b *Broker) vaultMakes(ctx context.Context, w *Wish, life time.Duration, e *entry) (*issued, error) {
	if w.Role != "" {
		return b.vault.certificate(ctx, w, life, b.cfg.WrapTTL, b.now())
	}
	policies := slices.Clone(w.Policies)
	if len(w.Rules) > 0 {
		written, err := b.vault.write(ctx, e.Agent, w.Rules)
		if err != nil {
			return nil, err
		}
		policies = append(policies, written)
	}
	return b.vault.token(ctx, e.ID, e.Agent, policies, life, b.cfg.WrapTTL, b.now())
}

// note writes the journal and the log.
func (b *Broker) note(e entry, state, why string) error {
	e.State, e.Why, e.At = state, why, b.now().UTC()
	b.logger.Info("issuance", "request", e.ID, "state", state, "caller", e.Caller, "agent", e.Agent, "policies", e.Wish.Policies, "role", e.Wish.Role,
		"lifetime", e.Wish.Lifetime, "reason", e.Wish.Reason, "accessor", e.Accessor, "exceptions", e.Exceptions, "why", why)
	return b.journal.append(e)
}
