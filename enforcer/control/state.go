package control

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

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
	approvals map[string]map[string]*pb.Control // by ladder id, then by the rest of the key
	rollbacks map[string]*pb.Control            // by ladder id
	restores  map[string]*pb.Control            // by ladder id
	denied    map[string]map[string]*pb.Control // by ladder id, then by credential
	resume    *pb.Control
}

// deniedMost bounds the credentials of one ladder of which denials are kept:
// whoever decides has long heard enough by then.
const deniedMost = 256

// Approval is one person's yes.
type Approval struct {
	By string // one spelling for one person
	At time.Time
}

// Snapshot is one reading of the settings that hold for all ladders.
type Snapshot struct {
	// Mode and Budget are nil where nobody set them: the configuration holds.
	Mode   *pb.Ladder_Mode
	Budget *Budget
	// Kill is the record that switched everything off; nil: not switched.
	Kill *pb.Control
	// Resumed is since when revocations count in budgets; zero: within an hour.
	Resumed time.Time
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
	case key == keyResume:
		s.resume = c
	case strings.HasPrefix(key, keyApprove):
		id, rest, _ := strings.Cut(strings.TrimPrefix(key, keyApprove), "/")
		if s.approvals == nil {
			s.approvals = map[string]map[string]*pb.Control{}
		}
		s.approvals[id] = with(s.approvals[id], rest, c)
	case strings.HasPrefix(key, keyRollback):
		s.rollbacks = with(s.rollbacks, strings.TrimPrefix(key, keyRollback), c)
	case strings.HasPrefix(key, keyRestore):
		s.restores = with(s.restores, strings.TrimPrefix(key, keyRestore), c)
	case strings.HasPrefix(key, keyDenied):
		id, credential, _ := strings.Cut(strings.TrimPrefix(key, keyDenied), "/")
		if s.denied == nil {
			s.denied = map[string]map[string]*pb.Control{}
		}
		if known := s.denied[id]; known[credential] != nil || len(known) < deniedMost {
			s.denied[id] = with(known, credential, c)
		}
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
	now := Snapshot{Mode: s.mode, Budget: s.budget, Kill: s.kill}
	if s.resume.GetSetAt().IsValid() {
		now.Resumed = s.resume.SetAt.AsTime()
	}
	return now
}

// Approvals are those of one act of a ladder, one for each person, the last
// that they gave, in the order of time. One without a name is none.
func (s *State) Approvals(ladderID string, act Class) []Approval {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var list []Approval
	for _, c := range s.approvals[ladderID] {
		by := person(c.GetSetBy())
		if by == "" || Class(cmp.Or(c.Act, string(Revoke))) != act {
			continue
		}
		a := Approval{By: by, At: c.GetSetAt().AsTime()}
		if i := slices.IndexFunc(list, func(b Approval) bool { return b.By == by }); i < 0 {
			list = append(list, a)
		} else if a.At.After(list[i].At) {
			list[i] = a
		}
	}
	slices.SortFunc(list, func(a, b Approval) int { return cmp.Or(a.At.Compare(b.At), strings.Compare(a.By, b.By)) })
	return list
}

// Rollback gives who asked for a rollback of the ladder, nil if nobody did.
func (s *State) Rollback(ladderID string) *pb.Control {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.rollbacks[ladderID]
}

// Restore gives who asked to have back what the ladder took, nil if nobody
// did. A wish without a name or a reason is none.
func (s *State) Restore(ladderID string) *pb.Control {
	s.mu.RLock()
	defer s.mu.RUnlock()
	c := s.restores[ladderID]
	if person(c.GetSetBy()) == "" || strings.TrimSpace(c.GetReason()) == "" || !c.GetSetAt().IsValid() {
		return nil
	}
	return c
}

// IsDenied tells whether the record notes denials: it changes no setting.
func IsDenied(m stream.Message) bool { return strings.HasPrefix(string(m.Key), keyDenied) }

// DeniedTo gives what was noted of one credential, and whether anything can be.
func (s *State) DeniedTo(ladderID, credential string) (denials []*pb.Denial, room bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	known := s.denied[ladderID]
	return known[credential].GetDenials(), known[credential] != nil || len(known) < deniedMost
}

// Denied gives what the ladder's re-issue denied, to all credentials together,
// first seen first.
func (s *State) Denied(ladderID string) []*pb.Denial {
	s.mu.RLock()
	defer s.mu.RUnlock()
	sum := map[string]*pb.Denial{}
	for _, c := range s.denied[ladderID] {
		for _, d := range c.GetDenials() {
			all := sum[d.GetPermission()]
			if all == nil {
				sum[d.GetPermission()] = proto.CloneOf(d)
				continue
			}
			all.Count += d.GetCount()
			if d.GetFirstAt().AsTime().Before(all.GetFirstAt().AsTime()) {
				all.FirstAt = d.FirstAt
			}
			if d.GetLastAt().AsTime().After(all.GetLastAt().AsTime()) {
				all.LastAt = d.LastAt
			}
		}
	}
	return slices.SortedFunc(maps.Values(sum), func(a, b *pb.Denial) int {
		return cmp.Or(a.GetFirstAt().AsTime().Compare(b.GetFirstAt().AsTime()), strings.Compare(a.Permission, b.Permission))
	})
}

// SamePerson tells whether two names are spellings of one.
func SamePerson(a, b string) bool { return person(a) == person(b) }

// person makes "Alice " and "alice" one, so that nobody counts twice.
func person(name string) string { return strings.ToLower(strings.TrimSpace(name)) }
