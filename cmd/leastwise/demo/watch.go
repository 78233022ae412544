package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
	"github.com/leastwise/leastwise/enforcer/exception"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/leastwise/leastwise/simulator/fleet"
)

var errReached = errors.New("every ladder has reached its expected end")

// watcher follows agents and journal, tells the board, and knows when everybody is where they are expected to be.
type watcher struct {
	board *board
	vault *fleet.Site
	opts  Options

	mu     sync.Mutex
	agents map[string]*seen  // by agent; guarded by mu
	holder map[string]string // agent by credential id; guarded by mu
}

// seen is what is known of one agent.
type seen struct {
	agent     fleet.Agent
	report    fleet.Report
	delivered *fleet.Report // the last of the credential that was given back
	// first is the credential the ladder is about; its accessor in clear.
	accessor string
	ladder   *pb.LadderState
	decided  string // policies of the last decision
	asked    bool   // an exception was asked for
	closed   *pb.LadderState
}

func newWatcher(b *board, vault *fleet.Site, opts Options) *watcher {
	w := &watcher{board: b, vault: vault, opts: opts, agents: map[string]*seen{}, holder: map[string]string{}}
	for _, agent := range fleet.Agents() {
		w.agents[agent.Name] = &seen{agent: agent}
	}
	return w
}

// run plays the fleet and watches it. With Once it returns errReached, or what is missing.
func (w *watcher) run(ctx context.Context, engines *allinone.Engines) error {
	fleetCtx, stopFleet := context.WithCancel(ctx)
	defer stopFleet()
	stopped := make(chan struct{})
	return daemon.Together(ctx,
		func(ctx context.Context) error {
			stop := context.AfterFunc(ctx, stopFleet)
			defer stop()
			err := w.vault.Run(fleetCtx, fleet.RunOptions{Seed: w.opts.Seed, DeliveryDir: deliveryDir(w.opts), Report: w.report})
			if err != nil {
				return fmt.Errorf("fleet: %w", err)
			}
			close(stopped)
			<-ctx.Done()
			return nil
		},
		func(ctx context.Context) error {
			return engines.Stream.Follow(ctx, schemas.TopicDecisions, nil, w.decision)
		},
		func(ctx context.Context) error {
			return engines.Stream.Follow(ctx, schemas.TopicEnforcement, nil, func(m stream.Message) error {
				return w.step(ctx, engines, m)
			})
		},
		func(ctx context.Context) error { return w.waitForEnds(ctx, engines, stopFleet, stopped) },
		w.redraw,
	)
}

func (w *watcher) report(r fleet.Report) {
	w.mu.Lock()
	defer w.mu.Unlock()
	name, _, child := strings.Cut(r.Agent, "/")
	a := w.agents[name]
	if a == nil {
		return
	}
	if r.Credential != "" {
		w.holder[r.Credential] = name
	}
	if child {
		return
	}
	a.report = r
	if r.Delivered {
		a.delivered = &r
	}
	switch r.Event {
	case fleet.LoggedIn:
		w.board.step("issued", name, "credential", r.Credential)
	case fleet.Lost:
		w.board.step("agent_lost_credential", name, "credential", r.Credential)
	case fleet.Reissued:
		w.board.step("agent_took_new_credential", name, "credential", r.Credential)
	}
}

// agentOf finds the agent behind a credential; mu is held.
func (w *watcher) agentOf(credential string) *seen {
	key, err := schemas.ParseKey(credential)
	if err != nil {
		return nil
	}
	return w.agents[w.holder[key.ID]]
}

func (w *watcher) decision(m stream.Message) error {
	var d pb.Decision
	if d.UnmarshalVT(m.Value) != nil || len(d.Violations) == 0 {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.agentOf(d.Credential)
	if a == nil {
		return nil
	}
	var policies []string
	for _, v := range d.Violations {
		policies = append(policies, v.PolicyId)
	}
	if decided := strings.Join(policies, " ") + d.Credential; decided != a.decided {
		a.decided = decided
		v := d.Violations[0]
		w.board.step("decision", a.agent.Name, "credential", d.Credential, "policies", policies,
			"metric", v.Metric, "value", v.Value, "threshold", v.Threshold)
	}
	return nil
}

// step takes an entry of the journal.
func (w *watcher) step(ctx context.Context, engines *allinone.Engines, m stream.Message) error {
	l := &pb.LadderState{}
	if len(m.Value) == 0 || l.UnmarshalVT(m.Value) != nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.agentOf(l.Credential)
	if a == nil {
		return nil
	}
	news := a.ladder == nil || a.ladder.LadderId != l.LadderId || a.ladder.State != l.State
	seenNow := l.SeenInLogAt != nil && (a.ladder == nil || a.ladder.SeenInLogAt == nil)
	a.ladder = l
	if seenNow {
		w.board.step("revocation_seen_in_audit_log", a.agent.Name, "credential", l.Credential, "at", clock(l.SeenInLogAt))
	}
	if !news {
		return nil
	}
	w.tell(a, l)
	if l.State == pb.LadderState_CLOSED && l.Reissue != nil {
		a.closed = l
	}
	if a.accessor == "" && a.report.Credential != "" && strings.HasSuffix(l.Credential, a.report.Credential) {
		a.accessor = a.report.Accessor
	}
	if a.agent.End == fleet.EndExempted && l.State == pb.LadderState_NOTIFIED && !a.asked {
		a.asked = true
		return w.askForException(ctx, engines, l)
	}
	return nil
}

func (w *watcher) tell(a *seen, l *pb.LadderState) {
	fields := []any{"credential", l.Credential, "ladder", l.LadderId}
	add := func(name string, value string) {
		if value != "" {
			fields = append(fields, name, value)
		}
	}
	if l.RevokeAt != nil && (l.State == pb.LadderState_NOTIFIED || l.State == pb.LadderState_REMINDED) {
		add("revoke_at", clock(l.RevokeAt))
		fields = append(fields, "told", l.Told)
	}
	add("waiting", l.Waiting)
	if l.State == pb.LadderState_REVOKED {
		add("proof", l.Proof)
	}
	add("reason", l.Reason)
	if r := l.Reissue; r != nil && l.State >= pb.LadderState_REISSUE_INTENDED {
		fields = append(fields, "policy", r.PolicyName, "granted_before", r.GrantedBefore, "granted_after", r.GrantedAfter)
	}
	w.board.step(strings.ToLower(l.State.String()), a.agent.Name, fields...)
}

// askForException plays the owner who justifies, and somebody else who approves.
func (w *watcher) askForException(ctx context.Context, engines *allinone.Engines, l *pb.LadderState) error {
	now := time.Now()
	e, err := exception.Request(ctx, engines.Stream, &pb.Exception{Credential: l.Credential, PolicyId: "*",
		Reason: "the archive is migrated until the end of the month and needs one session", Ticket: "ARCH-118",
		Until: timestamppb.New(now.Add(time.Hour)), RequestedBy: "dana@records"}, exception.Limits{}, now)
	if err != nil {
		return fmt.Errorf("ask for an exception: %w", err)
	}
	w.board.step("exception_requested", fleet.Excepted, "exception", e.Id, "by", e.RequestedBy)
	e, err = exception.Approve(ctx, engines.Stream, e.Id, "sam@security", exception.Limits{}, now)
	if err != nil {
		return fmt.Errorf("approve an exception: %w", err)
	}
	w.board.step("exception_approved", fleet.Excepted, "exception", e.Id, "by", e.ApprovedBy, "until", clock(e.Until))
	return nil
}

// waitForEnds looks until every agent is where it is expected to be. Without Once the demo then just goes on.
func (w *watcher) waitForEnds(ctx context.Context, engines *allinone.Engines, stopFleet func(), stopped <-chan struct{}) error {
	deadline := time.Now().Add(w.opts.Limit)
	var missing []string
	for {
		if missing = w.missing(ctx); len(missing) == 0 {
			break
		}
		if w.opts.Once && time.Now().After(deadline) {
			return fmt.Errorf("after %s: %s", w.opts.Limit, strings.Join(missing, "; "))
		}
		if !wait(ctx, 250*time.Millisecond) {
			return nil
		}
	}
	w.board.step("all_ends_reached", "")
	if !w.opts.Once {
		<-ctx.Done()
		return nil
	}
	stopFleet()
	select {
	case <-stopped:
	case <-ctx.Done():
		return nil
	}
	return w.compareCounts(ctx, engines, deadline)
}

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
func (w *watcher) compareCounts(ctx context.Context, engines *allinone.Engines, deadline time.Time) error {
	w.mu.Lock()
	probing := w.agents[fleet.Probing].report
	w.mu.Unlock()
	for {
		var uses, denied, distinct uint64
		row := engines.Store.QueryRow(ctx, `SELECT uses, denied, denied_permissions FROM credentials FINAL WHERE endsWith(credential, ?)`, probing.Credential)
		if err := row.Scan(&uses, &denied, &distinct); err != nil {
			return fmt.Errorf("read the probing agent's counts: %w", err)
		}
		if uses == probing.Calls.OK && denied == probing.Calls.Denied && distinct == uint64(probing.Calls.DeniedPermissions) {
			w.board.step("attempts_counted", fleet.Probing, "uses", uses, "denied", denied, "distinct_permissions", distinct)
			w.board.step("done", "", "result", "every ladder has reached its expected end")
			return errReached
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("probing: %d uses, %d denied on %d permissions counted; the agent made %d, %d on %d", uses, denied, distinct,
				probing.Calls.OK, probing.Calls.Denied, probing.Calls.DeniedPermissions)
		}
		if !wait(ctx, 200*time.Millisecond) {
			return nil
		}
	}
}

func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func clock(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().UTC().Format("2006-01-02T15:04:05.000Z")
}

func (w *watcher) redraw(ctx context.Context) error {
	for w.board.live && wait(ctx, 300*time.Millisecond) {
		w.mu.Lock()
		var rows []row
		for _, agent := range fleet.Agents() {
			rows = append(rows, rowOf(w.agents[agent.Name]))
		}
		w.mu.Unlock()
		w.board.draw(rows)
	}
	<-ctx.Done()
	return nil
}
