package gate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/rego"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// State is how one identity stands. The set is closed: metrics use it as a label.
type State string

// The states of an identity.
const (
	Owned      State = "owned"       // exactly one owner and one system of record
	NoOwner    State = "no-owner"    // nobody claims it
	NoSystem   State = "no-system"   // it has an owner, and nobody says where its existence is decided
	TwoOwners  State = "two-owners"  // different owners claim it
	TwoSystems State = "two-systems" // different systems of record claim it
	Invalid    State = "invalid"     // it can be nobody's
	Unknown    State = "unknown"     // nothing could be read
	Excepted   State = "excepted"    // not judged, by a valid exception
)

// Standing is one identity, judged.
type Standing struct {
	Identity
	State  State  `json:"state"`
	Owner  string `json:"owner,omitempty"`
	System string `json:"system,omitempty"`
	// Claims of all sides.
	Claims []Claim `json:"claims,omitempty"`
	// Exception that covers it, and its end.
	Exception string     `json:"exception,omitempty"`
	Until     *time.Time `json:"until,omitempty"`
}

// Problem is one reason for a refusal.
type Problem struct {
	// Code is the state of the identity, or mislabelled, two-owners or two-systems between identities, or unreadable.
	Code string `json:"code"`
	// Text says it in a sentence, with the evidence of all sides.
	Text string `json:"text"`
	// Do says how to mend it.
	Do string `json:"do,omitempty"`
}

// Verdict is the answer for one workload.
type Verdict struct {
	*Workload
	Allowed bool `json:"allowed"`
	// Owner and System, where all identities agree on one.
	Owner      string     `json:"owner,omitempty"`
	System     string     `json:"system,omitempty"`
	Identities []Standing `json:"identities"`
	Problems   []Problem  `json:"problems,omitempty"`
	// Add is the catalog YAML that is missing; empty if nothing is.
	Add string `json:"add,omitempty"`
	// Warnings of a workload that passes all the same, and what could not be seen.
	Warnings []string `json:"warnings,omitempty"`
	// Open: not everything could be read, and it passes because the gate fails open.
	Open bool `json:"open,omitempty"`
}

// Gate judges workloads. It is safe for concurrent use.
type Gate struct {
	cfg         Config
	catalog     *Catalog
	directories []Directory
	rules       func() *rego.Set
	exceptions  func() []*pb.Exception
	noticed     func(id string) []*pb.Finding
	now         func() time.Time
}

// Options of a gate.
type Options struct {
	Config Config
	// Catalog is the first directory, and the one that refusals tell to add to.
	Catalog *Catalog
	// Graph is the identity graph of a running server; nil if there is none.
	Graph Directory
	// Exceptions lists those that are stored, valid or not; nil if there are none.
	Exceptions func() []*pb.Exception
	// Rules are the policies that judge lifetime and scope of what will be issued; nil: they are not judged.
	Rules func() *rego.Set
	// Noticed lists what sources found about an identity and stands; nil if nothing is known.
	Noticed func(id string) []*pb.Finding
	// Now is the wall clock if nil.
	Now func() time.Time
}

// New makes a gate. Options.Config has been validated.
func New(opts Options) *Gate {
	g := &Gate{cfg: opts.Config, catalog: opts.Catalog, directories: []Directory{opts.Catalog}, exceptions: opts.Exceptions,
		noticed: opts.Noticed, now: opts.Now, rules: opts.Rules}
	if opts.Graph != nil {
		g.directories = append(g.directories, opts.Graph)
	}
	if g.exceptions == nil {
		g.exceptions = func() []*pb.Exception { return nil }
	}
	if g.noticed == nil {
		g.noticed = func(string) []*pb.Finding { return nil }
	}
	if g.now == nil {
		g.now = time.Now
	}
	return g
}

// Judge answers for one workload.
func (g *Gate) Judge(ctx context.Context, w *Workload) *Verdict {
	v := &Verdict{Workload: w, Warnings: slices.Clone(w.Notes)}
	now, exceptions := g.now(), g.exceptions()
	for _, id := range w.Identities {
		s := Standing{Identity: id}
		covering, lapsed := excepted(exceptions, id.Key, now)
		switch {
		case id.Invalid != "":
			s.State = Invalid
		case covering != nil:
			until := covering.Until.AsTime()
			s.State, s.Exception, s.Until = Excepted, covering.Id, &until
			v.warn("%s is not judged: exception %s, until %s", id, shorten(covering.Id), until.Format(time.RFC3339))
		default:
			s.Claims, s.State = g.claims(ctx, id, v)
			s.settle()
		}
		g.warnNoticed(id, v)
		if p, bad := s.problem(lapsed); bad {
			v.Problems = append(v.Problems, p)
		}
		v.Identities = append(v.Identities, s)
	}
	v.labels()
	v.agree()
	if len(v.Problems) > 0 {
		v.Add = g.add(v)
	}
	v.Allowed = len(v.Problems) == 0
	v.Open = v.Open && v.Allowed
	return v
}

func (v *Verdict) warn(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(v.Warnings, text) {
		v.Warnings = append(v.Warnings, text)
	}
}

func (v *Verdict) refuse(p Problem) {
	if !slices.Contains(v.Problems, p) {
		v.Problems = append(v.Problems, p)
	}
}

// claims asks all directories. Where one can not be read, the configuration decides; the others count all the same. The
// state is Unknown if no directory could be read, and empty otherwise.
func (g *Gate) claims(ctx context.Context, id Identity, v *Verdict) (all []Claim, state State) {
	state = Unknown
	for _, d := range g.directories {
		claims, err := d.Claims(ctx, id)
		if err == nil {
			all, state = append(all, claims...), ""
			continue
		}
		if g.cfg.failOpen() {
			v.Open = true
			v.warn("the gate fails open: %s", shorten(unreadable(d, err)))
			continue
		}
		v.refuse(Problem{Code: "unreadable", Text: "the gate fails closed: " + shorten(unreadable(d, err)),
			Do: "mend it, or let deployments pass unjudged meanwhile with `fail: open`"})
	}
	return all, state
}

// settle finds the one owner and the one system of record in the claims.
func (s *Standing) settle() {
	if s.State == Unknown {
		return
	}
	owners, systems := distinct(s.Claims, func(c Claim) string { return c.Owner }), distinct(s.Claims, func(c Claim) string { return c.System })
	switch {
	case len(owners) == 0:
		s.State = NoOwner
	case len(owners) > 1:
		s.State = TwoOwners
	case len(systems) > 1:
		s.State = TwoSystems
	case len(systems) == 0:
		s.State, s.Owner = NoSystem, owners[0]
	default:
		s.State, s.Owner, s.System = Owned, owners[0], systems[0]
	}
}

// distinct lists the values that are there, in order, once each.
func distinct[T any](items []T, value func(T) string) []string {
	var out []string
	for _, item := range items {
		if text := value(item); text != "" {
			out = append(out, text)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (s *Standing) problem(lapsed []string) (Problem, bool) {
	where := s.Field
	if s.Where != "" {
		where += ", " + s.Where
	}
	p := Problem{Code: string(s.State)}
	subject := fmt.Sprintf("%s (%s)", s.Identity, where)
	switch s.State {
	case Owned, Excepted, Unknown:
		return p, false
	case Invalid:
		p.Text, p.Do = subject+" can be nobody's: "+s.Invalid, "correct the manifest"
	case NoOwner:
		p.Text, p.Do = subject+" has no owner: no entry of the catalog names it", "add it to the catalog"
		if s.Kind == Agent {
			p.Do = "correct it, or add it to the catalog"
		}
	case NoSystem:
		p.Text = fmt.Sprintf("%s has no system of record, only %s", subject, sides(s.Claims))
		p.Do = "name the system of record of its agent in the catalog"
	case TwoOwners, TwoSystems:
		what := "two owners"
		if s.State == TwoSystems {
			what = "two systems of record"
		}
		p.Text = fmt.Sprintf("%s has %s: %s", subject, what, sides(s.Claims))
		p.Do = "leave it with one of them: take the entry away from the other"
	}
	if len(lapsed) > 0 {
		p.Text += "; " + strings.Join(lapsed, "; ")
	}
	return p, true
}

// sides names all claims with their evidence.
func sides(claims []Claim) string {
	texts := make([]string, 0, len(claims))
	for _, c := range claims {
		texts = append(texts, c.String())
	}
	slices.Sort(texts)
	return strings.Join(slices.Compact(texts), " and ")
}

func (c Claim) String() string {
	var parts []string
	if c.Owner != "" {
		parts = append(parts, "owner "+c.Owner)
	}
	if c.Agent != "" {
		parts = append(parts, "by agent "+c.Agent)
	}
	if c.System != "" {
		parts = append(parts, "in system "+c.System)
	}
	return strings.Join(parts, " ") + " (" + c.Evidence + ")"
}
