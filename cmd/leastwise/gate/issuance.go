package gate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/cmd/leastwise/admit"
	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/enforcer/exception"
	"github.com/leastwise/leastwise/rego"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Issuance is a resource by which credentials will be issued: a role or a policy of an issuer, a registration in SPIRE.
type Issuance struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	// Where is file:line.
	Where string `json:"where"`

	// asks are the credentials that it lets be issued, as far as it says them.
	asks []ask
	// beside are the ids that an exception names to let an entry be what no policy is about, with what it is.
	beside map[string]string
	// principal that will hold them; "" if it is not told.
	principal string
	notes     []string
}

// ask is one kind of credential that an issuance gives, and what of it the resource decides. A policy has no lifetime and
// a template no owner: what the resource does not decide is not held against it.
type ask struct {
	request *admit.Request
	decides []rego.Metric
}

var (
	lives  = []rego.Metric{rego.Lifetime, rego.CredentialAge}
	grants = []rego.Metric{rego.ScopeComplexity, rego.ScopeWeight}
	owned  = []rego.Metric{rego.UnresolvedIdentity}
)

func (i *Issuance) String() string { return shorten(i.Kind) + " " + shorten(i.Name) }

func (i *Issuance) note(format string, args ...any) {
	i.notes = append(i.notes, fmt.Sprintf(format, args...))
}

// Ruling is the answer for one issuance.
type Ruling struct {
	*Issuance
	Allowed  bool      `json:"allowed"`
	Owner    string    `json:"owner,omitempty"`
	Problems []Problem `json:"problems,omitempty"`
	Warnings []string  `json:"warnings,omitempty"`
}

// rule asks the same policies that will judge what is issued. stored are the Vault policies among the files, by id.
func (g *Gate) rule(ctx context.Context, i *Issuance, stored map[string]*pb.Grant) *Ruling {
	out := &Ruling{Issuance: i, Warnings: slices.Clone(i.notes)}
	now, exceptions := g.now(), g.exceptions()
	x := &exception.Index{}
	for _, e := range exceptions {
		x.Put(e)
	}
	for id, what := range i.beside {
		if i.principal != "" {
			if cover := x.Cover("", i.principal, []string{id}, now); cover.All {
				out.Warnings = append(out.Warnings, fmt.Sprintf("%s, by exception %s until %s", what, shorten(cover.ID), cover.Until.Format("2006-01-02T15:04:05Z07:00")))
				continue
			}
		}
		out.Problems = append(out.Problems, Problem{Code: id, Text: i.String() + " (" + i.Where + ") " + what,
			Do: "take it away, or ask for an exception of its SPIFFE ID that names the policy " + id})
	}
	if g.rules == nil {
		out.Warnings = append(out.Warnings, "lifetime and scope are not judged: no policies were given (--policies, or policies.dir of the configuration)")
	} else {
		for _, a := range i.asks {
			answer, err := admit.Admit(ctx, a.request, admit.Against{Rules: g.rules(), Catalog: g.catalog.InForce(),
				Grant: func(id string) *pb.Grant { return stored[id] }, Exceptions: exceptions, LookedUp: true, Now: now})
			if err != nil {
				g.unruled(out, err)
				continue
			}
			out.take(answer, a)
		}
	}
	slices.SortFunc(out.Problems, func(a, b Problem) int { return strings.Compare(a.Text, b.Text) })
	out.Problems, out.Warnings = slices.Compact(out.Problems), slices.Compact(out.Warnings)
	out.Allowed = len(out.Problems) == 0
	return out
}

// unruled is what the configuration says of policies that could not be asked.
func (g *Gate) unruled(out *Ruling, err error) {
	if g.cfg.failOpen() {
		out.Warnings = append(out.Warnings, "the gate fails open: "+shorten(err.Error()))
		return
	}
	out.Problems = append(out.Problems, Problem{Code: "unreadable", Text: "the gate fails closed: " + shorten(err.Error()), Do: "mend the policies"})
}

// take keeps of an answer what the resource decides.
func (r *Ruling) take(answer *contract.Admission, a ask) {
	decides := func(f contract.AdmissionFinding) bool {
		m, ok := rego.ParseMetric(f.Metric)
		return ok && slices.Contains(a.decides, m)
	}
	if answer.Owner != nil {
		r.Owner = *answer.Owner
	}
	open := map[string]bool{} // policies that another metric decides, too
	for _, f := range slices.Concat(answer.Justify, answer.Advise) {
		if f.Reason == "value_unknown" && !decides(f) {
			open[f.Policy] = true
		}
	}
	for _, f := range answer.Justify {
		switch {
		case !decides(f):
		case f.Exception != nil:
			r.Warnings = append(r.Warnings, fmt.Sprintf("policy %s does not hold it back: exception %s, until %s", f.Policy, shorten(*f.Exception), f.Until.Format("2006-01-02T15:04:05Z07:00")))
		case open[f.Policy]:
			r.Warnings = append(r.Warnings, fmt.Sprintf("%s of %s: %s; policy %s (%s) is judged once more is known", a.request.Type, r.Name, admit.Words(f), f.Policy, f.Where))
		default:
			text := fmt.Sprintf("%s by %s (%s): %s; policy %s (%s)", a.request.Type, r.String(), r.Where, admit.Words(f), f.Policy, f.Where)
			if f.Reason == "value_unknown" && answer.ScopeWhy != nil && strings.Contains(f.Metric, "scope") {
				text += ": " + shorten(*answer.ScopeWhy)
			}
			r.Problems = append(r.Problems, Problem{Code: "admission", Text: text, Do: or(f.Hint, "ask for less, or for an exception")})
		}
	}
	for _, f := range answer.Advise {
		if decides(f) && f.Reason == "threshold_passed" {
			r.Warnings = append(r.Warnings, fmt.Sprintf("%s: %s; policy %s (%s) would tell", a.request.Type, admit.Words(f), f.Policy, f.Where))
		}
	}
}
