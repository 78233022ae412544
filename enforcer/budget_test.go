package enforcer

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/leastwise/leastwise/enforcer/target/targettest"
	"github.com/leastwise/leastwise/internal/daemon"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// The overall budget counts what is revoked anywhere: its share is of what
// lives anywhere, too, and not of what lives at the one issuer.
func TestTheOverallBudgetIsAShareOfTheLiveCredentialsAtAllIssuers(t *testing.T) {
	own, other := &targettest.Fake{}, &targettest.Fake{}
	own.Add(cred)
	for i := range 49 {
		other.Add(fmt.Sprintf("other/default/token/%d", i))
	}
	clock := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	env := daemon.NewEnv("enforcer", slog.New(slog.NewTextHandler(io.Discard, nil)))
	env.Now = func() time.Time { return clock }
	e, err := New(Config{Mode: "enforce", Budget: "20/h 10%", Writer: "test"},
		Deps{Env: env, Targets: map[string]Target{"fake/default": own, "other/default": other}, Notify: map[string]Channel{"owner": &inbox{}}})
	if err != nil {
		t.Fatal(err)
	}
	allowed := func() (int, string) {
		f := Facts{}
		_, f.Budget, _ = e.settings()
		e.ask(t.Context(), clock, &pb.LadderState{Credential: cred, LadderId: "l"}, violating(), &f)
		return f.Budget.Allows(f.Live), f.LiveUnknown
	}
	if n, unknown := allowed(); n != 5 || unknown != "" {
		t.Errorf("%d of 50 with a share of 10%% (%s)", n, unknown)
	}
	live := func(fails *targettest.Fake) {
		clock = clock.Add(factsFor)
		own.Before, other.Before = nil, nil
		fails.Before = func(act string) error {
			if act == "live" {
				return errors.New("503")
			}
			return nil
		}
	}
	live(other)
	if n, unknown := allowed(); n != 1 || unknown != "" {
		t.Errorf("while the other issuer does not answer %d are allowed (%s)", n, unknown)
	}
	live(own)
	if _, unknown := allowed(); unknown == "" {
		t.Error("the ladder's own issuer does not answer, and nothing says so")
	}
}
