package lifecycle

import "sync"

// pool keeps one copy of equal values, found by a key. It never shrinks: policy sets and label maps are few, because
// issuers hand them out by role. Past its limit it stops sharing rather than growing.
type pool[T any] struct {
	mu   sync.Mutex
	held map[string]T // guarded by mu
}

const poolLimit = 100_000

func newPool[T any]() *pool[T] { return &pool[T]{held: map[string]T{}} }

func (p *pool[T]) get(key []byte, build func() T) T {
	p.mu.Lock()
	defer p.mu.Unlock()
	if value, ok := p.held[string(key)]; ok {
		return value
	}
	value := build()
	if len(p.held) < poolLimit {
		p.held[string(key)] = value
	}
	return value
}
