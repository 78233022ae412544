package vault

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	hashPrefix = "hmac-sha256:"
	// relist is how long a list of accessors holds for a hash that is not in it.
	relist = 10 * time.Second
)

// accessors remembers which accessor has which hash. It is bounded by the
// number of live accessors: what a list does not hold any more is forgotten.
type accessors struct {
	mu     sync.Mutex // guards what follows; held while resolving, so that callers share one round
	byHash map[string]string
	hashed map[string]string // accessor to hash
	listed time.Time         // of the last list that was hashed whole
	count  int
}

// resolve gives the accessor that the audit device hashes to hash. found is
// false when no live accessor does: of a token that is gone, or of another
// device. A round cut short by ctx goes on where it stopped.
func (t *Target) resolve(ctx context.Context, hash string) (accessor string, found bool, err error) {
	a := &t.accessor
	a.mu.Lock()
	defer a.mu.Unlock()
	if accessor, ok := a.byHash[hash]; ok {
		return accessor, true, nil
	}
	if !a.listed.IsZero() && t.now().Sub(a.listed) < relist {
		return "", false, nil
	}
	list, err := t.list(ctx)
	if err != nil {
		return "", false, err
	}
	if a.byHash == nil {
		a.byHash, a.hashed = map[string]string{}, map[string]string{}
	}
	live := make(map[string]bool, len(list))
	for _, accessor := range list {
		live[accessor] = true
		if _, ok := a.hashed[accessor]; ok {
			continue
		}
		h, err := t.hash(ctx, accessor)
		if err != nil {
			return "", false, fmt.Errorf("hash accessors of live tokens (%d of %d so far): %w", len(a.hashed), len(list), err)
		}
		a.hashed[accessor], a.byHash[h] = h, accessor
	}
	for accessor, h := range a.hashed {
		if !live[accessor] {
			delete(a.hashed, accessor)
			delete(a.byHash, h)
		}
	}
	a.listed, a.count = t.now(), len(list)
	accessor, found = a.byHash[hash]
	return accessor, found, nil
}

func (t *Target) list(ctx context.Context) ([]string, error) {
	secret, err := t.call(ctx, request{method: "LIST", path: "auth/token/accessors", capability: "list and sudo", step: "list accessors"})
	if err != nil {
		return nil, err
	}
	var list []string
	if secret != nil {
		keys, _ := secret.Data["keys"].([]any)
		for _, k := range keys {
			if accessor, ok := k.(string); ok {
				list = append(list, accessor)
			}
		}
	}
	return list, nil
}

func (t *Target) hash(ctx context.Context, text string) (string, error) {
	if err := t.hashes.Wait(ctx); err != nil {
		return "", fmt.Errorf("wait for a turn at sys/audit-hash: %w", err)
	}
	secret, err := t.call(ctx, request{method: http.MethodPost, path: "sys/audit-hash/" + t.cfg.AuditDevice,
		body: map[string]string{"input": text}, capability: "update", step: "hash an accessor as the audit log does"})
	if err != nil {
		return "", err
	}
	h, _ := secret.Data["hash"].(string)
	if !strings.HasPrefix(h, hashPrefix) {
		return "", fmt.Errorf("hash an accessor: Vault's answer holds no hash")
	}
	return h, nil
}
