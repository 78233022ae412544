package admit

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/enforcer/exception"
	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/processor/scope"
	"github.com/leastwise/leastwise/processor/scope/gcp"
	"github.com/leastwise/leastwise/processor/scope/iam"
	"github.com/leastwise/leastwise/rego"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// The verdicts.
const (
	Allowed   = "allowed"
	Excepted  = "allowed by exception"
	Justified = "must be justified"
)

// Against is what a request is held against.
type Against struct {
	Rules   *rego.Set
	Catalog *catalog.Catalog // nil: nobody is known
	// Grant gives what is stored of a Vault policy, by its id, or nil; nil: nothing can be asked.
	Grant func(id string) *pb.Grant
	// GrantsWhy says why nothing can be asked.
	GrantsWhy string
	// Exceptions that are stored, valid or not.
	Exceptions []*pb.Exception
	// LookedUp: Exceptions are all there are; otherwise Why says why they are not.
	LookedUp bool
	Why      string
	Now      time.Time
}

// Admit answers for one request. It fails with rego.ErrEvaluation; nothing may be issued then. A named agent that the
// catalog does not have is ErrRequest.
func Admit(ctx context.Context, r *Request, a Against) (*contract.Admission, error) {
	sub, out, err := subject(r, a.Catalog)
	if err != nil {
		return nil, err
	}
	ask := rego.Request{Subject: sub, Lifetime: r.Lifetime, NeverExpires: r.NeverExpires}
	out.Lifetime = "unknown"
	switch {
	case r.NeverExpires:
		out.Lifetime = "never ends"
	case r.Lifetime != nil:
		out.Lifetime = rego.Format(rego.Lifetime, r.Lifetime.Seconds())
	}
	permissions, weight, missing := measure(r, a)
	if missing == "" {
		count := float64(permissions)
		ask.Complexity, ask.Weight = &count, &weight
		out.Permissions, out.Weight = &permissions, &weight
	} else {
		out.ScopeWhy = &missing
	}
	found, err := a.Rules.Admit(ctx, &ask)
	if err != nil {
		return nil, err
	}
	out.PoliciesRevision = a.Rules.Revision()
	if a.Catalog != nil {
		out.CatalogRevision = a.Catalog.Revision()
	}
	out.ExceptionsAsked = a.LookedUp
	if !a.LookedUp {
		out.ExceptionsWhy = &a.Why
	}
	x := &exception.Index{}
	for _, e := range a.Exceptions {
		x.Put(e)
	}
	out.Verdict = Allowed
	for _, f := range found.Justify {
		one := finding(a.Rules, f)
		if cover := x.Cover("", r.Principal, []string{f.PolicyID}, a.Now); r.Principal != "" && cover.All {
			one.Exception, one.Until = &cover.ID, &cover.Until
			if out.Verdict == Allowed {
				out.Verdict = Excepted
			}
		} else {
			out.Verdict = Justified
		}
		out.Justify = append(out.Justify, one)
	}
	for _, f := range found.Advise {
		out.Advise = append(out.Advise, finding(a.Rules, f))
	}
	out.Allowed = out.Verdict != Justified
	asked(out, a.Rules, &sub)
	unasked(out, a.Rules, &sub)
	return out, nil
}

// subject is what the policies' applies_to looks at, by the catalog.
func subject(r *Request, known *catalog.Catalog) (rego.Subject, *contract.Admission, error) {
	sub := rego.Subject{Type: r.Type, Source: r.Source, Principal: r.Principal, Labels: r.Labels, Policies: r.Scope.Policies}
	out := &contract.Admission{Type: r.Type, Source: r.Source, Instance: r.Instance, Principal: given(r.Principal),
		Justify: []contract.AdmissionFinding{}, Advise: []contract.AdmissionFinding{}, Asked: []contract.AdmissionAsked{}, Silent: []string{}, Notes: []string{}}
	if key, err := schemas.ParseKey(r.Principal); err == nil && key.Type == "spiffe_id" && r.Labels["spiffe_id"] == "" {
		sub.Labels = map[string]string{"spiffe_id": key.ID} // as SPIRE's own records say it
		for k, v := range r.Labels {
			sub.Labels[k] = v
		}
	}
	if known == nil {
		out.Notes = append(out.Notes, "no catalog was given: nobody is known to answer for it")
		return sub, out, nil
	}
	m := known.Resolve(catalog.Query{Principal: r.Principal, Source: sub.Source, Type: sub.Type, Labels: sub.Labels, Policies: sub.Policies})
	out.Conflict, out.Evidence = given(m.Conflict), given(m.Evidence)
	if r.Agent != "" {
		agent, ok := known.Agent(r.Agent)
		switch {
		case !ok:
			return sub, nil, fmt.Errorf("%w: key %q: no agent %q in the catalog", ErrRequest, "agent", r.Agent)
		case r.Principal != "" && m.Agent == nil && m.Conflict == "" && m.Owner == nil:
			out.Notes = append(out.Notes, "the catalog does not say that this principal is agent "+agent.ID+"'s: nobody is known to answer for it")
		case m.Conflict != "" || m.Agent != nil && m.Agent.ID != agent.ID || m.Agent == nil && m.Owner != nil && m.Owner != agent.Owner:
			// Who asks says one thing and the catalog another: nobody answers for it until they agree.
			if m.Conflict == "" {
				other := "the catalog gives principal and labels to another (" + m.Evidence + ") than agent " + agent.ID
				out.Conflict = &other
			}
			m.Agent, m.Owner, m.System = nil, nil, nil
		default:
			m.Agent, m.Owner, m.System = agent, agent.Owner, agent.System
			out.Evidence = given(agent.Where)
		}
	}
	if m.Agent != nil {
		sub.Agent, out.Agent = m.Agent.ID, given(m.Agent.ID)
	}
	if m.Owner != nil {
		sub.Owner, out.Owner = m.Owner.ID, given(m.Owner.ID)
	}
	if m.System != nil {
		out.System = given(m.System.ID)
	}
	return sub, out, nil
}

// identities are credentials that only say who somebody is, and grant nothing by themselves.
var identities = []string{"x509_svid", "jwt_svid", "certificate"}

// measure counts and weighs what is asked for, as the processor measures what is granted. missing says why it can not.
func measure(r *Request, a Against) (permissions int, weight float64, missing string) {
	s := r.Scope
	switch {
	case !s.Given && slices.Contains(identities, r.Type):
		return 0, 0, ""
	case !s.Given:
		return 0, 0, "the request does not say its scope"
	case s.Incomplete != "":
		return 0, 0, s.Incomplete
	case r.Source == "cloudtrail":
		f := iam.Evaluate(s.AWS).Figures()
		return f.Permissions, f.Weight, ""
	case r.Source == "gcpaudit":
		g, unknown := gcp.Evaluate(s.GCP, nil)
		if len(unknown) > 0 {
			return 0, 0, "no such predefined role: " + strings.Join(unknown, ", ")
		}
		f := g.Figures()
		return f.Permissions, f.Weight, ""
	}
	const own = "" // no policy has an empty name
	names := s.Policies
	if len(s.Vault) > 0 {
		names = append([]string{own}, names...)
	}
	if len(names) == 0 {
		return 0, 0, "" // a scope that says no policy and no rule grants nothing
	}
	sum := scope.Of(names, func(name string) *pb.Grant {
		switch {
		case name == own:
			return &pb.Grant{Rules: s.Vault}
		case name == "root":
			return &pb.Grant{Rules: []*pb.Rule{{Resource: "*", Capabilities: []string{"create", "delete", "list", "patch", "read", "subscribe", "sudo", "update"}}}}
		case a.Grant == nil:
			return nil
		}
		return a.Grant(schemas.Key{System: r.Source, Instance: r.Instance, Type: "policy", ID: name}.String())
	})
	if !sum.Known {
		if a.Grant == nil && a.GrantsWhy != "" {
			return 0, 0, sum.Why + " (" + a.GrantsWhy + ")"
		}
		return 0, 0, sum.Why
	}
	return sum.Permissions, sum.Weight, ""
}

func finding(rules *rego.Set, f rego.Finding) contract.AdmissionFinding {
	out := contract.AdmissionFinding{Policy: f.PolicyID, Reason: f.Reason, Metric: f.Metric.String(), Value: f.Value, Threshold: f.Threshold,
		Severity: f.Severity, Hint: f.Hint}
	if p, ok := rules.Policy(f.PolicyID); ok {
		out.Where = where(p)
		for _, t := range p.Metrics {
			if t.Metric == f.Metric && rego.Format(t.Metric, t.Value) == f.Threshold {
				out.Condition = strings.ReplaceAll(t.Condition.String(), "_", " ")
			}
		}
	}
	return out
}

func where(p *rego.Policy) string { return fmt.Sprintf("%s:%d", p.File, p.Line) }

// foreseeable are the metrics that issuance decides, as the bundle's admission.rego has them.
var foreseeable = []rego.Metric{rego.UnresolvedIdentity, rego.Lifetime, rego.CredentialAge, rego.ScopeComplexity, rego.ScopeWeight}

// asked says how each policy stands that applies, and names the others.
func asked(out *contract.Admission, rules *rego.Set, sub *rego.Subject) {
	applies := rules.Index(sub).Policies()
	past := map[string]bool{}
	for _, f := range slices.Concat(out.Justify, out.Advise) {
		past[f.Policy] = true
	}
	policies := rules.Policies()
	for i := range policies {
		p := &policies[i]
		if !slices.Contains(applies, p.ID) {
			out.Silent = append(out.Silent, p.ID)
			continue
		}
		one := contract.AdmissionAsked{Policy: p.ID, Mode: p.Enforcement.Mode.String(), Where: where(p), Verdict: "judged in use", Metrics: []string{}}
		known := 0
		for _, t := range p.Metrics {
			one.Metrics = append(one.Metrics, fmt.Sprintf("%s %s %s", t.Metric, strings.ReplaceAll(t.Condition.String(), "_", " "), t.Text))
			if slices.Contains(foreseeable, t.Metric) {
				known++
			}
		}
		switch {
		case past[p.ID]:
			one.Verdict = "past"
		case known == len(p.Metrics) || known > 0 && !p.MatchAll:
			one.Verdict = "within"
		}
		out.Asked = append(out.Asked, one)
	}
}

// unasked notes the policies that may apply once it exists, and could not be asked since the request does not say by what
// they apply.
func unasked(out *contract.Admission, rules *rego.Set, sub *rego.Subject) {
	policies := rules.Policies()
	for i := range policies {
		p := &policies[i]
		to := p.AppliesTo
		if len(to.Types) > 0 && !slices.Contains(to.Types, sub.Type) || len(to.Sources) > 0 && !slices.Contains(to.Sources, sub.Source) {
			continue
		}
		var lacks []string
		if len(to.Identities) > 0 && sub.Principal == "" {
			lacks = append(lacks, "principal")
		}
		for label := range to.Labels {
			if _, ok := sub.Labels[label]; !ok {
				lacks = append(lacks, "label "+label)
			}
		}
		if len(lacks) > 0 {
			slices.Sort(lacks)
			out.Notes = append(out.Notes, fmt.Sprintf("policy %s (%s) was not asked: it applies by what the request does not say (%s)", p.ID, where(p), strings.Join(lacks, ", ")))
		}
	}
}

func given(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
