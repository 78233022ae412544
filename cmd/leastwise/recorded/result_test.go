package recorded

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/leastwise/leastwise/processor/core"
	"github.com/leastwise/leastwise/processor/identity"
	"github.com/leastwise/leastwise/processor/lifecycle"
	"github.com/leastwise/leastwise/rego"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// result is what a site knows at the moment it is asked, without where it stood in Kafka and when it was looked at.
type result struct {
	states    map[string]*pb.CredentialState
	decisions map[string]*pb.Decision // of credentials that violate something
	// lines are told by credential: scope, who answers, windows, measured values.
	lines map[string]string
	// graphs are told by each processor: links, identities, findings.
	graphs []map[string]string
}

// ask lets a site come to rest, and then looks at everything at one moment.
func (s *site) ask(again *rego.Set) *result {
	rest := func(at time.Time) {
		for {
			for _, p := range s.partitions {
				s.inForce(p.worker)
				p.worker.apply(s, p, p.log[p.worker.next:])
				s.settle(p, at)
			}
			for _, p := range s.processors {
				s.follow(p, len(s.facts))
			}
			if !s.behind() {
				return
			}
		}
	}
	for minutes := range 5 { // a core that has just looked at who is who rests for a moment
		rest(asked.Add(time.Duration(minutes-10) * time.Minute))
	}
	s.rules = again // the same; but all is looked at, and what stands is confirmed
	rest(asked)
	r := &result{states: map[string]*pb.CredentialState{}, decisions: map[string]*pb.Decision{}, lines: map[string]string{}}
	for _, p := range s.partitions {
		p.worker.core.Entries(func(e *core.Entry) { r.credential(p.worker.core, e) })
		for _, d := range p.decisions {
			if len(d.Violations) == 0 {
				delete(r.decisions, d.Credential)
			} else {
				r.decisions[d.Credential] = d
			}
		}
	}
	for _, p := range s.processors {
		r.graphs = append(r.graphs, p.tell())
	}
	return r
}

func (r *result) credential(c *core.Core, e *core.Entry) {
	state := e.Proto()
	state.AppliedOffset, state.DecidedAt, state.DecidedRevision = 0, 0, ""
	r.states[e.Key] = state
	line := func(what, format string, args ...any) { r.lines[e.Key+" "+what] = fmt.Sprintf(format, args...) }
	line("windows", "%+v used, %+v refused", e.Windows(asked.UnixNano()), e.Refusals(asked.UnixNano()))
	line("state", "%s", e.State(asked.UnixNano()))
	_, values := c.Measure(e.Key, asked.UnixNano())
	line("values", "%s", values.String())
	used, known := e.UsedPermissions()
	line("scope", "known %t %q, %d permissions, weight %g; %d used, known %t", e.Scope.Known, e.Scope.Why, e.Scope.Permissions, e.Scope.Weight, used, known)
	owner, system, agent := "nobody", "none", "none"
	if e.Match.Owner != nil {
		owner = e.Match.Owner.ID
	}
	if e.Match.System != nil {
		system = e.Match.System.ID
	}
	if e.Match.Agent != nil {
		agent = e.Match.Agent.ID
	}
	line("who", "%s: agent %s, owner %s, system %s, protected %t, by %q, conflict %q", e.Identity, agent, owner, system,
		e.Match.Protected, e.Match.Evidence, e.Match.Conflict)
}

func (p *process) tell() map[string]string {
	out := map[string]string{}
	for _, l := range p.graph.Held(0) {
		if l.Confidence == pb.Link_ASSERTED {
			l.At = nil // when a processor first saw a catalog that says so
		}
		out[fmt.Sprintf("link %s %s %s %s", l.Kind, l.Confidence, l.From, l.To)] = fmt.Sprintf("%s: %s", l.At.AsTime().Format(time.RFC3339Nano), l.Evidence)
	}
	for _, l := range p.graph.Held(0) { // nodes of which nothing is held any more are no identity
		for _, node := range []string{l.From, l.To} {
			out["identity of "+node] = p.graph.Component(node)
		}
	}
	for _, f := range p.graph.Findings(0) {
		if _, held := out["identity of "+f.Subject]; f.Kind == identity.NoOwner && !held && !strings.HasPrefix(f.Subject, "catalog/") {
			continue
		}
		out["finding "+f.Key()] = f.String()
	}
	p.tellFindings()
	for key, text := range p.stands {
		out["finding told "+key] = text
	}
	return out
}

// withoutEarlyEnds leaves out what depends on when a processor looked: which ends by time were told before a later word
// moved them, and the credentials that one side or the other takes for ended with their parent's time, which is a
// presumption until they give a sign of life.
func (r *result) withoutEarlyEnds(other *result) *result {
	presumed := func(key string) bool {
		for _, side := range []*result{r, other} {
			if state := side.states[key]; state != nil && state.RevokedHow == lifecycle.HowParentExpired {
				return true
			}
		}
		return false
	}
	out := &result{states: map[string]*pb.CredentialState{}, decisions: map[string]*pb.Decision{}, lines: map[string]string{}, graphs: r.graphs}
	for key, state := range r.states {
		if !presumed(key) {
			out.states[key] = proto.CloneOf(state)
			out.states[key].ExpiryTold = 0
		}
	}
	for key, d := range r.decisions {
		if !presumed(key) {
			out.decisions[key] = d
		}
	}
	for name, line := range r.lines {
		if key, _, _ := strings.Cut(name, " "); !presumed(key) {
			out.lines[name] = line
		}
	}
	return out
}

// differs lists what another result tells otherwise: name, one, other.
func (r *result) differs(other *result) (out []string) {
	add := func(name, a, b string) {
		if a != b {
			out = append(out, fmt.Sprintf("%s\n    %s\n    %s", name, a, b))
		}
	}
	for _, key := range union(r.states, other.states) {
		fields(key, r.states[key].ProtoReflect(), other.states[key].ProtoReflect(), add)
	}
	for _, key := range union(r.decisions, other.decisions) {
		fields("decision on "+key, r.decisions[key].ProtoReflect(), other.decisions[key].ProtoReflect(), add)
	}
	for _, key := range union(r.lines, other.lines) {
		add(key, r.lines[key], other.lines[key])
	}
	for n, graph := range other.graphs {
		for _, key := range union(r.graphs[0], graph) {
			add(fmt.Sprintf("processor %d: %s", n, key), r.graphs[0][key], graph[key])
		}
	}
	return out
}

// fields compares two messages field by field.
func fields(name string, a, b protoreflect.Message, add func(name, a, b string)) {
	if !a.IsValid() || !b.IsValid() {
		if a.IsValid() != b.IsValid() {
			add(name, fmt.Sprint("there: ", a.IsValid()), fmt.Sprint("there: ", b.IsValid()))
		}
		return
	}
	list := a.Descriptor().Fields()
	for i := range list.Len() {
		f := list.Get(i)
		if one, two := a.Get(f), b.Get(f); !one.Equal(two) {
			add(fmt.Sprintf("%s %s", name, f.Name()), text(f, one), text(f, two))
		}
	}
}

func text(f protoreflect.FieldDescriptor, v protoreflect.Value) string {
	if f.IsList() {
		var parts []string
		for i := range v.List().Len() {
			parts = append(parts, v.List().Get(i).String())
		}
		return strings.Join(parts, "; ")
	}
	return v.String()
}

func union[V any](a, b map[string]V) []string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

func outline(differences []string) string {
	const shown = 12
	out := strings.Join(differences[:min(shown, len(differences))], "\n")
	if len(differences) > shown {
		out += fmt.Sprintf("\nand %d more", len(differences)-shown)
	}
	return out
}

// counts of what there is, by name.
func (r *result) counts() (links int, conflicts, violated, ended map[string]int) {
	conflicts, violated, ended = map[string]int{}, map[string]int{}, map[string]int{}
	for key := range r.graphs[0] {
		if strings.HasPrefix(key, "link ") {
			links++
		}
		if rest, ok := strings.CutPrefix(key, "finding told "); ok {
			kind, _, _ := strings.Cut(rest, " ")
			conflicts[kind]++
		}
	}
	for _, d := range r.decisions {
		for _, v := range d.Violations {
			violated[v.PolicyId]++
		}
	}
	for _, state := range r.states {
		ended[state.RevokedHow]++
	}
	return links, conflicts, violated, ended
}

func (r *result) outline() string {
	links, conflicts, violated, ended := r.counts()
	return fmt.Sprintf("%d credentials (ended: %v), %d links, conflicts %v, violations %v", len(r.states), ended, links, conflicts, violated)
}

// mustTell fails if the history is so poor that there is nothing to confuse.
func (r *result) mustTell(t *testing.T) {
	t.Helper()
	links, conflicts, violated, ended := r.counts()
	systems := map[string]bool{}
	for key := range r.states {
		system, _, _ := strings.Cut(key, "/")
		systems[system] = true
	}
	if len(r.states) < 150 || len(systems) < 6 || links < 100 || len(conflicts) < 1 || len(violated) < 9 || len(ended) < 4 {
		t.Fatalf("only %s of %v", r.outline(), slices.Sorted(maps.Keys(systems)))
	}
}
