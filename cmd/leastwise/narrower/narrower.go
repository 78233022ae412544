// Package narrower answers which scope the observed use of a credential or an identity justifies, and what that scope
// would have refused. Package processor/rightsize makes the proposal; here is what it is made from.
package narrower

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/processor/core"
	"github.com/leastwise/leastwise/processor/lifecycle"
	"github.com/leastwise/leastwise/processor/record"
	"github.com/leastwise/leastwise/processor/rightsize"
	"github.com/leastwise/leastwise/processor/scope"
	"github.com/leastwise/leastwise/schemas"
)

// ErrNobody says that neither a credential nor an identity has the name.
var ErrNobody = record.ErrNobody

// Question asks about a credential or an identity by its key or the end of it.
type Question struct {
	Name         string
	Days, Replay int
	Now          time.Time
}

// Report is the answer.
type Report struct {
	Name        string    `json:"name"`
	Credentials []string  `json:"credentials"`
	From        time.Time `json:"observed_from"`
	Until       time.Time `json:"observed_until"`
	// Gaps say why use may be missing, so that the proposal may be too narrow.
	Gaps []string `json:"gaps"`
	// Granted, Used and Proposed count permissions; Granted is nil if it is not known.
	Granted  *int `json:"granted"`
	Used     int  `json:"used"`
	Proposed int  `json:"proposed"`
	// Uses are what the proposal rests on.
	Uses     []rightsize.Use     `json:"uses"`
	Proposal *rightsize.Proposal `json:"proposal"`
	// Refused is what the proposal would have refused of the last ReplayDays; empty is what is wanted.
	ReplayDays int                 `json:"replay_days"`
	Replayed   uint64              `json:"replayed"`
	Refusals   []rightsize.Use     `json:"would_have_refused"`
	Artifact   *rightsize.Artifact `json:"artifact"`
	// Why there is no proposal, if so.
	Refused string `json:"refused,omitempty"`
}

// maxCredentials of one identity are looked at.
const maxCredentials = 2000

// Ask answers.
func Ask(ctx context.Context, db *store.DB, cat *catalog.Catalog, q Question) (*Report, error) {
	graph, subject, err := record.Who(ctx, db, q.Name)
	if err != nil {
		return nil, err
	}
	r := &Report{Name: subject.Credential, Until: q.Now.UTC(), From: q.Now.UTC().AddDate(0, 0, -q.Days), ReplayDays: q.Replay,
		Gaps: []string{}, Uses: []rightsize.Use{}, Refusals: []rightsize.Use{}}
	if subject.Credential != "" {
		r.Credentials = []string{subject.Credential}
	} else {
		r.Name = subject.Principal
		if r.Credentials, err = record.HeldSince(ctx, db, record.HolderOf(graph, subject), r.From, maxCredentials); err != nil {
			return nil, err
		}
		if len(r.Credentials) == 0 {
			r.Refused = fmt.Sprintf("no credential of it was alive within %s", counted(q.Days, "day", "days"))
			return r, nil
		}
		if len(r.Credentials) == maxCredentials {
			r.Gaps = append(r.Gaps, fmt.Sprintf("only the newest %d of its credentials were looked at", maxCredentials))
		}
	}
	newest, err := record.FindCredential(ctx, db, r.Credentials[0])
	if err != nil {
		return nil, err
	}
	return r, r.propose(ctx, db, cat, q, newest)
}

// propose takes what the newest credential is granted: an identity's next one is granted the same.
func (r *Report) propose(ctx context.Context, db *store.DB, cat *catalog.Catalog, q Question, newest *lifecycle.Credential) error {
	system := newest.ID().System
	if rightsize.IsOAuth(system) {
		return r.proposeScopes(ctx, db, q, newest)
	}
	grants := scope.NewGrants()
	if err := record.LoadGrants(ctx, db, grants.Put); err != nil {
		return err
	}
	granted := grants.Powers(scope.Query{Credential: newest.ID(), Principal: newest.Principal, Policies: newest.Policies, Labels: newest.Labels})
	view := core.New(core.Options{Grants: grants, Observation: time.Duration(q.Days) * 24 * time.Hour})
	view.Catalog(cat)
	view.Load(newest)
	said := view.Propose(newest.Key, q.Now.UnixNano())
	if !granted.Known {
		r.Refused = "what it is granted is not known: " + granted.Why
		return nil
	}
	count := int(said.Granted)
	r.Granted = &count
	same := sameSystem(r.Credentials, system)
	if len(same) < len(r.Credentials) {
		r.Gaps = append(r.Gaps, fmt.Sprintf("%d credentials of other issuers are proposed for apart: ask for one of them", len(r.Credentials)-len(same)))
	}
	uses, err := r.observe(ctx, db, q, newest, same)
	if err != nil || r.Refused != "" {
		return err
	}
	r.Used = permissions(uses)
	r.Proposal = rightsize.Propose(system, granted, uses)
	for _, rule := range r.Proposal.Rules {
		for _, capability := range rule.Capabilities {
			if capability != "deny" {
				r.Proposed++
			}
		}
	}
	replay, all, err := record.Uses(ctx, db, system, same, q.Now.AddDate(0, 0, -q.Replay))
	if err != nil {
		return err
	}
	if !all {
		r.Gaps = append(r.Gaps, "more distinct uses than are replayed")
	}
	for _, use := range replay {
		r.Replayed += use.Count
	}
	r.Refusals = rightsize.Refused(granted, r.Proposal.Powers(), replay)
	artifact := r.Proposal.Artifact(policyName(newest))
	r.Artifact = &artifact
	return nil
}

// observe reads what was used, and why some of it may be missing.
func (r *Report) observe(ctx context.Context, db *store.DB, q Question, newest *lifecycle.Credential, same []string) ([]rightsize.Use, error) {
	silent, err := record.Gaps(ctx, db, newest.ID().System, newest.ID().Instance, r.From, q.Now)
	if err != nil {
		return nil, err
	}
	r.Gaps = append(r.Gaps, silent...)
	if newest.Inferred() {
		r.Gaps = append(r.Gaps, "which uses are its is not certain: no log names its id (confidence: inferred)")
	}
	uses, all, err := record.Uses(ctx, db, newest.ID().System, same, r.From)
	if err != nil {
		return nil, err
	}
	if !all {
		r.Gaps = append(r.Gaps, "more distinct uses than are looked at: some permissions that were used are not proposed")
	}
	if r.Uses = uses; len(uses) == 0 {
		r.Refused = fmt.Sprintf("no use was seen within %s, so no scope is justified: end the credential, or look for a longer time (--days)", counted(q.Days, "day", "days"))
	}
	return uses, nil
}

func sameSystem(keys []string, system string) (out []string) {
	for _, key := range keys {
		if k, err := schemas.ParseKey(key); err == nil && k.System == system {
			out = append(out, key)
		}
	}
	return out
}

func permissions(uses []rightsize.Use) int {
	seen := map[string]bool{}
	for _, use := range uses {
		seen[use.Permission+" "+use.Resource] = true
	}
	return len(seen)
}

// policyName for what is proposed, of letters that every issuer takes.
func policyName(c *lifecycle.Credential) string {
	name := c.Labels["role_name"]
	if name == "" {
		name = c.Principal[strings.LastIndexAny(c.Principal, "/:")+1:]
	}
	name = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		}
		return '-'
	}, name)
	return "rightsized-" + name[:min(len(name), 60)]
}
