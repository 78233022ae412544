package enforcer

import (
	"fmt"
	"sync"
	"time"

	"github.com/leastwise/leastwise/internal/stream"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// budgetWindow is the hour of "20/h".
const budgetWindow = time.Hour

// ledger counts the revocations of the last hour over all partitions, from the
// journal: a restart does not refill the budget. It counts intents, since a
// revocation that was reported as failed may have been done; several attempts
// of one ladder are one. The zero value is empty.
type ledger struct {
	mu sync.Mutex
	// When each ladder last intended to revoke; guarded by mu.
	intents map[string]time.Time
}

// apply takes a record of the journal, this process's own included.
func (b *ledger) apply(m stream.Message) error {
	s, err := decodeEntry(m)
	if err != nil {
		return err
	}
	// Compaction may have removed the intent and left what came after it.
	if s.State == pb.LadderState_REVOKE_INTENDED || s.State == pb.LadderState_REVOKED || intended(s) {
		b.note(s.LadderId, s.At.AsTime())
	}
	return nil
}

func (b *ledger) note(ladderID string, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.intents == nil {
		b.intents = map[string]time.Time{}
	}
	if last, ok := b.intents[ladderID]; !ok || at.After(last) {
		b.intents[ladderID] = at
	}
}

// used counts the intents within the window before now, that of one ladder
// left out. An intent dated in the future counts.
func (b *ledger) used(now time.Time, except string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.count(now, except)
}

func (b *ledger) count(now time.Time, except string) int {
	n := 0
	for id, at := range b.intents {
		switch {
		case now.Sub(at) >= budgetWindow:
			delete(b.intents, id)
		case id != except:
			n++
		}
	}
	return n
}

// reserve takes one place if there is room for it, so that two partitions do
// not take the last one both. The place of a ladder that has one is its own.
func (b *ledger) reserve(now time.Time, ladderID string, allowed int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.count(now, ladderID) >= allowed {
		return false
	}
	if b.intents == nil {
		b.intents = map[string]time.Time{}
	}
	b.intents[ladderID] = now
	return true
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
