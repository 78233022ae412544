package page

import (
	"errors"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/chdb"
	"github.com/leastwise/leastwise/internal/storetest"
)

func TestMain(m *testing.M) { storetest.Exit(m.Run()) }

// The fleet is small here; that every request of every view is answered is what counts.
func TestReadersAreAnsweredWhateverTheyOpen(t *testing.T) {
	figures, err := Measure(t.Context(), Options{Dir: t.TempDir(), Seed: 1, Credentials: 2000, Events: 4000, Users: 4, For: 3 * time.Second, Only: []string{"api"}, Progress: t.Logf})
	var missing *chdb.ErrNoLibrary
	if errors.As(err, &missing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(figures) < 5 || figures[0].Name != "API, p95 over all" || figures[0].Budget != apiBudget || !(figures[0].Value > 0) {
		t.Errorf("%+v", figures)
	}
}
