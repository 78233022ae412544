package enforcer

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/leastwise/leastwise/enforcer/control"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// budgetWindow is the hour of "20/h".
const budgetWindow = time.Hour

// ScopedBudget bounds what is revoked at one target, or of one owner.
type ScopedBudget struct {
	scope       scope
	Budget      control.Budget
	Used        int
	Live        int
	LiveUnknown string
}

// Allows is how many the budget allows. Nobody counts the live credentials of
// an owner: their budget is a count alone.
func (b ScopedBudget) Allows() int {
	if b.scope.owner != "" {
		return b.Budget.Count
	}
	return b.Budget.Allows(b.Live)
}

// Name as a reader knows it.
func (b ScopedBudget) Name() string {
	if b.scope.owner != "" {
		return "owner " + short(b.scope.owner)
	}
	return "target " + short(b.scope.target)
}

// scope is a part of all credentials; the zero value is all.
type scope struct{ target, owner string }

func (c scope) has(i intent) bool {
	return (c.target == "" || c.target == i.target) && (c.owner == "" || c.owner == i.owner)
}

// intent is when a ladder last intended to revoke, at what and from whom.
type intent struct {
	scope
	at time.Time
}

// nobody stands for all credentials of which no owner is known: together they
// are one owner's.
const nobody = "(nobody)"

func scopeOf(s *pb.LadderState) scope {
	c := scope{owner: cmp.Or(s.GetDecision().GetSubject().GetOwner().GetId(), nobody)}
	if key, err := schemas.ParseKey(s.GetCredential()); err == nil {
		c.target = key.System + "/" + key.Instance
	}
	return c
}

// ledger counts the revocations of the last hour over all partitions, from the
// journal: a restart does not refill the budget. It counts intents, since a
// revocation that was reported as failed may have been done; several attempts
// of one ladder are one. The zero value is empty.
type ledger struct {
	mu sync.Mutex
	// By ladder; guarded by mu.
	intents map[string]intent
	// Re-issues that are watched, by ladder; guarded by mu.
	corrections map[string]correction
}

// apply takes a record of the journal, this process's own included.
func (b *ledger) apply(m stream.Message) error {
	s, err := decodeEntry(m)
	if err != nil {
		return err
	}
	b.watch(s)
	// Compaction may have removed the intent and left what came after it.
	switch {
	case s.State == pb.LadderState_REVOKE_INTENDED || s.State == pb.LadderState_REVOKED || intended(s):
		b.note(s.LadderId, intent{scopeOf(s), s.At.AsTime()})
	case s.RevokedAt != nil:
		b.note(s.LadderId, intent{scopeOf(s), s.RevokedAt.AsTime()})
	}
	return nil
}

func (b *ledger) note(ladderID string, i intent) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.intents == nil {
		b.intents = map[string]intent{}
	}
	if last, ok := b.intents[ladderID]; !ok || i.at.After(last.at) {
		b.intents[ladderID] = i
	}
}

// used counts the intents within the window before now, not before since, that
// of one ladder left out. An intent dated in the future counts.
func (b *ledger) used(now, since time.Time, except string, part scope) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.count(now, since, except, part)
}

func (b *ledger) count(now, since time.Time, except string, part scope) int {
	n := 0
	for id, i := range b.intents {
		switch {
		case now.Sub(i.at) >= budgetWindow:
			delete(b.intents, id)
		case id != except && !i.at.Before(since) && part.has(i):
			n++
		}
	}
	return n
}

// room is how many intents a part allows.
type room struct {
	scope
	allowed int
}

// reserve takes one place if every part has room for it, so that two
// partitions do not take the last one both. The place of a ladder that has one
// is its own.
func (b *ledger) reserve(now, since time.Time, ladderID string, in scope, rooms ...room) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range rooms {
		if b.count(now, since, ladderID, r.scope) >= r.allowed {
			return false
		}
	}
	if b.intents == nil {
		b.intents = map[string]intent{}
	}
	b.intents[ladderID] = intent{in, now}
	return true
}

// counting is since when revocations count: for an hour, or since somebody
// resumed. A resumption that is dated in the future resumes nothing yet.
func (e *Enforcer) counting(now time.Time) time.Time {
	since := now.Add(-budgetWindow)
	if at := e.control.Now().Resumed; at.After(since) && !at.After(now) {
		since = at
	}
	return since
}

func (e *Enforcer) reserve(now time.Time, s *pb.LadderState, f *Facts) bool {
	rooms := []room{{allowed: f.Budget.Allows(f.Live)}}
	for _, b := range f.Budgets {
		rooms = append(rooms, room{b.scope, b.Allows()})
	}
	return e.ledger.reserve(now, e.counting(now), s.LadderId, scopeOf(s), rooms...)
}

// scoped are the budgets of the credential's target and owner.
func (e *Enforcer) scoped(ctx context.Context, now, since time.Time, s *pb.LadderState, d *pb.Decision, i *issuer) []ScopedBudget {
	var list []ScopedBudget
	own := scopeOf(&pb.LadderState{Credential: s.Credential, Decision: d})
	if limit, ok := e.budgets[i.name]; ok {
		b := ScopedBudget{scope: scope{target: i.name}, Budget: limit, Live: e.cfg.LiveCredentials}
		b.Used = e.ledger.used(now, since, s.LadderId, b.scope)
		if b.Live == 0 {
			var err error
			if b.Live, err = i.liveCount(ctx, now); err != nil {
				b.LiveUnknown = cleanError(err)
			}
		}
		list = append(list, b)
	}
	if e.ownerBudget != nil {
		b := ScopedBudget{scope: scope{owner: own.owner}, Budget: *e.ownerBudget}
		b.Used = e.ledger.used(now, since, s.LadderId, b.scope)
		list = append(list, b)
	}
	return list
}

func decodeEntry(m stream.Message) (*pb.LadderState, error) {
	s := &pb.LadderState{}
	if err := s.UnmarshalVT(m.Value); err != nil {
		return nil, fmt.Errorf("journal entry of %q at %s/%d:%d: %w", m.Key, m.Topic, m.Partition, m.Offset, err)
	}
	if s.Credential != string(m.Key) || s.At == nil {
		return nil, fmt.Errorf("journal entry of %q at %s/%d:%d: it names credential %q", m.Key, m.Topic, m.Partition, m.Offset, s.Credential)
	}
	return s, nil
}
