package allinone

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/leastwise/leastwise/cmd/leastwise/compromise"
	"github.com/leastwise/leastwise/cmd/leastwise/narrower"
	"github.com/leastwise/leastwise/cmd/leastwise/sitetest"
	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/console/rules"
	"github.com/leastwise/leastwise/enforcer"
	"github.com/leastwise/leastwise/processor/catalog"
)

// whole fails if the contract leaves out anything that an answer says.
func whole[T any](t *testing.T, answer any) {
	t.Helper()
	raw, err := json.Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	strict := json.NewDecoder(bytes.NewReader(raw))
	strict.DisallowUnknownFields()
	if err := strict.Decode(new(T)); err != nil {
		t.Errorf("%T: %v", answer, err)
	}
}

func TestTheConsoleIsToldWhatTheCommandsTell(t *testing.T) {
	db, cat := sitetest.Vault(t)
	ctx, at := context.WithoutCancel(t.Context()), sitetest.Start.Add(4*time.Hour)
	q := &questionsOf{store: db, catalog: func() *catalog.Catalog { return cat }}
	const key = "vault/default/token/builder"
	leak, err := q.Compromise(ctx, key, "rightsize", at)
	if err != nil {
		t.Fatal(err)
	}
	if l := leak.Leaks[0]; l.Credential != key || len(l.Before.Paths) == 0 || l.Before.Paths[0].To.Key != "sensitive/prod" || l.Before.Paths[0].Steps[0].Does == "" || l.Before.Paths[0].Steps[0].Sources == nil ||
		l.After == nil || l.After.Paths == nil {
		t.Errorf("got %+v", l)
	}
	size, err := q.Rightsize(ctx, key, 30, 30, at)
	if err != nil {
		t.Fatal(err)
	}
	if size.Proposal == nil || len(size.Proposal.Rules) == 0 || size.Proposal.Rules[0].Resource == "" || len(size.Proposal.Rules[0].Capabilities) == 0 || size.Artifact == nil || size.Gaps == nil || size.Refusals == nil {
		t.Errorf("got %+v", size)
	}
	// The page names things by their whole keys: one that only ends so may be another's.
	for name, err := range map[string]error{"the end of a key, compromise": fails(q.Compromise(ctx, "token/builder", "", at)), "the end of a key, rightsize": fails(q.Rightsize(ctx, "token/builder", 30, 30, at)),
		"nobody": fails(q.Compromise(ctx, "nonesuch", "", at))} {
		if !errors.Is(err, rules.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	report, err := compromise.Ask(ctx, db, cat, compromise.Question{Name: key, At: at, After: "rightsize"})
	if err != nil {
		t.Fatal(err)
	}
	whole[contract.Compromise](t, report)
	proposal, err := narrower.Ask(ctx, db, cat, narrower.Question{Name: key, Days: 30, Replay: 30, Now: at})
	if err != nil {
		t.Fatal(err)
	}
	whole[contract.Rightsize](t, proposal)
	now := at
	whole[contract.Plan](t, enforcer.Plan{At: at, Killed: "x", Frozen: "x", Ladders: []enforcer.PlannedStep{{Agent: "a", Owner: "o", At: &now, Moved: "m", GivenBack: "g", ExposedUntil: &now,
		Collateral: &enforcer.PlannedHits{Unknown: "u"}, Refused: []enforcer.PlannedRefusal{{Guard: "g"}}}}})
}

func fails[T any](_ *T, err error) error { return err }
