package rego

import (
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	oparego "github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage"
)

// Set is one set of policies with the bundle that decides by them. It never changes; a reload makes a new one.
type Set struct {
	revision string
	policies []Policy
	custom   []customPolicy
	// overridden: the bundle is not the embedded one, so what it makes of unknown values is its own affair.
	overridden bool
	texts      []Text
	compiler   *ast.Compiler
	data       any // the policies as data.leastwise.policies
	txn        storage.Transaction
	decide     oparego.PreparedEvalQuery
	admit      oparego.PreparedEvalQuery

	mu      sync.RWMutex
	indexes map[string]*Index // by the thresholds that apply; guarded by mu
}

// Revision names the set: a hash of all policies, free-form Rego and the bundle, twelve hexadecimal digits.
func (s *Set) Revision() string { return s.revision }

// Policies are the YAML policies, by id. The caller must not change them.
func (s *Set) Policies() []Policy { return s.policies }

// Policy finds a policy by its id.
func (s *Set) Policy(id string) (*Policy, bool) {
	i, ok := slices.BinarySearchFunc(s.policies, id, func(p Policy, id string) int { return strings.Compare(p.ID, id) })
	if !ok {
		return nil, false
	}
	return &s.policies[i], true
}

// AskEvery is how often the free-form Rego policies want to be asked; 0 if there are none.
func (s *Set) AskEvery() time.Duration {
	var every time.Duration
	for _, c := range s.custom {
		if every == 0 || c.askEvery < every {
			every = c.askEvery
		}
	}
	return every
}

// Index gives the thresholds that can apply to a subject. It costs a walk over the policies, so keep it with the
// credential and ask again when the set or anything in the subject changes. The Index objects are shared.
func (s *Set) Index(sub *Subject) *Index {
	key := make([]byte, 0, 64)
	for i := range s.policies {
		p := &s.policies[i]
		var bits byte // grows to further bytes every seven thresholds; the top bit says that more follow
		n := 0
		applies := p.AppliesTo.matches(sub)
		for j := range p.Metrics {
			if n == 7 {
				key, bits, n = append(key, bits|0x80), 0, 0
			}
			if applies && p.Metrics[j].speaksOf(sub.Source) {
				bits |= 1 << n
			}
			n++
		}
		key = append(key, bits)
	}
	s.mu.RLock()
	ix := s.indexes[string(key)]
	s.mu.RUnlock()
	if ix != nil {
		return ix
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if ix = s.indexes[string(key)]; ix == nil {
		ix = newIndex(s.candidates(sub), uint32(len(s.indexes)), s.AskEvery())
		s.indexes[string(key)] = ix
	}
	return ix
}

func (s *Set) candidates(sub *Subject) []candidate {
	var out []candidate
	for i := range s.policies {
		p := &s.policies[i]
		if !p.AppliesTo.matches(sub) {
			continue
		}
		c := candidate{policy: p}
		for j := range p.Metrics {
			if p.Metrics[j].speaksOf(sub.Source) {
				c.thresholds = append(c.thresholds, &p.Metrics[j])
			}
		}
		// Where some metrics of a match-all policy do not speak of the source, the policy can not be violated as a whole.
		if len(c.thresholds) == 0 || p.MatchAll && len(c.thresholds) < len(p.Metrics) {
			continue
		}
		c.term = ast.NewTerm(policyValue(p, c.thresholds))
		out = append(out, c)
	}
	return out
}

func (a *AppliesTo) matches(sub *Subject) bool {
	if len(a.Types) > 0 && !slices.Contains(a.Types, sub.Type) {
		return false
	}
	if len(a.Sources) > 0 && !slices.Contains(a.Sources, sub.Source) {
		return false
	}
	if len(a.Identities) > 0 && !matchAny(a.Identities, sub.Principal) && !matchAny(a.Identities, sub.Agent) {
		return false
	}
	if len(a.Owners) > 0 && !matchAny(a.Owners, sub.Owner) {
		return false
	}
	if len(a.Policies) > 0 && !slices.ContainsFunc(sub.Policies, func(name string) bool { return matchAny(a.Policies, name) }) {
		return false
	}
	for label, pattern := range a.Labels {
		value, ok := sub.Labels[label]
		if !ok || !pattern.Match(value) {
			return false
		}
	}
	return true
}

// matchAny takes an empty text as matching nothing: an unknown owner is not "any owner".
func matchAny(patterns []Pattern, text string) bool {
	if text == "" {
		return false
	}
	for i := range patterns {
		if patterns[i].Match(text) {
			return true
		}
	}
	return false
}

// policyValue is a policy as the bundle reads it; bundle/schemas/policies.json is its schema.
func policyValue(p *Policy, thresholds []*Threshold) ast.Value {
	conditions := make([]*ast.Term, 0, len(thresholds))
	for _, t := range thresholds {
		sources, _ := sourcesOf(t.Source)
		conditions = append(conditions, ast.ArrayTerm(word(t.Metric.String()),
			word(t.Condition.String()), number(t.Value), texts(sources)))
	}
	remind := make([]*ast.Term, 0, len(p.Enforcement.Remind))
	for _, d := range p.Enforcement.Remind {
		remind = append(remind, ast.InternedTerm(d.Milliseconds()))
	}
	needed := 1
	if p.MatchAll {
		needed = len(p.Metrics)
	}
	e := &p.Enforcement
	return ast.NewObject(
		pair("policy_id", ast.StringTerm(p.ID)),
		pair("needed", ast.InternedTerm(needed)),
		pair("conditions", ast.ArrayTerm(conditions...)),
		pair("applies_to", p.AppliesTo.term()),
		pair("enforcement", ast.ObjectTerm(
			pair("mode", word(e.Mode.String())),
			pair("grace_ms", ast.InternedTerm(e.Grace.Milliseconds())),
			pair("remind_ms", ast.ArrayTerm(remind...)),
			pair("asks", e.asks()),
		)),
	)
}

// asks lists what the policy wants done, as true or not at all. What it would do once it is enforced it does not ask for now.
func (e *Enforcement) asks() *ast.Term {
	var wishes [][2]*ast.Term
	for _, w := range [...]struct {
		name string
		is   bool
	}{
		{"revoke", e.Revoke}, {"reissue", e.Revoke && e.Reissue}, {"requires_approval", e.Approval},
		{"tell_first", e.Revoke && e.RevokeUntold == ""},
	} {
		if w.is && e.Mode == Enforce {
			wishes = append(wishes, pair(w.name, ast.InternedTerm(true)))
		}
	}
	return ast.ObjectTerm(wishes...)
}

func (a *AppliesTo) term() *ast.Term {
	var pairs [][2]*ast.Term
	for name, list := range map[string][]string{
		"types": a.Types, "sources": a.Sources,
		"identities": patternTexts(a.Identities), "owners": patternTexts(a.Owners), "policies": patternTexts(a.Policies),
	} {
		if len(list) > 0 {
			pairs = append(pairs, pair(name, texts(list)))
		}
	}
	if len(a.Labels) > 0 {
		var labels [][2]*ast.Term
		for name, p := range a.Labels {
			labels = append(labels, pair(name, ast.StringTerm(p.Text)))
		}
		pairs = append(pairs, pair("labels", ast.ObjectTerm(labels...)))
	}
	return ast.ObjectTerm(pairs...)
}

func patternTexts(patterns []Pattern) []string {
	var out []string
	for _, p := range patterns {
		out = append(out, p.Text)
	}
	return out
}

func pair(key string, value *ast.Term) [2]*ast.Term { return ast.Item(word(key), value) }

func texts(list []string) *ast.Term {
	out := make([]*ast.Term, 0, len(list))
	for _, s := range list {
		out = append(out, ast.StringTerm(s))
	}
	return ast.ArrayTerm(out...)
}

// unbounded stands for +Inf, which JSON can not write: larger than any threshold that ParseDuration lets pass.
const unbounded = 1e15

func number(value float64) *ast.Term {
	if math.IsInf(value, 0) {
		value = math.Copysign(unbounded, value)
	}
	return ast.FloatNumberTerm(value)
}

// inf is the way back.
func inf(value float64) float64 {
	if value >= unbounded {
		return math.Inf(1)
	}
	return value
}
