package rotate

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/enforcer/control"
	"github.com/leastwise/leastwise/enforcer/target/spire"
	"github.com/leastwise/leastwise/enforcer/target/spire/spiretest"
	"github.com/leastwise/leastwise/internal/stream"
)

// topic is leastwise.control, read whole each time.
type topic struct{ state control.State }

func (l *topic) Publish(_ context.Context, messages ...stream.Message) error {
	for _, m := range messages {
		if err := l.state.Apply(m); err != nil {
			return err
		}
	}
	return nil
}

func TestRealSPIREAuthorityIsRotatedByTwoPeopleAndOverACrash(t *testing.T) {
	s := spiretest.Start(t, "")
	log := &topic{}
	now := time.Now()
	clock := func() time.Time { return now }
	journal := filepath.Join(t.TempDir(), "rotation.jsonl")
	// start is a process that has nothing but journal and topic.
	start := func() *Rotations {
		tg, err := spire.Open(spire.Config{Address: s.Socket}, spire.Deps{Now: clock})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = tg.Close() })
		return &Rotations{Server: tg, Instance: "default", Kind: spire.X509Authority, Control: log, Journal: journal, Now: clock,
			Settings: func(context.Context) (*control.State, error) { return &log.state, nil }}
	}
	r := start()
	active, err := r.Server.ActiveAuthority(t.Context(), r.Kind)
	if err != nil {
		t.Fatal(err)
	}
	ada := control.Who{Name: "ada", Reason: "the key was on a stolen disk"}
	for _, who := range []control.Who{ada, {Name: " Ada", Reason: "I insist"}} {
		if _, err := r.Start(t.Context(), who); !errors.Is(err, ErrApproval) {
			t.Fatalf("one person alone starts it: %v", err)
		}
	}
	if _, err := r.Next(t.Context(), "ada"); !errors.Is(err, ErrNone) {
		t.Fatalf("a step without a start: %v", err)
	}
	now = now.Add(25 * time.Hour)
	bob := control.Who{Name: "bob", Reason: "seen, yes"}
	if _, err := r.Start(t.Context(), bob); !errors.Is(err, ErrApproval) {
		t.Fatalf("an approval of yesterday counts: %v", err)
	}
	begun, err := r.Start(t.Context(), ada)
	if err != nil || begun.Retire != active || begun.Step != spire.Approved {
		t.Fatalf("two people: %+v, %v", begun, err)
	}
	if _, err := r.Start(t.Context(), bob); !errors.Is(err, ErrUnderWay) {
		t.Fatalf("a second one beside it: %v", err)
	}
	if err := control.SetKillSwitch(t.Context(), log, true, ada, now); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(t.Context(), "bob"); !errors.Is(err, ErrStopped) {
		t.Fatalf("with the kill switch on: %v", err)
	}
	if err := control.SetKillSwitch(t.Context(), log, false, ada, now); err != nil {
		t.Fatal(err)
	}
	for _, want := range []spire.Step{spire.Prepared, spire.Activated, spire.Tainted, spire.Revoked} {
		now = now.Add(2 * time.Hour)
		done, err := start().Next(t.Context(), "bob")
		if err != nil || done.Step != want {
			t.Fatalf("%s: %+v, %v", want, done, err)
		}
		// Killed before the result was kept: the intent is the last line, a half one behind it.
		text, err := os.ReadFile(journal)
		if err != nil {
			t.Fatal(err)
		}
		cut := bytes.LastIndex(bytes.TrimSpace(text), []byte("\n"))
		if err := os.WriteFile(journal, append(text[:cut:cut], "\n{\"at\":\"20"...), 0o600); err != nil {
			t.Fatal(err)
		}
		again, err := start().Next(t.Context(), "bob")
		if err != nil || again.Step != want || again.Retire != active || again.New != done.New {
			t.Fatalf("%s after a crash: %+v, %v; want %+v", want, again, err, done)
		}
	}
	end, proof, err := start().Status(t.Context())
	if err != nil || !proof.Gone || end.Step != spire.Revoked || !strings.Contains(proof.Text, "signs") {
		t.Errorf("at the end: %+v, %+v, %v", end, proof, err)
	}
	if now, err := r.Server.ActiveAuthority(t.Context(), r.Kind); err != nil || now != end.New {
		t.Errorf("%s signs, want %s: %v", now, end.New, err)
	}
	if _, err := r.Start(t.Context(), ada); !errors.Is(err, ErrApproval) {
		t.Errorf("the approvals of one rotation begin another: %v", err)
	}
}
