package control

import (
	"fmt"
	"strings"
	"sync"

	"github.com/leastwise/leastwise/internal/stream"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// State is what the topic says now. The zero value says nothing; it is safe
// for concurrent use.
type State struct {
	mu        sync.RWMutex
	mode      *pb.Ladder_Mode
	kill      *pb.Control
	budget    *Budget
	approvals map[string]*pb.Control // by ladder id
	rollbacks map[string]*pb.Control // by ladder id
}

// Snapshot is one reading of the settings that hold for all ladders.
type Snapshot struct {
	// Mode and Budget are nil where nobody set them: the configuration holds.
	Mode   *pb.Ladder_Mode
	Budget *Budget
	// Kill is the record that switched everything off; nil: not switched.
	Kill *pb.Control
}

// Apply takes a record of the topic. A record that can not be understood is an
// error and counts as the strictest value: kill switch on, mode observe, budget
// nothing.
func (s *State) Apply(m stream.Message) error {
	c := &pb.Control{}
	err := c.UnmarshalVT(m.Value)
	s.mu.Lock()
	defer s.mu.Unlock()
	key := string(m.Key)
	switch {
	case key == "kill_switch":
		s.kill = nil
		if err != nil || c.Value != "off" {
			s.kill = c
		}
		return err
	case key == "mode":
		mode, err := ParseMode(c.Value)
		s.mode = &mode
		return err
	case key == "budget":
		b, err := ParseBudget(c.Value)
		s.budget = &b
		return err
	case err != nil:
		return fmt.Errorf("setting %q: %w", key, err)
	case strings.HasPrefix(key, "approve/"):
		s.approvals = with(s.approvals, strings.TrimPrefix(key, "approve/"), c)
	case strings.HasPrefix(key, "rollback/"):
		s.rollbacks = with(s.rollbacks, strings.TrimPrefix(key, "rollback/"), c)
	default:
		return fmt.Errorf("setting %q: %w", key, ErrInvalid)
	}
	return nil
}

func with(m map[string]*pb.Control, id string, c *pb.Control) map[string]*pb.Control {
	if m == nil {
		m = map[string]*pb.Control{}
	}
	m[id] = c
	return m
}

// Now reads the settings.
func (s *State) Now() Snapshot {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return Snapshot{Mode: s.mode, Budget: s.budget, Kill: s.kill}
}

// ApprovedBy names who approved the ladder; empty: nobody.
func (s *State) ApprovedBy(ladderID string) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.approvals[ladderID].GetSetBy()
}

// Rollback gives who asked for a rollback of the ladder, nil if nobody did.
func (s *State) Rollback(ladderID string) *pb.Control {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.rollbacks[ladderID]
}
