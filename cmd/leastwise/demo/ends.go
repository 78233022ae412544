package demo

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
	"github.com/leastwise/leastwise/cmd/leastwise/patience"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/leastwise/leastwise/simulator/fleet"
)

// missing names what is not as expected yet.
func (w *watcher) missing(ctx context.Context) []string {
	w.mu.Lock()
	agents := make([]seen, 0, len(w.agents))
	for _, a := range w.agents {
		agents = append(agents, *a)
	}
	w.mu.Unlock()
	slices.SortFunc(agents, func(a, b seen) int { return strings.Compare(a.agent.Name, b.agent.Name) })
	var out []string
	for i := range agents {
		if why := w.missingOf(ctx, &agents[i]); why != "" {
			out = append(out, agents[i].agent.Name+": "+why)
		}
	}
	return out
}

// wantCalls is how many calls an agent must have made with its new credential, all of them let through.
const wantCalls = 5

func (w *watcher) missingOf(ctx context.Context, a *seen) string {
	state := pb.LadderState_NONE
	if a.ladder != nil {
		state = a.ladder.State
	}
	expect := func(want pb.LadderState_State, alive bool) string {
		if state != want {
			return fmt.Sprintf("is %s, expected %s", state, want)
		}
		return w.checkAlive(ctx, a.accessor, alive)
	}
	switch a.agent.End {
	case fleet.EndUntouched:
		if state != pb.LadderState_NONE {
			return fmt.Sprintf("is %s, expected no ladder", state)
		}
		if a.report.Calls.OK < wantCalls {
			return "has made few calls"
		}
	case fleet.EndNotified:
		return expect(pb.LadderState_NOTIFIED, true)
	case fleet.EndExempted:
		return expect(pb.LadderState_EXEMPTED, true)
	case fleet.EndEscalated:
		return expect(pb.LadderState_ESCALATED, true)
	case fleet.EndGivenBack:
		return missingOfBackup(a, state)
	case fleet.EndReissued:
		switch {
		case a.closed == nil:
			return fmt.Sprintf("is %s, expected a re-issue and CLOSED", state)
		case a.closed.SeenInLogAt == nil:
			return "the revocation did not come back in the audit log"
		case a.closed.Reissue.GrantedAfter > a.closed.Reissue.GrantedBefore,
			a.agent.Name == fleet.Ingest && a.closed.Reissue.GrantedAfter == a.closed.Reissue.GrantedBefore: // the over-broad one
			return fmt.Sprintf("was given %d permissions, had %d", a.closed.Reissue.GrantedAfter, a.closed.Reissue.GrantedBefore)
		case a.delivered == nil || a.delivered.Calls.OK < wantCalls:
			return "has not gone on with its new credential"
		case a.delivered.Calls.Denied+a.delivered.Calls.Failed > 0:
			return fmt.Sprintf("with its new credential %d calls were denied and %d failed", a.delivered.Calls.Denied, a.delivered.Calls.Failed)
		}
		return w.checkAlive(ctx, a.accessor, false)
	}
	return ""
}

func (w *watcher) checkAlive(ctx context.Context, accessor string, want bool) string {
	if accessor == "" {
		return "its credential is not known"
	}
	alive, err := w.vault.TokenAlive(ctx, accessor)
	switch {
	case err != nil:
		return fmt.Sprintf("Vault could not be asked: %v", err)
	case alive != want:
		return fmt.Sprintf("Vault says alive %v of its credential, expected %v", alive, want)
	}
	return ""
}

// compareCounts holds what the product counted of the probing agent against what the agent counted itself: each denial
// by distinct permission, none of them a use.
func (w *watcher) compareCounts(ctx context.Context, engines *allinone.Engines, left *patience.Watch) error {
	w.mu.Lock()
	probing := w.agents[fleet.Probing].report
	w.mu.Unlock()
	for {
		var uses, denied, distinct uint64
		row := engines.Store.QueryRow(ctx, `SELECT uses, denied, denied_permissions FROM credentials FINAL WHERE endsWith(credential, ?)`, probing.Credential)
		if err := row.Scan(&uses, &denied, &distinct); err != nil {
			return fmt.Errorf("read the probing agent's counts: %w", err)
		}
		made := probing.Calls
		others := uses - made.OK + denied - made.Denied // what Vault answered and the agent did not live to hear
		if uses >= made.OK && denied >= made.Denied && others <= made.CutOff && distinct == uint64(made.DeniedPermissions) {
			w.board.step("attempts_counted", fleet.Probing, "uses", uses, "denied", denied, "distinct_permissions", distinct)
			return nil
		}
		if why := left.Over(fmt.Sprint("counts", uses, denied, distinct)); why != "" {
			return fmt.Errorf("%s: probing: %d uses, %d denied on %d permissions counted; the agent made %d, %d on %d", why, uses, denied, distinct,
				probing.Calls.OK, probing.Calls.Denied, probing.Calls.DeniedPermissions)
		}
		if !wait(ctx, 200*time.Millisecond) {
			return nil
		}
	}
}
