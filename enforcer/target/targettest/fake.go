// Package targettest holds the contract that every revocation target passes,
// and a target in memory that passes it and can be made to fail.
package targettest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/leastwise/leastwise/enforcer/target"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Fake is an issuer in memory. It counts what was really done, so that a test
// can tell one revocation from two. The zero value has no credentials.
type Fake struct {
	mu       sync.Mutex
	alive    map[string]bool
	known    map[string]bool
	Revokes  map[string]int // calls that were carried out, by key
	Reissues map[string]int // by ladder id
	Rolled   int
	own      []string
	missing  []target.Missing

	// Before and After are asked around each act ("lookup", "revoke",
	// "verify", "plan", "reissue", "rollback", "live", "protected"). An error
	// of Before means that it was not done; one of After that it was.
	Before, After func(act string) error
	// Saw is called with the credential's key before a revocation ("revoke")
	// or a re-issue ("reissue"), and without one before a rollback.
	Saw func(act, key string)
	// Formerly are the permissions that the former scope allowed and what is
	// given back does not.
	Formerly []string
	// Hashed makes credentials that are gone unknown unless the question holds
	// what was found when they lived, as where logs show hashes alone.
	Hashed bool
}

// Add makes credentials that are alive.
func (f *Fake) Add(keys ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.alive == nil {
		f.alive, f.known, f.Revokes, f.Reissues = map[string]bool{}, map[string]bool{}, map[string]int{}, map[string]int{}
	}
	for _, k := range keys {
		f.alive[k], f.known[k] = true, true
	}
}

// Own makes keys the target's own.
func (f *Fake) Own(keys ...string) { f.own = append(f.own, keys...) }

// End ends a credential as somebody else would.
func (f *Fake) End(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.alive, key)
}

// Alive lists the live credentials.
func (f *Fake) Alive() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.alive))
}

// Revoked is how often a revocation of key was carried out.
func (f *Fake) Revoked(key string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.Revokes[key]
}

func (f *Fake) around(ctx context.Context, act string, do func()) error {
	if err := ctx.Err(); err != nil {
		return &target.Error{Op: act, Err: err}
	}
	if f.Before != nil {
		if err := f.Before(act); err != nil {
			return err
		}
	}
	f.mu.Lock()
	if f.alive == nil {
		f.alive, f.known, f.Revokes, f.Reissues = map[string]bool{}, map[string]bool{}, map[string]int{}, map[string]int{}
	}
	do()
	f.mu.Unlock()
	if f.After != nil {
		return f.After(act)
	}
	return nil
}

// Capabilities lacks nothing.
func (f *Fake) Capabilities(context.Context) ([]target.Missing, error) { return f.missing, nil }

// Lookup knows alive, gone, and unknown for what it never had.
func (f *Fake) Lookup(ctx context.Context, c target.Credential) (s target.Sighting, err error) {
	err = f.around(ctx, "lookup", func() {
		switch {
		case f.alive[c.Key]:
			s = target.Sighting{Status: target.Alive, Found: "id of " + c.Key, Detail: "alive"}
		case f.known[c.Key] && (!f.Hashed || c.Found == "id of "+c.Key):
			s = target.Sighting{Status: target.Gone, Detail: "gone"}
		default:
			s = target.Sighting{Detail: "never heard of it"}
		}
	})
	if err != nil {
		return target.Sighting{}, err
	}
	return s, nil
}

// Revoke ends the credential.
func (f *Fake) Revoke(ctx context.Context, c target.Credential) error {
	if f.Saw != nil {
		f.Saw("revoke", c.Key)
	}
	if slices.Contains(f.own, c.Key) {
		return &target.Error{Kind: target.Impossible, Op: "revoke", Err: target.ErrOwn}
	}
	return f.around(ctx, "revoke", func() {
		if f.alive[c.Key] {
			f.Revokes[c.Key]++
		}
		delete(f.alive, c.Key)
	})
}

// Verify proves what is gone.
func (f *Fake) Verify(ctx context.Context, c target.Credential) (p target.Proof, err error) {
	err = f.around(ctx, "verify", func() {
		p = target.Proof{Gone: f.known[c.Key] && !f.alive[c.Key] && (!f.Hashed || c.Found != ""), Text: fmt.Sprintf("alive: %t", f.alive[c.Key])}
	})
	if err != nil {
		return target.Proof{}, err
	}
	return p, nil
}

// Plan gives back what is proposed.
func (f *Fake) Plan(ctx context.Context, d *pb.Decision) (plan *pb.Reissue, refused string, err error) {
	err = f.around(ctx, "plan", func() {
		if len(d.GetProposal().GetRules()) == 0 {
			refused = "no use was observed"
			return
		}
		plan = &pb.Reissue{PolicyName: "leastwise-fake", PolicyText: "fake", GrantedBefore: d.Proposal.Granted, GrantedAfter: d.Proposal.Proposed}
	})
	return plan, refused, err
}

// Reissue counts.
func (f *Fake) Reissue(ctx context.Context, ladderID string, d *pb.Decision, plan *pb.Reissue) (done *pb.Reissue, err error) {
	if f.Saw != nil {
		f.Saw("reissue", d.GetCredential())
	}
	err = f.around(ctx, "reissue", func() {
		f.Reissues[ladderID]++
		done = proto.CloneOf(plan)
		done.Credential = "fake/default/token/new"
	})
	return done, err
}

// Rollback counts.
func (f *Fake) Rollback(ctx context.Context, _ *pb.Reissue) error {
	if f.Saw != nil {
		f.Saw("rollback", "")
	}
	return f.around(ctx, "rollback", func() { f.Rolled++ })
}

// Caused knows what was allowed formerly, to who holds what was given back.
func (f *Fake) Caused(done *pb.Reissue, _ time.Time, by *pb.Decision, permission string) bool {
	return slices.Contains(by.GetSubject().GetPolicies(), done.GetPolicyName()) && slices.Contains(f.Formerly, permission)
}

// Protected are the keys given to Own.
func (f *Fake) Protected(ctx context.Context) (keys []string, err error) {
	err = f.around(ctx, "protected", func() { keys = slices.Clone(f.own) })
	return keys, err
}

// Live counts.
func (f *Fake) Live(ctx context.Context) (n int, err error) {
	err = f.around(ctx, "live", func() { n = len(f.alive) })
	return n, err
}
