package narrower

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/cmd/leastwise/sitetest"
	"github.com/leastwise/leastwise/internal/storetest"
)

func TestMain(m *testing.M) { storetest.Exit(m.Run()) }

func TestUseWithinTheDaysJustifiesTheScopeAndIsReplayed(t *testing.T) {
	db, cat := sitetest.Vault(t)
	q := Question{Name: "token/builder", Days: 7, Replay: 7, Now: sitetest.Start.Add(time.Hour)}
	r, err := Ask(t.Context(), db, cat, q)
	if err != nil {
		t.Fatal(err)
	}
	if r.Granted == nil || *r.Granted != 4 || r.Used != 1 || r.Proposed != 1 || r.Replayed != 2 || len(r.Refusals) != 0 {
		t.Errorf("%+v", r)
	}
	if r.Artifact == nil || r.Artifact.Text != "path \"secret/data/build/x\" { capabilities = [\"read\"] }\n" {
		t.Errorf("%+v", r.Artifact)
	}
	if len(r.Gaps) == 0 || !strings.Contains(strings.Join(r.Gaps, ";"), "known only since 2026-11-20") {
		t.Errorf("gaps %q", r.Gaps)
	}
	var text bytes.Buffer
	if err := r.Write(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"granted       4 permissions", "proposed      1 permission\n", "it would have refused none", "vault policy write rightsized-build FILE"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("missing %q in\n%s", want, text.String())
		}
	}
}

func TestWhatWasUsedBeforeTheDaysIsRefusedInTheReplayAndSaidSo(t *testing.T) {
	db, cat := sitetest.Vault(t)
	later := sitetest.Start.Add(30 * time.Hour)
	sitetest.Use(t, db, "builder", "secret/data/build/y", later.Add(-time.Minute))
	r, err := Ask(t.Context(), db, cat, Question{Name: "token/builder", Days: 1, Replay: 7, Now: later})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Refusals) != 1 || r.Refusals[0].Resource != "secret/data/build/x" || r.Refusals[0].Count != 2 {
		t.Errorf("%+v", r.Refusals)
	}
}

func TestWithoutUseNothingIsProposed(t *testing.T) {
	db, cat := sitetest.Vault(t)
	r, err := Ask(t.Context(), db, cat, Question{Name: "token/builder", Days: 1, Replay: 1, Now: sitetest.Start.AddDate(0, 0, 5)})
	if err != nil || r.Proposal != nil || !strings.Contains(r.Refused, "no use was seen within 1 day,") {
		t.Errorf("%+v %v", r, err)
	}
	if _, err := Ask(t.Context(), db, cat, Question{Name: "nobody", Now: time.Now()}); !errors.Is(err, ErrNobody) {
		t.Errorf("%v", err)
	}
}
