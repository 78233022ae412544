package grafana

import (
	"slices"
	"strings"
	"testing"
)

// A name that a query gives to a column hides the table's own column of that name, and a condition that meant the one is
// then put to the other. So: what is chosen is shown, and nothing else is.
func TestAChoiceShowsWhatWasChosenAndNothingElse(t *testing.T) {
	s := running(t)
	conn := s.connect(t)
	for variable, value := range map[string]string{"owner": "payments", "source": "vault/default"} {
		compared := 0
		for _, d := range dashboards(t) {
			vars := untouched(d)
			if vars[variable] != all {
				continue
			}
			vars[variable] = value
			for _, q := range queries(t, d) {
				if q.panel == nil || !strings.Contains(q.sql, "${"+variable+":") {
					continue
				}
				sql, err := lastDays(7, vars).expand(q.sql)
				if err != nil {
					t.Fatal(err)
				}
				a, err := ask(t, conn, sql)
				if err != nil {
					t.Fatalf("%s: %v", q.where, err)
				}
				if len(a.rows) == 0 && !slices.Contains(emptyFor[variable], q.panel.Title) {
					t.Errorf("%s: nothing for %s %s\n%s", q.where, variable, value, sql)
				}
				if !slices.Contains(a.columns, variable) {
					continue
				}
				compared++
				for _, got := range a.column(variable) {
					if got != value {
						t.Errorf("%s: %v is shown where %s was chosen", q.where, got, value)
					}
				}
			}
		}
		if compared < 3 {
			t.Errorf("only %d panels have a column %s", compared, variable)
		}
	}
}

// emptyFor names panels in which the story has nothing for a choice.
var emptyFor = map[string][]string{
	"owner":  {"Exceptions that end within 30 days"},
	"source": {"What sources noticed"},
}

func TestAnExceptionThatNobodyApprovedIsNotInForce(t *testing.T) {
	s := running(t)
	conn := s.connect(t)
	for _, d := range dashboards(t) {
		for _, q := range queries(t, d) {
			if d.UID != "leastwise-credential" || q.panel == nil || q.panel.Title != "Exceptions" {
				continue
			}
			sql, err := lastDays(7, untouched(d)).expand(q.sql)
			if err != nil {
				t.Fatal(err)
			}
			a, err := ask(t, conn, sql)
			if err != nil {
				t.Fatal(err)
			}
			if got := a.column("status"); !slices.Equal(got, []any{"waits for approval", "over"}) {
				t.Errorf("status %v", got)
			}
			return
		}
	}
	t.Error("no such panel")
}
