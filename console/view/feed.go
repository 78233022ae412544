package view

import (
	"encoding/binary"
	"encoding/json"
	"hash/maphash"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/console/fleet"
)

// Feed is the whole fleet in columns, for pictures: a length, a header in JSON, and the columns one after another, all
// little-endian. It is sorted by deviation, worst first. State "" takes all states. Two feeds of one sum tell the same, at
// times that are at most feedAge apart.
func (v *View) Feed(state string) (out []byte, sum uint64) {
	now := v.Now.UnixNano()
	var items []*fleet.Item
	for _, it := range v.Sorted(fleet.ByDeviation) {
		if state == "" || it.State(now) == state {
			items = append(items, it)
		}
	}
	n, letters, violations := len(items), 0, 0
	for _, it := range items {
		letters += len(valid(it.Key))
		violations += len(it.Decision.GetViolations())
	}
	f := newFeed(n, letters, violations)
	f.header.AsOf, f.header.Now, f.header.Count, f.header.Total = v.NewestAt(), v.Now.UTC(), n, n
	end, past := 0, 0
	for i, it := range items { // one credential after another: each is far from the next in memory
		f.f64("issued_at", i, millis(it.IssuedAt))
		if it.NeverExpires && it.ExpiresAt == 0 {
			f.f64("expires_at", i, math.Inf(1))
		} else {
			f.f64("expires_at", i, millis(it.ExpiresAt))
		}
		f.f64("last_used_at", i, millis(it.LastUsedAt))
		known := it.ScopePermissions >= 0
		f.f32("scope_weight", i, it.ScopeWeight, known)
		f.f32("scope_permissions", i, float64(it.ScopePermissions), known)
		unused, known := v.unused(it)
		f.f32("unused_ratio", i, unused, known)
		utilization, known := v.utilization(it, now)
		f.f32("utilization", i, utilization, known)
		f.f32("deviation", i, it.Deviation, true)
		f.u32("attempts", i, bound(it.Attempts))
		f.u32("uses_24h", i, bound(within(it.Uses24h, it.LastUsedAt, now, day)))
		f.data[f.at["state"]+i] = stateNumber(it.State(now))
		f.data[f.at["severity"]+i] = it.Severity
		f.name("owner", "owner", i, it.Owner)
		f.name("source", "source", i, it.Source)
		f.name("agent", "agent", i, it.Agent)
		f.name("type", "type", i, it.Type)
		worst := ""
		if w := it.Worst(); w != nil {
			worst = w.PolicyId
		}
		f.name("worst_policy", "policy", i, worst)
		for _, violated := range it.Decision.GetViolations() {
			f.name("policies", "policy", past, violated.PolicyId)
			past++
		}
		f.u32("policies_at", i+1, uint32(past))
		end += copy(f.data[f.at["keys"]+end:], valid(it.Key))
		f.u32("key_at", i+1, uint32(end))
	}
	return f.bytes()
}

// feedAge bounds how old the time in a feed may be that is still taken for the same: a picture's line for now moves with it.
const feedAge = 5 * time.Minute

var sums = maphash.MakeSeed()

// states in the order of their numbers.
var states = []string{fleet.Active, fleet.Expired, fleet.Revoked, fleet.Unknown}

func stateNumber(state string) uint8 { return uint8(slices.Index(states, state)) }

func bound(n uint64) uint32 { return uint32(min(n, math.MaxUint32)) }

func millis(nanos int64) float64 {
	if nanos == 0 {
		return math.NaN()
	}
	return float64(nanos) / float64(time.Millisecond)
}

func valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

// none is the index of what has no name.
const none = math.MaxUint32

type dictionary struct {
	at    map[string]uint32
	names []string
}

func (d *dictionary) index(name string) uint32 {
	if name == "" {
		return none
	}
	at, ok := d.at[name]
	if !ok {
		at = uint32(len(d.names))
		d.at[name], d.names = at, append(d.names, name)
	}
	return at
}

type feedColumn struct {
	Name   string `json:"name"`
	Type   string `json:"type"`
	Offset int    `json:"offset"`
	Length int    `json:"length"`
}

type feed struct {
	header struct {
		AsOf         time.Time           `json:"as_of"`
		Now          time.Time           `json:"now"`
		Count        int                 `json:"count"`
		Total        int                 `json:"total"`
		Columns      []feedColumn        `json:"columns"`
		Dictionaries map[string][]string `json:"dictionaries"`
		States       []string            `json:"states"`
	}
	at    map[string]int // where a column begins
	names map[string]*dictionary
	data  []byte
}

// newFeed makes room for n credentials whose keys have that many bytes, and which stand past policies that often. Each column begins where it can be viewed in place.
func newFeed(n, letters, violations int) *feed {
	f := &feed{at: map[string]int{}, names: map[string]*dictionary{}}
	size := 0
	add := func(kind string, width, length int, names ...string) {
		for _, name := range names {
			size = (size + 7) &^ 7
			f.at[name] = size
			f.header.Columns = append(f.header.Columns, feedColumn{name, kind, size, length})
			size += width * length
		}
	}
	add("f64", 8, n, "issued_at", "expires_at", "last_used_at")
	add("f32", 4, n, "scope_weight", "scope_permissions", "unused_ratio", "utilization", "deviation")
	add("u32", 4, n, "attempts", "uses_24h")
	add("u8", 1, n, "state", "severity")
	add("u32", 4, n, "owner", "source", "agent", "type", "worst_policy")
	add("u32", 4, n+1, "policies_at")
	add("u32", 4, violations, "policies")
	add("u32", 4, n+1, "key_at")
	add("u8", 1, letters, "keys")
	f.data = make([]byte, size)
	f.header.States = states
	for _, name := range []string{"owner", "source", "agent", "type", "policy"} {
		f.names[name] = &dictionary{at: map[string]uint32{}, names: []string{}}
	}
	return f
}

func (f *feed) f64(column string, i int, value float64) {
	binary.LittleEndian.PutUint64(f.data[f.at[column]+8*i:], math.Float64bits(value))
}

func (f *feed) f32(column string, i int, value float64, known bool) {
	if !known {
		value = math.NaN()
	}
	binary.LittleEndian.PutUint32(f.data[f.at[column]+4*i:], math.Float32bits(float32(value)))
}

func (f *feed) u32(column string, i int, value uint32) {
	binary.LittleEndian.PutUint32(f.data[f.at[column]+4*i:], value)
}

func (f *feed) name(column, names string, i int, name string) {
	f.u32(column, i, f.names[names].index(name))
}

// bytes puts the length and the header before the columns; a column's offset counts from the beginning of the body.
func (f *feed) bytes() (out []byte, sum uint64) {
	f.header.Dictionaries = map[string][]string{}
	for name, d := range f.names {
		f.header.Dictionaries[name] = d.names
	}
	write := func() []byte {
		header, err := json.Marshal(f.header)
		if err != nil {
			return []byte("{}") // times, numbers and texts always encode
		}
		return header
	}
	header := write()
	for (4+len(header))%8 != 0 {
		header = append(header, ' ')
	}
	out = make([]byte, 0, 4+len(header)+len(f.data))
	out = binary.LittleEndian.AppendUint32(out, uint32(len(header)))
	out = append(append(out, header...), f.data...)
	f.header.AsOf, f.header.Now = time.Time{}, f.header.Now.Truncate(feedAge)
	var h maphash.Hash
	h.SetSeed(sums)
	_, _ = h.Write(write())
	_, _ = h.Write(f.data)
	return out, h.Sum64()
}
