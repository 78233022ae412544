// Package compromise answers what the holder of a leaked credential could do, and what of it is left after its scope was
// narrowed or it was revoked. It reads what the pipeline knows (package processor/reach says how) and touches no live
// system.
package compromise

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/processor/core"
	"github.com/leastwise/leastwise/processor/lifecycle"
	"github.com/leastwise/leastwise/processor/reach"
	"github.com/leastwise/leastwise/processor/record"
	"github.com/leastwise/leastwise/processor/scope"
)

// ErrNobody says that neither a credential nor an identity has the name.
var ErrNobody = record.ErrNobody

// Question asks about a credential or an identity by its key or the end of it.
type Question struct {
	Name string
	At   time.Time
	// After is "", "rightsize" or "revoke".
	After string
}

// Report is the answer.
type Report struct {
	// At is when it leaks.
	At    time.Time `json:"at"`
	Leaks []Leak    `json:"leaks"`
	// Known tells what the answer rests on, for a reader who wonders why something is missing.
	Known Known `json:"known"`
	// Name is the whole key of the credential or identity that was found; More tells that the identity holds more than
	// are looked at.
	Name string `json:"-"`
	More bool   `json:"-"`
}

// Leak is one credential in the wrong hands; for an identity there is one for each that it holds.
type Leak struct {
	Credential string `json:"credential,omitempty"`
	Principal  string `json:"principal,omitempty"`
	State      string `json:"state"`
	// Until it works: nil with Never false is unknown.
	Until *time.Time `json:"until"`
	Never bool       `json:"never_expires"`
	// Hours from the leak to the end; nil: unknown or without end.
	Hours  *float64      `json:"hours"`
	Before *reach.Answer `json:"before"`
	// After is what would be left; nil if nobody asked or it can not be told, and then Refused says why.
	After      *reach.Answer `json:"after,omitempty"`
	AfterWhat  string        `json:"after_what,omitempty"`
	AfterHours *float64      `json:"after_hours,omitempty"`
	Refused    string        `json:"refused,omitempty"`
	// Permissions granted, and after; nil: unknown.
	Granted *int `json:"granted"`
	Left    *int `json:"left,omitempty"`
}

// Known counts what was looked at.
type Known struct {
	Sensitive  int `json:"sensitive"`
	Principals int `json:"principals"`
	Rules      int `json:"rules"`
}

// maxLeaks of one identity are looked at.
const maxLeaks = 50

// Ask answers.
func Ask(ctx context.Context, db *store.DB, cat *catalog.Catalog, q Question) (*Report, error) {
	graph, subject, err := record.Who(ctx, db, q.Name)
	if err != nil {
		return nil, err
	}
	m, grants, err := record.Reach(ctx, db, record.SensitiveOf(cat), q.At)
	if err != nil {
		return nil, err
	}
	r := &Report{At: q.At, Leaks: []Leak{}, Known: Known{Sensitive: len(m.Sensitive), Principals: m.Principals(), Rules: len(reach.Rules())}}
	a := asker{m: m, q: q, view: core.New(core.Options{Grants: grants})}
	a.view.Catalog(cat)
	keys := []string{subject.Credential}
	r.Name = cmp.Or(subject.Credential, subject.Principal)
	if subject.Credential == "" {
		if keys, err = record.LiveCredentials(ctx, db, record.HolderOf(graph, subject), maxLeaks+1); err != nil {
			return nil, err
		}
		if r.More = len(keys) > maxLeaks; r.More {
			keys = keys[:maxLeaks]
		}
	}
	for _, key := range keys {
		cred, err := record.FindCredential(ctx, db, key)
		if err != nil {
			return nil, err
		}
		r.Leaks = append(r.Leaks, a.leak(cred))
	}
	if len(r.Leaks) == 0 { // nothing of it lives: what could be done as it, all the same
		r.Leaks = append(r.Leaks, Leak{Principal: subject.Principal, State: "unknown", Before: m.From(reach.Start{Principal: subject.Principal})})
	}
	return r, nil
}

type asker struct {
	m    *reach.Map
	q    Question
	view *core.Core
}

func (a *asker) leak(cred *lifecycle.Credential) Leak {
	start := reach.Start{Credential: cred.Key, Principal: cred.Principal, Policies: cred.Policies, Labels: cred.Labels}
	at := a.q.At.UnixNano()
	l := Leak{Credential: cred.Key, Principal: cred.Principal, State: cred.State(at).String(), Never: cred.NeverExpires(), Before: a.m.From(start)}
	if cred.ExpiresAt != 0 && !l.Never {
		until := time.Unix(0, cred.ExpiresAt).UTC()
		hours := max(0, until.Sub(a.q.At).Hours())
		l.Until, l.Hours = &until, &hours
	}
	a.view.Load(cred)
	proposal := a.view.Propose(cred.Key, at)
	if proposal.Granted > 0 {
		granted := int(proposal.Granted)
		l.Granted = &granted
	}
	switch a.q.After {
	case "revoke":
		none, hours := 0, 0.0
		l.AfterWhat, l.Left, l.AfterHours = "revoked", &none, &hours
		// What is gone can not be used to become somebody that a log saw it become.
		l.After = &reach.Answer{Start: l.Before.Start, Paths: []reach.Path{}}
	case "rightsize":
		if proposal.Incomplete != "" {
			l.Refused = "no narrower scope can be proposed: " + proposal.Incomplete
			break
		}
		rules := make([]scope.Rule, len(proposal.Rules))
		for i, rule := range proposal.Rules {
			rules[i] = scope.Rule{Resource: rule.Resource, Capabilities: rule.Capabilities}
		}
		left := int(proposal.Proposed)
		start.Powers, start.Policies = scope.PowersOf(cred.ID().System, rules), nil
		l.AfterWhat, l.Left, l.AfterHours = "narrowed to what was used", &left, l.Hours
		l.After = a.m.From(start)
	}
	return l
}

// Title of a leak for a reader.
func (l *Leak) Title() string {
	if l.Credential != "" {
		return l.Credential
	}
	return fmt.Sprintf("any credential of %s", l.Principal)
}
