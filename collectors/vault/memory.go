package vault

import (
	"crypto/sha256"
	"encoding/hex"
	"hash/maphash"

	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"google.golang.org/protobuf/proto"
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
	accessors tokenAccessors
	waiting   map[string][]*leastwisev1.Event
	count     int
}

const maxWaiting = 1024

func newTokenNames() *tokenNames {
	return &tokenNames{waiting: map[string][]*leastwisev1.Event{}}
}

// learn returns the events that waited for this name.
func (t *tokenNames) learn(hash, accessor []byte) []*leastwisev1.Event {
	if len(hash) == 0 || len(accessor) == 0 || !isHash(hash) {
		return nil
	}
	if t.accessors.learn(hash, accessor) {
		return nil
	}
	waited := t.waiting[string(hash)]
	delete(t.waiting, string(hash))
	t.count -= len(waited)
	return waited
}

func (t *tokenNames) wait(hash string, ev *leastwisev1.Event) {
	if t.count < maxWaiting {
		// A copy: the caller may let go of the event.
		t.waiting[hash] = append(t.waiting[hash], proto.Clone(ev).(*leastwisev1.Event))
		t.count++
	}
}

// tokenAccessors is generations of accessors by the hash of their token. A log names more tokens than fit, so most lines
// change it: what Vault writes as hmac-sha256 and 64 digits is held as 32 bytes, and costs no memory of its own.
type tokenAccessors struct{ young, old map[digest]accessor }

const maxAccessors = 32768 // in each generation

type digest [32]byte

// accessor is one as the log shows it: a text, or, if there is none, a hash.
type accessor struct {
	hash digest
	text string
}

// learn notes an accessor, and tells whether it was known.
func (t *tokenAccessors) learn(token, text []byte) (known bool) {
	key, now := keyDigest(token), accessor{}
	var hashed bool
	if now.hash, hashed = digestOf(text); !hashed {
		now.hash, now.text = digest{}, cleanName(text)
	}
	was, ok := t.young[key]
	if !ok {
		was, ok = t.old[key]
		t.put(key, now)
	} else if was != now {
		t.young[key] = now
	}
	return ok && was == now
}

// get gives the accessor of a token.
func (t *tokenAccessors) get(token []byte) (string, bool) {
	key := keyDigest(token)
	found, ok := t.young[key]
	if !ok {
		if found, ok = t.old[key]; !ok {
			return "", false
		}
		t.put(key, found)
	}
	if found.text == "" {
		return hashMark + hex.EncodeToString(found.hash[:]), true
	}
	return found.text, true
}

func (t *tokenAccessors) put(key digest, a accessor) {
	if t.young == nil {
		t.young, t.old = map[digest]accessor{}, map[digest]accessor{}
	}
	if len(t.young) >= maxAccessors {
		t.young, t.old = t.old, t.young
		clear(t.young) // its room is used again
	}
	t.young[key] = a
}

// digestOf is the hash that a text says; false if it is written in another way than Vault's.
func digestOf(text []byte) (d digest, ok bool) {
	if !isHash(text) || len(text) != len(hashMark)+hex.EncodedLen(len(d)) {
		return d, false
	}
	digits := text[len(hashMark):]
	for _, c := range digits {
		if c >= 'A' && c <= 'F' { // it would be given back as another text
			return d, false
		}
	}
	_, err := hex.Decode(d[:], digits)
	return d, err == nil
}

// keyDigest is digestOf for a text of any kind.
func keyDigest(text []byte) digest {
	if d, ok := digestOf(text); ok {
		return d
	}
	return sha256.Sum256(text)
}
