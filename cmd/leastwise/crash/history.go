package crash

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/collectors/vault"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/leastwise/leastwise/simulator/fleet"
)

const (
	credentials = 400
	calls       = 24_000
	malformed   = 1000
	// The log ends shortly before the test begins and is short, so that nothing expires and each window holds all of it
	// whenever it is looked at.
	logSpan   = 10 * time.Minute
	logEnded  = time.Minute
	threshold = 4 // of policy probing: distinct refused permissions
	curious   = 2 // of policy curious, for those that live longer than longLife
	longLife  = 100 * time.Hour
)

// history is the log with all that is known of it beforehand.
type history struct {
	file     string
	size     int64
	truth    fleet.AuditTruth
	tokens   map[string]*fleet.AuditCredential // by credential key
	keys     []string                          // in order of issue
	children map[string][]string               // keys, by the parent's
	events   map[[16]byte]int                  // what a decoder makes of the log, by id
	letters  map[[32]byte]int                  // lines that can not be read, by their hashes: two may be cut off alike
}

// write makes the log and reads it once as the collector does.
func write(file string, seed uint64) (*history, error) {
	out, err := os.Create(file)
	if err != nil {
		return nil, fmt.Errorf("write the audit log: %w", err)
	}
	truth, err := fleet.WriteAudit(out, fleet.AuditOptions{Seed: seed, Credentials: credentials, Calls: calls, Malformed: malformed,
		Start: time.Now().Add(-logSpan - logEnded), Span: logSpan, DeniedShare: 0.05, RenewShare: 0.04, RevokeShare: 0.003, ChildShare: 0.2})
	if err := errors.Join(err, out.Close()); err != nil {
		return nil, fmt.Errorf("write the audit log: %w", err)
	}
	h := &history{file: file, size: truth.Bytes, truth: truth, tokens: map[string]*fleet.AuditCredential{}, children: map[string][]string{},
		events: map[[16]byte]int{}, letters: map[[32]byte]int{}}
	for n := range truth.Credentials {
		c := &truth.Credentials[n]
		key := keyOf(c.Accessor)
		h.tokens[key], h.keys = c, append(h.keys, key)
		if c.Parent >= 0 {
			parent := keyOf(truth.Credentials[c.Parent].Accessor)
			h.children[parent] = append(h.children[parent], key)
		}
	}
	return h, h.decode()
}

func keyOf(accessor string) string {
	return schemas.Key{System: vault.System, Instance: "default", Type: "token", ID: accessor}.String()
}

func (h *history) decode() error {
	reader, err := source.Open(h.file)
	if err != nil {
		return fmt.Errorf("read the audit log: %w", err)
	}
	defer reader.Close()
	lines := source.NewLines(reader, 0)
	decoder := vault.NewDecoder(vault.Options{})
	var events []*pb.Event
	bad := 0
	for {
		line, err := lines.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read the audit log: %w", err)
		}
		if events, err = decoder.Decode(events[:0], source.Record{Bytes: line.Bytes}); err != nil {
			h.letters[sha256.Sum256(line.Bytes)]++
			bad++
		}
		for _, ev := range events {
			h.events[[16]byte(ev.Id)] = 1
		}
	}
	if bad != h.truth.Malformed {
		return fmt.Errorf("the log was to hold %d lines that can not be read, and holds %d", h.truth.Malformed, bad)
	}
	return nil
}

// violates says what the policies say of a credential once the whole log was read, and whether it is then alive.
func (h *history) violates(key string) (violates, alive bool) {
	c := h.tokens[key]
	violates = c.DeniedPermissions >= threshold || c.DeniedPermissions >= curious && c.ExpiresAt.Sub(c.IssuedAt) > longLife
	return violates, c.Ended == ""
}

// revokable are the credentials that have to be revoked: they violate a policy, and live on.
func (h *history) revokable() map[string]bool {
	out := map[string]bool{}
	for _, key := range h.keys {
		if violates, alive := h.violates(key); violates && alive {
			out[key] = true
		}
	}
	return out
}
