package grafana

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// example is a query of docs/sql.md.
type example struct{ title, sql string }

func examples(t *testing.T) (out []example) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(top, "docs/sql.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, section := range strings.Split(string(text), "\n### ")[1:] {
		title, rest, _ := strings.Cut(section, "\n")
		_, rest, found := strings.Cut(rest, "```sql\n")
		sql, _, closed := strings.Cut(rest, "\n```")
		if !found || !closed {
			t.Fatalf("%q has no query", title)
		}
		out = append(out, example{title, sql})
	}
	return out
}

func TestExampleQueriesAreAnswered(t *testing.T) {
	s := running(t)
	conn := s.connect(t)
	all := examples(t)
	if len(all) < 15 {
		t.Errorf("only %d examples", len(all))
	}
	for _, e := range all {
		a, err := ask(t, conn, e.sql)
		if err != nil || len(a.rows) == 0 {
			t.Errorf("%s: %d rows, %v\n%s", e.title, len(a.rows), err, e.sql)
		}
	}
}

// What the page says to type before the examples works too.
func TestTheCommandsOfThePageWork(t *testing.T) {
	s := running(t)
	conn := s.connect(t)
	text, err := os.ReadFile(filepath.Join(top, "docs/sql.md"))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, m := range regexp.MustCompile(`(?m)^    (SELECT .*)$|--data-binary '(SELECT [^']*?)(?: FORMAT \w+)?'`).FindAllStringSubmatch(string(text), -1) {
		seen++
		if a, err := ask(t, conn, m[1]+m[2]); err != nil || len(a.rows) == 0 {
			t.Errorf("%s: %d rows, %v", m[0], len(a.rows), err)
		}
	}
	if seen != 3 {
		t.Errorf("%d commands", seen)
	}
}
