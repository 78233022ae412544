package vault

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/leastwise/leastwise/collectors/collect"
)

const (
	maxHashes  = 100_000
	maxUnhash  = 10_000
	resolveFor = 2 * time.Second
)

// hashes knows what the device's hashes stand for. Vault hashes one way only, so each name that may be asked for later
// is hashed when it is seen: leases, certificates, and accessors where the device logs them in clear.
type hashes struct {
	vault  *server
	device string

	busy  sync.Mutex // held while one name is hashed, so that none is in flight when resolve has it
	mu    sync.Mutex // guards what follows
	known generations[string]
	queue []string
	ready chan struct{}
}

func newHashes(vault *server, device string) *hashes {
	return &hashes{vault: vault, device: device, known: newGenerations[string](maxHashes), ready: make(chan struct{}, 1)}
}

// remember queues a clear name. Beyond the bound the oldest is dropped: its revocation will name only the hash.
func (h *hashes) remember(name string) {
	if h.device == "" {
		return
	}
	h.mu.Lock()
	if len(h.queue) >= maxUnhash {
		h.queue = append(h.queue[:0], h.queue[1:]...)
	}
	h.queue = append(h.queue, name)
	h.mu.Unlock()
	select {
	case h.ready <- struct{}{}:
	default:
	}
}

// work hashes what is queued until ctx ends.
func (h *hashes) work(ctx context.Context) {
	for {
		for {
			more, err := h.one(ctx)
			if err != nil && !collect.Pause(ctx, 5*time.Second) {
				return
			}
			if !more {
				break
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-h.ready:
		}
	}
}

// one hashes the next queued name; on failure it stays queued.
func (h *hashes) one(ctx context.Context) (more bool, err error) {
	h.busy.Lock()
	defer h.busy.Unlock()
	h.mu.Lock()
	if len(h.queue) == 0 || ctx.Err() != nil {
		h.mu.Unlock()
		return false, nil
	}
	name := h.queue[0]
	h.queue = h.queue[1:]
	h.mu.Unlock()
	if _, err := h.hash(ctx, name); err != nil {
		h.mu.Lock()
		h.queue = append([]string{name}, h.queue...)
		h.mu.Unlock()
		return true, err
	}
	return true, nil
}

// hash asks Vault. Both directions are remembered.
func (h *hashes) hash(ctx context.Context, name string) (string, error) {
	h.mu.Lock()
	hash, ok := h.known.get([]byte(name))
	h.mu.Unlock()
	if ok {
		return hash, nil
	}
	data, err := h.vault.write(ctx, "sys/audit-hash/"+h.device, map[string]any{"input": name})
	if err != nil {
		return "", err
	}
	hash = text(data["hash"])
	if !isHash(hash) {
		return "", fmt.Errorf("hash with sys/audit-hash/%s: the answer holds no hash", h.device)
	}
	h.mu.Lock()
	h.known.put(name, hash)
	h.known.put(hash, name)
	h.mu.Unlock()
	return hash, nil
}

// resolve gives the other name: of a hash the clear one, of a clear one the hash. It hashes what is still queued first,
// for a bounded time, so it may block that long.
func (h *hashes) resolve(name string) (string, bool) {
	if h.device == "" {
		return "", false
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolveFor)
	defer cancel()
	if !isHash(name) {
		hash, err := h.hash(ctx, name)
		return hash, err == nil
	}
	for {
		h.mu.Lock()
		other, ok := h.known.get([]byte(name))
		h.mu.Unlock()
		if ok {
			return other, true
		}
		if more, err := h.one(ctx); !more || err != nil {
			h.mu.Lock()
			other, ok = h.known.get([]byte(name)) // the worker may have been at it
			h.mu.Unlock()
			return other, ok
		}
	}
}

// nameSet is a bounded set of names, each new until taken.
type nameSet struct {
	mu    sync.Mutex // guards names
	names map[string]bool
	limit int
}

func newNameSet(limit int) *nameSet { return &nameSet{names: map[string]bool{}, limit: limit} }

// add reports whether the name is new.
func (s *nameSet) add(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.names[name]; ok || len(s.names) >= s.limit || name == "" {
		return false
	}
	s.names[name] = true
	return true
}

// take gives the new names, or all; none is new afterwards.
func (s *nameSet) take(all bool) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for name, fresh := range s.names {
		if fresh || all {
			names = append(names, name)
			s.names[name] = false
		}
	}
	return names
}

// undo makes a name new again.
func (s *nameSet) undo(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names[name] = true
}
