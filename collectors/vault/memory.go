package vault

import "github.com/leastwise/leastwise/schemas/leastwisev1"

// generations is a map of bounded size: when the young half is full it becomes the old one, and the old is forgotten.
type generations[V any] struct {
	young, old map[string]V
	limit      int
}

func newGenerations[V any](limit int) generations[V] {
	return generations[V]{young: map[string]V{}, limit: limit}
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
		g.young, g.old = make(map[string]V, g.limit/8), g.young
	}
	g.young[key] = v
}

// interner keeps one copy of texts that come again and again: keys, paths, mounts, names. What is seen for the first
// time is cleaned; after that a look-up is all it costs.
type interner struct {
	seen  generations[string]
	clean func([]byte) string
}

func newInterner(clean func([]byte) string) *interner {
	return &interner{seen: newGenerations[string](8192), clean: clean}
}

func (n *interner) get(text []byte) string {
	if len(text) == 0 {
		return ""
	}
	if len(text) > 512 {
		return n.clean(text)
	}
	if s, ok := n.seen.get(text); ok {
		return s
	}
	s := n.clean(text)
	n.seen.put(string(text), s)
	return s
}

// recentIDs is a ring of request ids whose request line was decoded.
type recentIDs struct {
	ring [1024]string
	at   map[string]struct{}
	next int
}

func (r *recentIDs) add(id string) {
	if r.at == nil {
		r.at = make(map[string]struct{}, len(r.ring))
	}
	if _, ok := r.at[id]; ok {
		return
	}
	delete(r.at, r.ring[r.next])
	r.ring[r.next] = id
	r.at[id] = struct{}{}
	r.next = (r.next + 1) % len(r.ring)
}

func (r *recentIDs) has(id string) bool {
	_, ok := r.at[id]
	return ok
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
