package vaultserver

import (
	"io"
	"strings"
	"sync"
)

const tailBytes = 2048

// tail passes Vault's log on and keeps its end, which says why a server did not come up.
type tail struct {
	to io.Writer

	mu   sync.Mutex
	last []byte // under mu; at most tailBytes
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	t.last = append(t.last, p...)
	if over := len(t.last) - tailBytes; over > 0 {
		t.last = append(t.last[:0], t.last[over:]...)
	}
	t.mu.Unlock()
	if t.to != nil {
		// A reader of the log that fails must not end Vault, which a broken pipe would.
		_, _ = t.to.Write(p)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.last))
}
