package narrower

import (
	"context"
	"fmt"
	"strings"

	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/processor/lifecycle"
	"github.com/leastwise/leastwise/processor/record"
	"github.com/leastwise/leastwise/processor/rightsize"
)

// proposeScopes for a token of OAuth: what it is granted are the scopes that it names itself.
func (r *Report) proposeScopes(ctx context.Context, db *store.DB, q Question, newest *lifecycle.Credential) error {
	same := sameSystem(r.Credentials, newest.ID().System)
	granted := newest.Policies
	if len(granted) == 0 {
		r.Refused = "what it is granted is not known: no record tells the scopes of " + newest.Key
		return nil
	}
	count := len(granted)
	r.Granted = &count
	held, err := record.ScopesOf(ctx, db, same)
	if err != nil {
		return err
	}
	uses, err := r.observe(ctx, db, q, newest, same)
	if err != nil || r.Refused != "" {
		return err
	}
	proposal, used, unnamed := rightsize.ProposeScopes(granted, held, uses)
	r.Used = len(used)
	switch {
	case len(unnamed) > 0:
		r.Refused = fmt.Sprintf("no record tells which scope %s needed, as %s, so each of its scopes may have been used: let the registry write the scope as permission",
			counted(len(unnamed), "kind of use", "kinds of use"), strings.Join(names(unnamed), ", "))
		return nil
	case len(used) == 0:
		r.Refused = "no use needed a scope that it has"
		return nil
	}
	r.Proposal, r.Proposed = proposal, len(used)
	replay, all, err := record.Uses(ctx, db, newest.ID().System, same, q.Now.AddDate(0, 0, -q.Replay))
	if err != nil {
		return err
	}
	if !all {
		r.Gaps = append(r.Gaps, "more distinct uses than are replayed")
	}
	for _, use := range replay {
		r.Replayed += use.Count
		before, _, _ := rightsize.ProposeScopes(granted, held, []rightsize.Use{use})
		after, _, _ := rightsize.ProposeScopes(used, held, []rightsize.Use{use})
		if len(before.Rules) > 0 && len(after.Rules) == 0 {
			r.Refusals = append(r.Refusals, use)
		}
	}
	artifact := proposal.Artifact("")
	r.Artifact = &artifact
	return nil
}

// names of some of the permissions.
func names(uses []rightsize.Use) (out []string) {
	for _, use := range uses[:min(len(uses), 3)] {
		out = append(out, fmt.Sprintf("%q", use.Permission))
	}
	return out
}

// counted is a number with its noun.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
