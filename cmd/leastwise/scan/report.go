package scan

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/processor/core"
	"github.com/leastwise/leastwise/processor/identity"
	"github.com/leastwise/leastwise/processor/lifecycle"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Report is what `leastwise scan --format json` prints.
type Report struct {
	AsOf        time.Time    `json:"as_of"`
	Records     int          `json:"records"`
	Events      int          `json:"events"`
	DeadLetters int          `json:"dead_letters"`
	Unknown     int          `json:"unknown"`
	Inputs      []Input      `json:"inputs"`
	Credentials []Credential `json:"credentials"`
	Links       []Link       `json:"links"`
	Findings    []Finding    `json:"findings"`
	// Conflicts are identities about which the evidence contradicts itself.
	Conflicts []Conflict `json:"conflicts"`
}

// Conflict is one credential, identity or label that two sides claim.
type Conflict struct {
	Kind    string   `json:"kind"`
	Subject string   `json:"subject"`
	Why     string   `json:"why"`
	Claims  []string `json:"claims"`
}

// Input tells what one file held.
type Input struct {
	Path        string `json:"path"`
	Source      string `json:"source"`
	Records     int    `json:"records"`
	Events      int    `json:"events"`
	DeadLetters int    `json:"dead_letters"`
	Unknown     int    `json:"unknown"`
}

// Credential as it stood at the report's time. A null is unknown or none.
type Credential struct {
	Key               string     `json:"key"`
	Type              string     `json:"type"`
	Source            string     `json:"source"`
	State             string     `json:"state"`
	IssuedAt          *time.Time `json:"issued_at"`
	ExpiresAt         *time.Time `json:"expires_at"`
	NeverExpires      bool       `json:"never_expires"`
	LastUsedAt        *time.Time `json:"last_used_at"`
	Uses              uint64     `json:"uses"`
	Denied            uint64     `json:"denied"`
	DeniedPermissions uint64     `json:"denied_permissions"`
	DeniedSamples     []string   `json:"denied_samples,omitempty"`
	Identity          *string    `json:"identity"`
	Agent             *string    `json:"agent"`
	Owner             *string    `json:"owner"`
	DerivedFrom       *string    `json:"derived_from"`
	Scope             Scope      `json:"scope"`
}

// Scope of a credential; from log files alone it is mostly unknown, but its policies are named.
type Scope struct {
	Known       bool     `json:"known"`
	Why         string   `json:"why,omitempty"`
	Policies    []string `json:"policies"`
	Permissions *int     `json:"permissions"`
	Used        []string `json:"used"`
}

// Link between a credential and what it belongs to.
type Link struct {
	Kind       string `json:"kind"`
	From       string `json:"from"`
	To         string `json:"to"`
	Confidence string `json:"confidence"`
	Evidence   string `json:"evidence"`
}

// Finding is a policy that a credential violates.
type Finding struct {
	PolicyID   string `json:"policy_id"`
	Credential string `json:"credential"`
	Severity   string `json:"severity"`
	Reason     string `json:"reason"`
	Metric     string `json:"metric"`
	Value      string `json:"value"`
	Threshold  string `json:"threshold"`
	Hint       string `json:"hint"`
	Owner      string `json:"owner,omitempty"`
}

func (r *Report) add(in Input) {
	r.Inputs = append(r.Inputs, in)
	r.Records += in.Records
	r.Events += in.Events
	r.DeadLetters += in.DeadLetters
	r.Unknown += in.Unknown
}

func (r *Report) credential(e *core.Entry, asOf int64) {
	id := e.ID()
	c := Credential{Key: e.Key, Type: id.Type, Source: id.System, State: e.State(asOf).String(),
		IssuedAt: moment(e.IssuedAt), ExpiresAt: moment(e.ExpiresAt), NeverExpires: e.NeverExpires(),
		LastUsedAt: moment(e.LastUsedAt), Uses: e.Uses, Denied: e.Denied, DeniedPermissions: e.DeniedPermissions(),
		DeniedSamples: e.DeniedSamples(), Identity: text(e.Principal), DerivedFrom: text(e.Parent),
		Scope: Scope{Policies: slices.Concat([]string{}, e.Policies), Used: used(e)}}
	if e.Match.Agent != nil {
		c.Agent = text(e.Match.Agent.ID)
	}
	if e.Match.Owner != nil {
		c.Owner = text(e.Match.Owner.ID)
	}
	if e.Scope != nil {
		c.Scope.Known, c.Scope.Why = e.Scope.Known, e.Scope.Why
		if e.Scope.Known {
			c.Scope.Permissions = &e.Scope.Permissions
		}
	}
	r.Credentials = append(r.Credentials, c)
	if e.Principal != "" {
		r.Links = append(r.Links, Link{"issued_to", e.Key, e.Principal, "proven", "the issuer's own records name the holder"})
	}
	if e.Parent != "" {
		r.Links = append(r.Links, Link{"derived_from", e.Key, e.Parent, "proven", "the issuer's record of the issuance names both"})
	}
}

// identities reports the links between identities, and what contradicts itself. That nobody answers for an identity is
// for policies to say (unresolved_identity).
func (r *Report) identities(g *identity.Graph) {
	for _, l := range g.Held(0) {
		r.Links = append(r.Links, Link{strings.ToLower(l.Kind.String()), l.From, l.To, strings.ToLower(l.Confidence.String()), l.Evidence})
	}
	for _, f := range g.Findings(0) {
		if f.Kind == identity.NoOwner {
			continue
		}
		c := Conflict{Kind: f.Kind, Subject: f.Subject, Why: f.String(), Claims: []string{}}
		for _, side := range f.Sides {
			c.Claims = append(c.Claims, side.Claim)
		}
		r.Conflicts = append(r.Conflicts, c)
	}
}

func used(e *core.Entry) []string {
	out := []string{}
	for _, u := range e.Used() {
		switch {
		case u.Many:
			out = append(out, u.Permission+"*")
		case len(u.Leaves) == 0:
			out = append(out, u.Permission)
		}
		for _, leaf := range u.Leaves {
			out = append(out, u.Permission+leaf)
		}
	}
	return out
}

func (r *Report) decision(d *pb.Decision) {
	for _, v := range d.Violations {
		f := Finding{PolicyID: v.PolicyId, Credential: d.Credential, Severity: v.Severity, Reason: v.Reason,
			Metric: v.Metric, Value: v.Value, Threshold: v.Threshold, Hint: v.Hint}
		if owner := d.Subject.GetOwner(); owner != nil {
			f.Owner = owner.Id
		}
		r.Findings = append(r.Findings, f)
	}
}

// Severities, worst first.
var Severities = []string{"critical", "high", "medium", "low", "info"}

func rank(severity string) int {
	if i := slices.Index(Severities, severity); i >= 0 {
		return i
	}
	return len(Severities)
}

// AtLeast reports whether a finding is as severe as severity or worse.
func (r *Report) AtLeast(severity string) bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return rank(f.Severity) <= rank(severity) })
}

func (r *Report) sort() {
	slices.SortFunc(r.Credentials, func(a, b Credential) int { return strings.Compare(a.Key, b.Key) })
	slices.SortFunc(r.Links, func(a, b Link) int {
		return cmp.Or(strings.Compare(a.From, b.From), strings.Compare(a.Kind, b.Kind), strings.Compare(a.To, b.To))
	})
	slices.SortFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(rank(a.Severity), rank(b.Severity)), strings.Compare(a.Credential, b.Credential),
			strings.Compare(a.PolicyID, b.PolicyID), strings.Compare(a.Metric, b.Metric))
	})
	r.Inputs, r.Credentials = notNil(r.Inputs), notNil(r.Credentials)
	r.Links, r.Findings, r.Conflicts = notNil(r.Links), notNil(r.Findings), notNil(r.Conflicts)
}

// notNil makes an empty list print as [], not as null.
func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func moment(nanos int64) *time.Time {
	if nanos == 0 {
		return nil
	}
	t := lifecycle.Time(nanos)
	return &t
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func compact(line []byte) ([]byte, error) {
	var out bytes.Buffer
	if err := json.Compact(&out, line); err != nil {
		return nil, fmt.Errorf("write events: %w", err)
	}
	return out.Bytes(), nil
}
