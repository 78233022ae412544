package compromise

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/cmd/leastwise/sitetest"
	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/internal/storetest"
	"github.com/leastwise/leastwise/processor/catalog"
)

func TestMain(m *testing.M) { storetest.Exit(m.Run()) }

func ask(t *testing.T, db *store.DB, cat *catalog.Catalog, name, after string) (*Report, string) {
	t.Helper()
	r, err := Ask(context.WithoutCancel(t.Context()), db, cat, Question{Name: name, At: sitetest.Start.Add(time.Hour), After: after})
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := r.Write(&text, false); err != nil {
		t.Fatal(err)
	}
	return r, text.String()
}

func TestALeakedCredentialIsFollowedToWhatIsSensitive(t *testing.T) {
	db, cat := sitetest.Vault(t)
	r, text := ask(t, db, cat, "token/builder", "rightsize")
	before, after := r.Leaks[0].Before, r.Leaks[0].After
	if len(before.Paths) == 0 || before.Paths[0].To.Key != "sensitive/prod" || len(before.Paths[0].Steps) != 2 {
		t.Fatalf("%+v", before)
	}
	if n := after.Count()["sensitive"] + after.Count()["principals"]; n != 0 {
		t.Errorf("narrowed to what was used it reaches %+v", after.Paths)
	}
	if h := r.Leaks[0].Hours; h == nil || *h != 47 {
		t.Errorf("hours %v", h)
	}
	for _, want := range []string{"works      until 2026-11-22 12:00 UTC, 47.0 hours", "1. it can make itself a secret id of auth/approle/role/deploy and log in",
		"2. it can read secret/data/prod/*", "narrowed to what was used", "its newest token has these policies: vault/default/token/deployer"} {
		if !strings.Contains(text, want) {
			t.Errorf("missing %q in\n%s", want, text)
		}
	}
}

func TestWhatTheLogProvesIsToldWithItsRecord(t *testing.T) {
	db, cat := sitetest.Vault(t)
	r, _ := ask(t, db, cat, "entity/deployer", "revoke")
	path := r.Leaks[0].Before.Paths[0]
	if path.Certainty.String() != "proven" || !strings.Contains(path.Steps[0].Evidence, "use secret/data/prod/db") {
		t.Errorf("%+v", path)
	}
	if r.Leaks[0].Credential != "vault/default/token/deployer" || len(r.Leaks[0].After.Paths) != 0 || *r.Leaks[0].AfterHours != 0 {
		t.Errorf("%+v", r.Leaks[0])
	}
}

func TestNobodyKnownIsAnError(t *testing.T) {
	db, cat := sitetest.Vault(t)
	if _, err := Ask(t.Context(), db, cat, Question{Name: "no such thing", At: sitetest.Start}); err == nil || !strings.Contains(err.Error(), ErrNobody.Error()) {
		t.Errorf("%v", err)
	}
}
