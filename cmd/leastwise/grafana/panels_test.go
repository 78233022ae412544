package grafana

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// answer of ClickHouse, as far as the tests look.
type answer struct {
	columns []string
	rows    [][]any
}

func (a answer) column(name string) (values []any) {
	at := slices.Index(a.columns, name)
	for _, row := range a.rows {
		values = append(values, row[at])
	}
	return values
}

// connect as the plugin does in `Connect` (grafana/clickhouse-datasource, pkg/plugin/driver.go) with the protocol http.
func (s *site) connect(t *testing.T) driver.Conn {
	t.Helper()
	conn, err := clickhouse.Open(&clickhouse.Options{
		Addr: []string{s.addr}, Protocol: clickhouse.HTTP, Auth: clickhouse.Auth{Database: "leastwise", Username: "grafana"},
		Compression: &clickhouse.Compression{Method: clickhouse.CompressionGZIP},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func ask(t *testing.T, conn driver.Conn, sql string) (answer, error) {
	t.Helper()
	rows, err := conn.Query(t.Context(), sql)
	if err != nil {
		return answer{}, err
	}
	defer rows.Close()
	a := answer{columns: rows.Columns()}
	for rows.Next() {
		var into, row []any
		for _, c := range rows.ColumnTypes() {
			into = append(into, reflect.New(c.ScanType()).Interface())
		}
		if err := rows.Scan(into...); err != nil {
			return a, err
		}
		for _, v := range into {
			row = append(row, reflect.ValueOf(v).Elem().Interface())
		}
		a.rows = append(a.rows, row)
	}
	return a, rows.Err()
}

// query is one that a dashboard sends.
type query struct {
	where string
	sql   string // with variables and macros
	panel *panel // nil for a variable's
}

func queries(t *testing.T, d *dashboard) (out []query) {
	t.Helper()
	for _, v := range d.Templating.List {
		if v.Type == "query" {
			out = append(out, query{where: d.file + ": variable " + v.Name, sql: v.sql(t)})
		}
	}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			if target.Datasource.Type == clickhousePlugin {
				out = append(out, query{where: d.file + ": " + p.Title, sql: target.RawSQL, panel: p})
			}
		}
	}
	return out
}

// untouched is how a dashboard opens, for the credential in which everything has happened.
func untouched(d *dashboard) map[string]string {
	vars := map[string]string{}
	for _, v := range d.Templating.List {
		switch {
		case v.IncludeAll:
			vars[v.Name] = all
		case v.Type == "query":
			vars[v.Name] = archive
		default:
			vars[v.Name] = ""
		}
	}
	return vars
}

func TestEveryPanelAndVariableIsAnsweredAndUsesWhatItAsksFor(t *testing.T) {
	s := running(t)
	conn := s.connect(t)
	asked := 0
	for _, d := range dashboards(t) {
		v := lastDays(7, untouched(d))
		for _, q := range queries(t, d) {
			t.Run(q.where, func(t *testing.T) {
				sql, err := v.expand(q.sql)
				if err != nil {
					t.Fatal(err)
				}
				a, err := ask(t, conn, sql)
				switch {
				case err != nil:
					t.Fatalf("%v\n%s", err, sql)
				case len(a.rows) == 0:
					t.Fatalf("nothing\n%s", sql)
				}
				asked++
				if q.panel == nil {
					variableIsUsable(t, a)
					return
				}
				columnsAreUsed(t, q.panel, a.columns)
				unknownsAreNamed(t, q.panel, a)
			})
		}
	}
	if asked < 45 {
		t.Errorf("only %d queries", asked)
	}
}

// A variable takes the first column of its answer.
func variableIsUsable(t *testing.T, a answer) {
	t.Helper()
	if len(a.columns) != 1 {
		t.Errorf("columns %v, want one", a.columns)
	}
	seen := map[any]bool{}
	for _, row := range a.rows {
		if row[0] == "" || seen[row[0]] {
			t.Errorf("offers %q, which is empty or there twice", row[0])
		}
		seen[row[0]] = true
	}
}

var fieldOf = regexp.MustCompile(`__data\.fields(?:\.|\[\\?["'])(\w+)|__field\.labels\.(\w+)`)

// columnsAreUsed: each column has words of its own (an override by name), or is an axis, a label or part of a link; and each
// column that the panel speaks of is there.
func columnsAreUsed(t *testing.T, p *panel, columns []string) {
	t.Helper()
	used := map[string]bool{}
	for _, o := range p.FieldConfig.Overrides {
		name, _ := o.Matcher.Options.(string)
		if o.Matcher.ID != "byName" || name == "" {
			t.Errorf("an override by %s: columns are named", o.Matcher.ID)
			continue
		}
		used[name] = true
		titled := false
		for _, property := range o.Properties {
			titled = titled || property.ID == "displayName" && property.Value != ""
			if property.ID == "custom.hidden" || property.ID == "custom.hideFrom" {
				t.Errorf("%s is asked for and hidden", name)
			}
		}
		if !titled {
			t.Errorf("%s is shown under its name in SQL", name)
		}
	}
	for _, m := range fieldOf.FindAllStringSubmatch(fmt.Sprint(p.FieldConfig, p.Options), -1) {
		used[m[1]+m[2]] = true
	}
	mentioned(p.Options, used)
	if len(p.Transformations) > 0 {
		t.Error("transformations: the test does not know what they leave of the columns")
	}
	if p.Type == "timeseries" {
		if columns[0] != "time" {
			t.Errorf("the first column is %s, not time", columns[0])
		}
		used["time"] = true
		if len(columns) == 3 && strings.Contains(fmt.Sprint(p.FieldConfig.Defaults["displayName"]), "${__field.labels."+columns[1]+"}") {
			used[columns[2]] = true // the value of each label's line
		}
	}
	for _, c := range columns {
		if !used[c] {
			t.Errorf("column %s is asked for and not used", c)
		}
	}
	for c := range used {
		if !slices.Contains(columns, c) {
			t.Errorf("the panel speaks of %s, which the answer does not have: %v", c, slices.Sorted(slices.Values(columns)))
		}
	}
}

// mentioned adds the fields that options match by name.
func mentioned(node any, used map[string]bool) {
	switch node := node.(type) {
	case map[string]any:
		if node["id"] == "byName" {
			used[fmt.Sprint(node["options"])] = true
		}
		for _, v := range node {
			mentioned(v, used)
		}
	case []any:
		for _, v := range node {
			mentioned(v, used)
		}
	}
}

// unknownsAreNamed: a column that holds a NULL has a word for it. A line needs none: it has a gap.
func unknownsAreNamed(t *testing.T, p *panel, a answer) {
	t.Helper()
	if p.Type == "timeseries" {
		return
	}
	for _, c := range a.columns {
		null := false
		for _, v := range a.column(c) {
			r := reflect.ValueOf(v)
			null = null || r.Kind() == reflect.Pointer && r.IsNil()
		}
		if null && !namesNull(p, c) {
			t.Errorf("%s may be unknown, and the panel has no word for that", c)
		}
	}
}

func namesNull(p *panel, column string) bool {
	for _, o := range p.FieldConfig.Overrides {
		if o.Matcher.Options == column {
			for _, property := range o.Properties {
				if property.ID == "mappings" && strings.Contains(fmt.Sprint(property.Value), "match:null") {
					return true
				}
			}
		}
	}
	return false
}

// Chosen values, and such as somebody chooses who wants more than to be shown, keep every query whole.
func TestEveryPanelStandsWhateverIsChosen(t *testing.T) {
	s := running(t)
	conn := s.connect(t)
	usual := map[string]string{"owner": "payments", "source": "vault/default", "policy": "probing", "credential": helper, "find": "helper"}
	for _, d := range dashboards(t) {
		for _, value := range []string{"", strings.Join(hostile, ""), `\`} {
			vars := untouched(d)
			for name := range vars {
				if vars[name] = value; value == "" {
					vars[name] = usual[name]
				}
			}
			for _, q := range queries(t, d) {
				sql, err := lastDays(7, vars).expand(q.sql)
				if err != nil {
					t.Fatalf("%s with %q: %v", q.where, value, err)
				}
				if _, err := ask(t, conn, sql); err != nil {
					t.Errorf("%s with %q: %v\n%s", q.where, value, err, sql)
				}
			}
		}
	}
}

// The names that would say more than they are lead to their own credential and to no other.
func TestAHostileNameFindsItselfAndNothingElse(t *testing.T) {
	s := running(t)
	conn := s.connect(t)
	var what string
	for _, d := range dashboards(t) {
		for _, q := range queries(t, d) {
			if d.UID == "leastwise-credential" && strings.HasSuffix(q.where, ": What it is") {
				what = q.sql
			}
		}
	}
	for _, name := range hostile {
		sql, err := lastDays(7, map[string]string{"credential": name}).expand(what)
		if err != nil {
			t.Fatal(err)
		}
		a, err := ask(t, conn, sql)
		if err != nil {
			t.Fatal(err)
		}
		if len(a.rows) < 10 || a.rows[0][1] != name {
			t.Errorf("%q finds %d rows, the first %v", name, len(a.rows), a.rows[:min(1, len(a.rows))])
		}
		for _, row := range a.rows[1:] {
			if row[0] == "Credential" {
				t.Errorf("%q finds %v too", name, row[1])
			}
		}
	}
}

// Why :sqlstring will not do: with it, the second of the hostile names is a condition that holds for all.
func TestGrafanasOwnQuotingLetsAHostileNameOut(t *testing.T) {
	conn := running(t).connect(t)
	const find = "SELECT count() FROM v_credentials WHERE credential = "
	count := func(value string) uint64 {
		a, err := ask(t, conn, find+value)
		if err != nil {
			t.Fatal(err)
		}
		return a.rows[0][0].(uint64)
	}
	name := hostile[1]
	if n := count("decodeURLComponent('" + percentEncode(name) + "')"); n != 1 {
		t.Errorf("percent-encoded, %q finds %d credentials", name, n)
	}
	// sqlStringFormatter of grafana/scenes, packages/scenes/src/variables/interpolation/formatRegistry.ts.
	quoted := "'" + strings.NewReplacer("'", "''", `"`, `\"`).Replace(name) + "'"
	if n := count(quoted); n < 2 {
		t.Errorf("quoted as :sqlstring does, %q finds %d credentials: if that holds, docs/sql.md warns in vain", name, n)
	}
}
