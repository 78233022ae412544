package fleet

import (
	"cmp"
	"math"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Snapshot is the fleet at a time. It does not change.
type Snapshot struct {
	// Version grows with every change.
	Version uint64
	// AsOf is the newest that ClickHouse was told when this was read; zero: nothing yet.
	AsOf  time.Time
	Items []*Item

	heard  atomic.Int64 // newer than AsOf where only heartbeats came since
	beats  atomic.Pointer[map[string]beat]
	byKey  map[string]*Item
	mu     sync.Mutex
	sorted map[Sort][]*Item // guarded by mu
	kept   map[string]*kept // guarded by mu
}

// NewestAt is the newest that ClickHouse was told.
func (s *Snapshot) NewestAt() time.Time {
	if at := s.heard.Load(); at > 0 {
		return time.Unix(0, at).UTC()
	}
	return s.AsOf
}

// silentAfter is when a heartbeat is missed; one comes every half minute by default.
const silentAfter = 5 * time.Minute

// Heard tells whether what a source did not tell did not happen: it is read, and says so. A source that never sent a
// heartbeat is a log at hand, and heard.
func (s *Snapshot) Heard(source, instance string, now time.Time) bool {
	beats := s.beats.Load()
	if beats == nil {
		return true
	}
	b, known := (*beats)[source+"/"+instance]
	return !known || !b.trouble && now.UnixNano()-b.at < int64(silentAfter)
}

// Get finds a credential; nil if it is not there.
func (s *Snapshot) Get(key string) *Item { return s.byKey[key] }

// Sort is an order of credentials.
type Sort string

// The orders. In each, what is unknown comes last, and equals stand in the order of their keys.
const (
	ByDeviation   Sort = "deviation"    // furthest past its policy first
	BySecondsLeft Sort = "seconds_left" // soonest end first
	ByScopeWeight Sort = "scope_weight" // most first
	ByAttempts    Sort = "attempts"     // most first
	ByLastUsed    Sort = "last_used_at" // newest first
)

// Valid tells whether there is such an order.
func (by Sort) Valid() bool {
	return slices.Contains([]Sort{ByDeviation, BySecondsLeft, ByScopeWeight, ByAttempts, ByLastUsed}, by)
}

// rank is what an order compares: smaller comes first.
func (by Sort) rank(it *Item) float64 {
	switch by {
	case BySecondsLeft:
		switch {
		case it.ExpiresAt != 0:
			return float64(it.ExpiresAt)
		case it.NeverExpires:
			return math.MaxFloat64 / 2
		}
		return math.MaxFloat64
	case ByScopeWeight:
		if it.ScopePermissions < 0 {
			return math.MaxFloat64
		}
		return -it.ScopeWeight
	case ByAttempts:
		return -float64(it.Attempts)
	case ByLastUsed:
		if it.LastUsedAt == 0 {
			return math.MaxFloat64
		}
		return -float64(it.LastUsedAt)
	}
	return -it.Deviation
}

// Sorted gives all items in an order. The caller does not change it.
func (s *Snapshot) Sorted(by Sort) []*Item {
	s.mu.Lock()
	defer s.mu.Unlock()
	if list := s.sorted[by]; list != nil {
		return list
	}
	type ranked struct { // side by side: what is compared is not looked up
		rank float64
		it   *Item
	}
	ranks := make([]ranked, len(s.Items))
	for i, it := range s.Items {
		ranks[i] = ranked{by.rank(it), it}
	}
	slices.SortFunc(ranks, func(a, b ranked) int {
		if a.rank != b.rank {
			return cmp.Compare(a.rank, b.rank)
		}
		return strings.Compare(a.it.Key, b.it.Key)
	})
	list := make([]*Item, len(ranks))
	for i, r := range ranks {
		list[i] = r.it
	}
	if s.sorted == nil {
		s.sorted = map[Sort][]*Item{}
	}
	s.sorted[by] = list
	return list
}

// Position is where a page ended.
type Position struct {
	Rank float64
	Key  string
}

// Filter chooses credentials. Its zero value chooses all.
type Filter struct {
	Owners                       []string // any of them; nil: whoever
	Source, Policy, State, Agent string
	Principals                   []string // any of them; nil: whoever
	Text                         string   // words, each of which is in key, agent, owner or principal
}

// Unowned is what a filter calls those whose owner nobody knows.
const Unowned = "none"

func (f *Filter) fits(it *Item, words []string, now int64) bool {
	switch {
	case f.State != "" && it.State(now) != f.State,
		f.Source != "" && it.Source != f.Source,
		f.Agent != "" && it.Agent != f.Agent,
		f.Policy != "" && !it.Violates(f.Policy),
		f.Owners != nil && !slices.Contains(f.Owners, it.Owner) && (it.Owner != "" || !slices.Contains(f.Owners, Unowned)),
		f.Principals != nil && !slices.Contains(f.Principals, it.Principal):
		return false
	}
	for _, word := range words {
		if !strings.Contains(it.search, word) {
			return false
		}
	}
	return true
}

// Select gives up to limit items after a position in an order, and the position of the last if there are more.
func (s *Snapshot) Select(f Filter, by Sort, after *Position, limit int, now time.Time) (items []*Item, next *Position) {
	list := s.Sorted(by)
	if after != nil {
		begin := sort.Search(len(list), func(i int) bool {
			rank := by.rank(list[i])
			return rank > after.Rank || rank == after.Rank && list[i].Key > after.Key
		})
		list = list[begin:]
	}
	words := strings.Fields(strings.ToLower(f.Text))
	nanos := now.UnixNano()
	for _, it := range list {
		if !f.fits(it, words, nanos) {
			continue
		}
		if len(items) == limit {
			last := items[len(items)-1]
			return items, &Position{by.rank(last), last.Key}
		}
		items = append(items, it)
	}
	return items, nil
}

type kept struct {
	mu    sync.Mutex
	until time.Time
	bytes []byte
}

// Keep gives what `of` makes, and for a while the same to all who ask; who asks meanwhile waits.
func (s *Snapshot) Keep(name string, now time.Time, lasts time.Duration, of func() []byte) []byte {
	s.mu.Lock()
	if s.kept == nil {
		s.kept = map[string]*kept{}
	}
	k := s.kept[name]
	if k == nil {
		k = &kept{}
		s.kept[name] = k
	}
	s.mu.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	if !now.Before(k.until) {
		k.bytes, k.until = of(), now.Add(lasts)
	}
	return k.bytes
}
