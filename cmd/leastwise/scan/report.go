package scan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/processor/core"
	"github.com/leastwise/leastwise/processor/identity"
	"github.com/leastwise/leastwise/processor/lifecycle"
	"github.com/leastwise/leastwise/rego"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Report is what `leastwise scan` found. Its lists lie on disk where they are long: they are read in order, as often as
// needed, until Close.
type Report struct {
	AsOf        time.Time `json:"as_of"`
	Records     int       `json:"records"`
	Events      int       `json:"events"`
	DeadLetters int       `json:"dead_letters"`
	Unknown     int       `json:"unknown"`
	Inputs      []Input   `json:"inputs"`
	// Conflicts are identities about which the evidence contradicts itself.
	Conflicts []Conflict `json:"conflicts"`
	// UnnamedUse are calls that agents log without saying with which credential.
	UnnamedUse []UnnamedUse `json:"unnamed_use"`

	// Credentials by key, Links by what they are from, Findings worst first.
	Credentials iter.Seq2[int, Credential] `json:"-"`
	Links       iter.Seq2[int, Link]       `json:"-"`
	Findings    iter.Seq2[int, Finding]    `json:"-"`

	credentials *rows[Credential]
	links       *rows[Link]
	findings    *rows[Finding]
	worst       int // rank of the worst finding
	policies    int // that the credentials were held against
	rules       []rego.Policy
	severities  map[string]int // findings by severity
	summary     summary
}

func newReport(hold limits) *Report {
	r := &Report{credentials: newRows[Credential](hold.rows), links: newRows[Link](hold.rows), findings: newRows[Finding](hold.rows),
		worst: len(Severities) + 1, severities: map[string]int{}, summary: summary{states: map[string]int{}}}
	r.Credentials, r.Links, r.Findings = r.credentials.all(), r.links.all(), r.findings.all()
	return r
}

// Close gives back the disk that the lists lie on.
func (r *Report) Close() {
	r.credentials.close()
	r.links.close()
	r.findings.close()
}

// JSON prints the report as one document, the lists one by one.
func (r *Report) JSON(w io.Writer) error {
	head, err := toText(r)
	if err != nil {
		return err
	}
	if _, err := w.Write(head[:len(head)-1]); err != nil { // without the last bracket
		return err
	}
	for _, list := range []struct {
		name    string
		writeTo func(io.Writer) error
	}{{"credentials", r.credentials.writeTo}, {"links", r.links.writeTo}, {"findings", r.findings.writeTo}} {
		if _, err := fmt.Fprintf(w, ",%q:", list.name); err != nil {
			return err
		}
		if err := list.writeTo(w); err != nil {
			return err
		}
	}
	_, err = io.WriteString(w, "}\n")
	return err
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
	Usage             *Usage     `json:"usage"` // null: no agent tells of it, and nothing is amiss
	Places            []Place    `json:"places,omitempty"`
	Lane              *Lane      `json:"lane,omitempty"`
	Severity          string     `json:"severity,omitempty"` // of its worst finding, with Lane
	Violations        int        `json:"violations,omitempty"`
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
	// Evidence is the sentence that the value rests on, where the value alone does not tell.
	Evidence string `json:"evidence,omitempty"`
	Owner    string `json:"owner,omitempty"`
	// What the credential did.
	Uses       uint64     `json:"uses"`
	Denied     uint64     `json:"denied"`
	LastUsedAt *time.Time `json:"last_used_at"`
	Places     []Place    `json:"places,omitempty"`
}

// picture is what is told of a credential besides, if anybody wants it: Options.Places.
type picture struct {
	places   []Place
	lane     *Lane
	severity string
	count    int
}

// credential reports one, what agents say of it, and what it belongs to.
func (r *Report) credential(e *core.Entry, asOf int64, told *Usage, seen picture) error {
	id := e.ID()
	c := Credential{Key: e.Key, Type: id.Type, Source: id.System, State: e.State(asOf).String(),
		IssuedAt: moment(e.IssuedAt), ExpiresAt: moment(e.ExpiresAt), NeverExpires: e.NeverExpires(),
		LastUsedAt: moment(e.LastUsedAt), Uses: e.Uses, Denied: e.Denied, DeniedPermissions: e.DeniedPermissions(),
		DeniedSamples: e.DeniedSamples(), Identity: text(e.Principal), DerivedFrom: text(e.Parent),
		Scope: Scope{Policies: slices.Concat([]string{}, e.Policies), Used: used(e)}, Usage: told,
		Places: seen.places, Lane: seen.lane, Severity: seen.severity, Violations: seen.count}
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
	r.summary.add(c)
	if err := r.credentials.add(c.Key, &c); err != nil {
		return err
	}
	if e.Principal != "" {
		if err := r.link(Link{"issued_to", e.Key, e.Principal, "proven", "the issuer's own records name the holder"}); err != nil {
			return err
		}
	}
	if e.Parent == "" {
		return nil
	}
	return r.link(Link{"derived_from", e.Key, e.Parent, "proven", "the issuer's record of the issuance names both"})
}

func (r *Report) link(l Link) error {
	return r.links.add(l.From+"\x00"+l.Kind+"\x00"+l.To, &l)
}

// identities reports the links between identities, and what contradicts itself. That nobody answers for an identity is
// for policies to say (unresolved_identity).
func (r *Report) identities(g *identity.Graph) error {
	for _, l := range g.Held(0) {
		err := r.link(Link{strings.ToLower(l.Kind.String()), l.From, l.To, strings.ToLower(l.Confidence.String()), l.Evidence})
		if err != nil {
			return err
		}
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
	return nil
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

// decision reports the policies that a credential violates.
func (r *Report) decision(d *pb.Decision, e *core.Entry, places func(metric string) []Place) error {
	for _, v := range d.Violations {
		f := Finding{PolicyID: v.PolicyId, Credential: d.Credential, Severity: v.Severity, Reason: v.Reason,
			Metric: v.Metric, Value: v.Value, Threshold: v.Threshold, Hint: v.Hint, Evidence: v.Evidence,
			Uses: e.Uses, Denied: e.Denied, LastUsedAt: moment(e.LastUsedAt), Places: places(v.Metric)}
		r.severities[f.Severity]++
		if owner := d.Subject.GetOwner(); owner != nil {
			f.Owner = owner.Id
		}
		worse := rank(f.Severity)
		r.worst = min(r.worst, worse)
		if err := r.findings.add(string(rune('0'+worse))+f.Credential+"\x00"+f.PolicyID+"\x00"+f.Metric, &f); err != nil {
			return err
		}
	}
	return nil
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
func (r *Report) AtLeast(severity string) bool { return r.worst <= rank(severity) }

// count sums up what the inputs held.
func (r *Report) count() {
	for _, in := range r.Inputs {
		r.Records += in.Records
		r.Events += in.Events
		r.DeadLetters += in.DeadLetters
		r.Unknown += in.Unknown
	}
	r.Inputs, r.Conflicts = notNil(r.Inputs), notNil(r.Conflicts)
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
