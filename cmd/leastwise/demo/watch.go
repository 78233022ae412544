package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
	"github.com/leastwise/leastwise/cmd/leastwise/patience"
	"github.com/leastwise/leastwise/enforcer/exception"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/leastwise/leastwise/simulator/fleet"
	"github.com/leastwise/leastwise/simulator/sources"
)

var errReached = errors.New("all is as it was expected")

// watcher follows agents and journal, tells the board, and knows when everybody is where they are expected to be.
type watcher struct {
	board   *board
	vault   *fleet.Site
	sources *sources.Sources
	opts    Options

	mu     sync.Mutex
	agents map[string]*seen  // by agent; guarded by mu
	holder map[string]string // agent by credential id; guarded by mu
	moves  int               // what happened on ladders and to credentials; guarded by mu
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
	restored *pb.LadderState // given back to somebody with a reason
	works    bool            // since then
}

func newWatcher(b *board, vault *fleet.Site, others *sources.Sources, opts Options) *watcher {
	w := &watcher{board: b, vault: vault, sources: others, opts: opts, agents: map[string]*seen{}, holder: map[string]string{}}
	for _, agent := range fleet.Agents() {
		w.agents[agent.Name] = &seen{agent: agent}
	}
	if others.Key != nil {
		w.agents[sources.Backup] = &seen{agent: backupJob}
		w.holder[others.Key.ID] = sources.Backup
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
			err := daemon.Together(fleetCtx,
				func(ctx context.Context) error {
					return w.vault.Run(ctx, fleet.RunOptions{Seed: w.opts.Seed, DeliveryDir: deliveryDir(w.opts), Report: w.report, Called: w.sources.Called})
				},
				func(ctx context.Context) error { return w.sources.Run(ctx, w.took) })
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
		func(ctx context.Context) error { return w.breakGlass(ctx, engines) },
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
		w.board.step("issued", name, "source", sources.Vault, "credential", r.Credential)
		if name == fleet.Steady {
			w.sources.Took(r.Credential)
		}
	case fleet.Lost:
		w.moves++
		w.board.step("agent_lost_credential", name, "credential", r.Credential)
	case fleet.Reissued:
		w.moves++
		w.board.step("agent_took_new_credential", name, "credential", r.Credential)
	}
}

// took tells of a credential that the steady agent took elsewhere than at Vault.
func (w *watcher) took(source, key string) {
	w.board.step("issued", fleet.Steady, "source", source, "credential", key)
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
		w.moves++
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
	if seenNow || news {
		w.moves++
	}
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
	if l.State == pb.LadderState_RESTORED {
		a.restored = l
	}
	due := a.agent.End == fleet.EndExempted && l.State == pb.LadderState_NOTIFIED || a.agent.End == fleet.EndGivenBack && a.restored != nil
	if due && !a.asked {
		a.asked = true
		return w.askForException(ctx, engines, a.agent.Name, l)
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
func (w *watcher) askForException(ctx context.Context, engines *allinone.Engines, agent string, l *pb.LadderState) error {
	now := time.Now()
	asked := &pb.Exception{Credential: l.Credential, PolicyId: "*", Until: timestamppb.New(now.Add(time.Hour)), RequestedBy: "dana@records",
		Reason: "the archive is migrated until the end of the month and needs one session", Ticket: "ARCH-118"}
	if agent == sources.Backup {
		asked.RequestedBy, asked.Reason, asked.Ticket = onCall, "the backup moves to a role; until then it needs its key", "BACKUP-7"
	}
	e, err := exception.Request(ctx, engines.Stream, asked, exception.Limits{}, now)
	if err != nil {
		return fmt.Errorf("ask for an exception: %w", err)
	}
	w.board.step("exception_requested", agent, "exception", e.Id, "by", e.RequestedBy)
	e, err = exception.Approve(ctx, engines.Stream, e.Id, "sam@security", exception.Limits{}, now)
	if err != nil {
		return fmt.Errorf("approve an exception: %w", err)
	}
	w.board.step("exception_approved", agent, "exception", e.Id, "by", e.ApprovedBy, "until", clock(e.Until))
	return nil
}

// waitForEnds looks until every agent is where it is expected to be. Without Once the demo then just goes on.
func (w *watcher) waitForEnds(ctx context.Context, engines *allinone.Engines, stopFleet func(), stopped <-chan struct{}) error {
	left := patience.New(0, 0)
	if w.opts.Once {
		left = patience.New(w.opts.Quiet, w.opts.Limit)
	}
	for {
		missing := w.missing(ctx)
		if len(missing) == 0 {
			break
		}
		if why := left.Over(fmt.Sprint("moves ", w.moved())); why != "" {
			return fmt.Errorf("%s: %s", why, strings.Join(missing, "; "))
		}
		if !wait(ctx, 250*time.Millisecond) {
			return nil
		}
	}
	w.board.step("all_ends_reached", "")
	if !w.opts.Once {
		if err := w.whoUntil(ctx, engines, left); err != nil || ctx.Err() != nil {
			return err
		}
		if err := w.askGate(ctx, engines); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	}
	stopFleet()
	select {
	case <-stopped:
	case <-ctx.Done():
		return nil
	}
	// The agents hold what they held last: all of it comes to be known.
	for _, end := range []func() error{
		func() error { return w.compareCounts(ctx, engines, left) },
		func() error { return w.whoUntil(ctx, engines, left) },
		func() error { return w.askGate(ctx, engines) },
	} {
		if err := end(); err != nil || ctx.Err() != nil {
			return err
		}
	}
	w.board.step("done", "", "result", errReached.Error())
	return errReached
}

// moved changes when something happens on a ladder or to a credential; the calls that agents make for ever are none of that.
func (w *watcher) moved() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.moves
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
		if a := w.agents[sources.Backup]; a != nil {
			a.report.Calls.OK, a.report.Calls.Denied = w.sources.BackedUp()
		}
		var rows []row
		for _, agent := range append(fleet.Agents(), backupJob) {
			if a := w.agents[agent.Name]; a != nil {
				rows = append(rows, rowOf(a))
			}
		}
		w.mu.Unlock()
		w.board.draw(rows)
	}
	<-ctx.Done()
	return nil
}
