package targettest

import (
	"context"
	"slices"
	"testing"

	"github.com/leastwise/leastwise/enforcer/target"
)

// Target is what the suite asks of a target: the part of the enforcer's
// interface that every target has.
type Target interface {
	Capabilities(ctx context.Context) ([]target.Missing, error)
	Lookup(ctx context.Context, c target.Credential) (target.Sighting, error)
	Revoke(ctx context.Context, c target.Credential) error
	Verify(ctx context.Context, c target.Credential) (target.Proof, error)
	Protected(ctx context.Context) ([]string, error)
	Live(ctx context.Context) (int, error)
}

// World is a target with a way to make credentials at its issuer.
type World struct {
	Target Target
	// New makes a live credential and tells whether it still works, by using
	// it as its holder would.
	New func(t *testing.T) (c target.Credential, works func() bool)
	// Unknown is a credential of this target that the issuer can say nothing
	// about; its zero value: there is no such thing here.
	Unknown target.Credential
	// Foreign is a key of another issuer.
	Foreign target.Credential
	// NotCounted: New makes a kind that Live does not count.
	NotCounted bool
}

// Run checks the contract. open makes a fresh world for each check.
func Run(t *testing.T, open func(t *testing.T) World) {
	check := func(name string, f func(t *testing.T, w World)) {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
	check("own credential lacks nothing", func(t *testing.T, w World) {
		missing, err := w.Target.Capabilities(t.Context())
		if err != nil || len(missing) > 0 {
			t.Errorf("Capabilities = %v, %v", missing, err)
		}
	})
	check("live credential is alive and not proven gone, and stays so", func(t *testing.T, w World) {
		c, works := w.New(t)
		for range 2 {
			if s := lookup(t, w, c); s.Status != target.Alive {
				t.Errorf("Lookup of a live credential = %+v", s)
			}
			if p, err := w.Target.Verify(t.Context(), c); err != nil || p.Gone {
				t.Errorf("Verify of a live credential = %+v, %v", p, err)
			}
		}
		if !works() {
			t.Error("looking ended the credential")
		}
	})
	check("revoked credential is gone for its holder and by the issuer's word", func(t *testing.T, w World) {
		c, works := w.New(t)
		c.Found = lookup(t, w, c).Found
		if err := w.Target.Revoke(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if works() {
			t.Error("it still works")
		}
		p, err := w.Target.Verify(t.Context(), c)
		if err != nil || !p.Gone || p.Text == "" {
			t.Errorf("Verify = %+v, %v", p, err)
		}
		if s := lookup(t, w, c); s.Status != target.Gone {
			t.Errorf("Lookup = %+v", s)
		}
	})
	check("revoking again is no error", func(t *testing.T, w World) {
		c, _ := w.New(t)
		c.Found = lookup(t, w, c).Found
		for range 2 {
			if err := w.Target.Revoke(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
	})
	check("another credential is not touched", func(t *testing.T, w World) {
		c, _ := w.New(t)
		_, works := w.New(t)
		if err := w.Target.Revoke(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if !works() {
			t.Error("another credential ended")
		}
	})
	check("what the issuer can not tell is unknown and never gone", func(t *testing.T, w World) {
		if w.Unknown.Key == "" {
			t.Skip("the issuer knows every credential")
		}
		if s := lookup(t, w, w.Unknown); s.Status != target.Unknown || s.Detail == "" {
			t.Errorf("Lookup = %+v", s)
		}
		if p, err := w.Target.Verify(t.Context(), w.Unknown); err == nil && p.Gone {
			t.Errorf("Verify = %+v", p)
		}
	})
	check("another issuer's credential is refused for good", func(t *testing.T, w World) {
		if w.Foreign.Key == "" {
			t.Skip("no foreign key given")
		}
		if err := w.Target.Revoke(t.Context(), w.Foreign); target.KindOf(err) != target.Impossible || err == nil {
			t.Errorf("Revoke = %v", err)
		}
	})
	check("live count follows", func(t *testing.T, w World) {
		if w.NotCounted {
			t.Skip("this kind is not counted")
		}
		before := live(t, w)
		c, _ := w.New(t)
		if now := live(t, w); now != before+1 {
			t.Errorf("live = %d after one more than %d", now, before)
		}
		if err := w.Target.Revoke(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if now := live(t, w); now != before {
			t.Errorf("live = %d after it ended, %d before", now, before)
		}
	})
	check("own credentials are named and alive", func(t *testing.T, w World) {
		own, err := w.Target.Protected(t.Context())
		if err != nil || len(own) == 0 {
			t.Fatalf("Protected = %v, %v", own, err)
		}
		alive := slices.ContainsFunc(own, func(key string) bool {
			return lookup(t, w, target.Credential{Key: key}).Status == target.Alive
		})
		if !alive {
			t.Errorf("none of %v is alive", own)
		}
	})
	check("an ended context is an error, not an answer", func(t *testing.T, w World) {
		c, works := w.New(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := w.Target.Revoke(ctx, c); err == nil || target.KindOf(err) != target.Retryable {
			t.Errorf("Revoke = %v", err)
		}
		if _, err := w.Target.Lookup(ctx, c); err == nil {
			t.Error("Lookup gave an answer")
		}
		if p, err := w.Target.Verify(ctx, c); err == nil || p.Gone {
			t.Errorf("Verify = %+v, %v", p, err)
		}
		if !works() {
			t.Error("it was done")
		}
	})
}

func lookup(t *testing.T, w World, c target.Credential) target.Sighting {
	t.Helper()
	s, err := w.Target.Lookup(t.Context(), c)
	if err != nil {
		t.Fatalf("Lookup of %s: %v", c.Key, err)
	}
	return s
}

func live(t *testing.T, w World) int {
	t.Helper()
	n, err := w.Target.Live(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}
