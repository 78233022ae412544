package vault

import (
	"hash/maphash"

	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// generations is a map of bounded size: when the young half is full it becomes the old one, and the old is forgotten.
type generations[V any] struct {
	young, old map[string]V
	limit      int
}

func newGenerations[V any](limit int) generations[V] {
	return generations[V]{young: map[string]V{}, old: map[string]V{}, limit: limit}
}

func (g *generations[V]) get(key []byte) (V, bool) {
	if v, ok := g.young[string(key)]; ok {
		return v, true
	}
	v, ok := g.old[string(key)]
	if ok {
		g.put(string(key), v)
	}
	return v, ok
}

func (g *generations[V]) put(key string, v V) {
	if len(g.young) >= g.limit {
		g.young, g.old = g.old, g.young
		clear(g.young) // its room is used again
	}
	g.young[key] = v
}

// recentIDs remembers request ids whose request line was decoded, each in the one place that its hash gives it, until
// another needs that. An id that was pushed out is decoded from its response line once more, which gives the same event.
type recentIDs struct {
	seed maphash.Seed
	ids  [4096]recentID
}

type recentID struct {
	id    string
	plain bool // see entry.plainCall
}

func (r *recentIDs) at(hash uint64) *recentID { return &r.ids[hash%uint64(len(r.ids))] }

func (r *recentIDs) add(id string, plain bool) {
	*r.at(maphash.String(r.seed, id)) = recentID{id, plain}
}

func (r *recentIDs) has(id string) bool {
	return id != "" && r.at(maphash.String(r.seed, id)).id == id
}

func (r *recentIDs) plain(id []byte) bool {
	at := r.at(maphash.Bytes(r.seed, id))
	return at.plain && at.id == string(id)
}

// tokenNames remembers which accessor a token's hash stands for, and the events that wait to learn it.
type tokenNames struct {
	accessors generations[string]
	waiting   map[string][]*leastwisev1.Event
	count     int
}

const maxWaiting = 1024

func newTokenNames() *tokenNames {
	return &tokenNames{accessors: newGenerations[string](32768), waiting: map[string][]*leastwisev1.Event{}}
}

// learn returns the events that waited for this name.
func (t *tokenNames) learn(hash, accessor []byte) []*leastwisev1.Event {
	if len(hash) == 0 || len(accessor) == 0 || !isHash(hash) {
		return nil
	}
	if known, ok := t.accessors.get(hash); ok && known == string(accessor) {
		return nil
	}
	t.accessors.put(string(hash), cleanName(accessor))
	waited := t.waiting[string(hash)]
	delete(t.waiting, string(hash))
	t.count -= len(waited)
	return waited
}

func (t *tokenNames) wait(hash string, ev *leastwisev1.Event) {
	if t.count < maxWaiting {
		t.waiting[hash] = append(t.waiting[hash], ev)
		t.count++
	}
}
