package targettest

import (
	"context"
	"slices"
	"testing"
	"time"

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

// The optional parts, as package enforcer declares them.
type (
	foreseer interface {
		Collateral(ctx context.Context, c target.Credential) ([]target.Hit, error)
	}
	restorer interface {
		Restore(ctx context.Context, c target.Credential) error
	}
	finisher interface {
		FinishAfter(c target.Credential) time.Duration
		Finish(ctx context.Context, c target.Credential) error
	}
)

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
	// Lingers: what was revoked works until it expires, since nobody who
	// accepts it asks the issuer. Proof.WorksUntil has to say until when.
	Lingers bool
	// Beside makes a second credential that ends with c, for targets that
	// foresee; nil: nothing ever does.
	Beside func(t *testing.T, c target.Credential) target.Credential
	// Lose makes the target's next answer of a change get lost after the
	// issuer has carried it out; nil: the transport can not be reached.
	Lose func(t *testing.T)
	// Busy makes the issuer's next answer one of its rate limit.
	Busy func(t *testing.T)
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
		p, err := w.Target.Verify(t.Context(), c)
		if err != nil || !p.Gone || p.Text == "" {
			t.Errorf("Verify = %+v, %v", p, err)
		}
		switch {
		case w.Lingers && p.WorksUntil.IsZero():
			t.Error("what was issued works on, and nobody says until when")
		case !w.Lingers && works():
			t.Error("it still works")
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
	check("own credential is refused for good", func(t *testing.T, w World) {
		own, err := w.Target.Protected(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range own {
			err := w.Target.Revoke(t.Context(), target.Credential{Key: key})
			if err == nil || target.KindOf(err) != target.Impossible {
				t.Errorf("Revoke of the own %s = %v", key, err)
			}
		}
	})
	check("done but reported failed is an error to retry, and the retry succeeds", func(t *testing.T, w World) {
		if w.Lose == nil {
			t.Skip("answers can not be lost here")
		}
		c, works := w.New(t)
		c.Found = lookup(t, w, c).Found
		w.Lose(t)
		if err := w.Target.Revoke(t.Context(), c); err == nil || target.KindOf(err) != target.Retryable {
			t.Errorf("Revoke whose answer was lost = %v", err)
		}
		if err := w.Target.Revoke(t.Context(), c); err != nil {
			t.Errorf("Revoke again = %v", err)
		}
		if p, err := w.Target.Verify(t.Context(), c); err != nil || !p.Gone {
			t.Errorf("Verify = %+v, %v", p, err)
		}
		if !w.Lingers && works() {
			t.Error("it still works")
		}
	})
	check("the issuer's rate limit is an error to retry, and nothing is concluded", func(t *testing.T, w World) {
		if w.Busy == nil {
			t.Skip("the issuer can not be made busy")
		}
		c, works := w.New(t)
		w.Busy(t)
		if err := w.Target.Revoke(t.Context(), c); err == nil || target.KindOf(err) != target.Retryable {
			t.Errorf("Revoke = %v", err)
		}
		w.Busy(t)
		if p, err := w.Target.Verify(t.Context(), c); err == nil && p.Gone {
			t.Errorf("Verify = %+v", p)
		}
		if !works() {
			t.Error("it was revoked")
		}
	})
	check("what ends with it is told before", func(t *testing.T, w World) {
		f, ok := w.Target.(foreseer)
		if !ok || w.Beside == nil {
			t.Skip("nothing else is ever hit")
		}
		c, works := w.New(t)
		beside := w.Beside(t, c)
		hits, err := f.Collateral(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(hits, func(h target.Hit) bool { return h.Key == beside.Key && h.Text != "" }) {
			t.Errorf("Collateral = %+v, without %s", hits, beside.Key)
		}
		if !works() {
			t.Error("telling ended the credential")
		}
	})
	check("what was taken is given back", func(t *testing.T, w World) {
		r, ok := w.Target.(restorer)
		if !ok {
			t.Skip("what is gone here is gone")
		}
		c, works := w.New(t)
		s := lookup(t, w, c)
		c.Found, c.Restore = s.Found, s.Restore
		if err := w.Target.Revoke(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if s.Restore == "" {
			if err := r.Restore(t.Context(), c); err == nil || target.KindOf(err) != target.Impossible {
				t.Errorf("Restore of what can not come back = %v", err)
			}
			return
		}
		for range 2 {
			if err := r.Restore(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		if !works() {
			t.Error("it does not work again")
		}
		if s := lookup(t, w, c); s.Status != target.Alive {
			t.Errorf("Lookup = %+v", s)
		}
	})
	check("the second step ends what the first only stopped, and spares what was enabled again", func(t *testing.T, w World) {
		f, ok := w.Target.(finisher)
		if !ok {
			t.Skip("one step is all there is")
		}
		c, _ := w.New(t)
		s := lookup(t, w, c)
		c.Found, c.Restore = s.Found, s.Restore
		if f.FinishAfter(c) == 0 {
			t.Skip("one step is all there is for this kind")
		}
		if err := f.Finish(t.Context(), c); err == nil || target.KindOf(err) != target.Impossible {
			t.Errorf("Finish of a live credential = %v", err)
		}
		if err := w.Target.Revoke(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := f.Finish(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		if p, err := w.Target.Verify(t.Context(), c); err != nil || !p.Gone {
			t.Errorf("Verify = %+v, %v", p, err)
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
