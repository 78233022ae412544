package grafana

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// dashboard is what the tests read of one.
type dashboard struct {
	file          string
	text          []byte
	UID           string   `json:"uid"`
	Title         string   `json:"title"`
	Description   string   `json:"description"`
	Tags          []string `json:"tags"`
	SchemaVersion int      `json:"schemaVersion"`
	Time          struct{ From, To string }
	Panels        []*panel `json:"panels"`
	Templating    struct {
		List []*variableOf `json:"list"`
	} `json:"templating"`
}

type panel struct {
	ID          int    `json:"id"`
	Type        string `json:"type"`
	Title       string `json:"title"`
	Description string `json:"description"`
	GridPos     struct {
		X, Y, W, H int
	} `json:"gridPos"`
	Datasource  datasource `json:"datasource"`
	Targets     []target   `json:"targets"`
	FieldConfig struct {
		Defaults  map[string]any `json:"defaults"`
		Overrides []override     `json:"overrides"`
	} `json:"fieldConfig"`
	Options         map[string]any `json:"options"`
	Transformations []any          `json:"transformations"`
}

type override struct {
	Matcher struct {
		ID      string `json:"id"`
		Options any    `json:"options"`
	} `json:"matcher"`
	Properties []struct {
		ID    string `json:"id"`
		Value any    `json:"value"`
	} `json:"properties"`
}

type datasource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

type target struct {
	RefID      string     `json:"refId"`
	Datasource datasource `json:"datasource"`
	RawSQL     string     `json:"rawSql"`
	Format     any        `json:"format"`
	Expr       string     `json:"expr"`
}

type variableOf struct {
	Type        string          `json:"type"`
	Name        string          `json:"name"`
	Label       string          `json:"label"`
	Description string          `json:"description"`
	Datasource  datasource      `json:"datasource"`
	Query       json.RawMessage `json:"query"`
	IncludeAll  bool            `json:"includeAll"`
	Multi       bool            `json:"multi"`
}

const (
	clickhousePlugin = "grafana-clickhouse-datasource"
	dashboardsDir    = "deploy/grafana/dashboards"
)

func (v *variableOf) sql(t *testing.T) string {
	t.Helper()
	var q struct {
		RawSQL string `json:"rawSql"`
	}
	if err := json.Unmarshal(v.Query, &q); err != nil || q.RawSQL == "" {
		t.Fatalf("variable %s: %v: no rawSql", v.Name, err)
	}
	return q.RawSQL
}

func dashboards(t *testing.T) (out []*dashboard) {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(top, dashboardsDir, "*.json"))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		d := &dashboard{file: filepath.Base(file), text: text}
		if err := json.Unmarshal(text, d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		out = append(out, d)
	}
	if len(out) != 5 {
		t.Fatalf("%d dashboards, want 5", len(out))
	}
	return out
}

// uids are what links, bookmarks and other people's dashboards rest on: they do not change.
var uids = []string{"leastwise-credential", "leastwise-enforcement", "leastwise-fleet", "leastwise-pipeline", "leastwise-sources"}

func TestDashboardsCanBeFoundReadAndTrusted(t *testing.T) {
	var found []string
	for _, d := range dashboards(t) {
		found = append(found, d.UID)
		if d.file != d.UID+".json" || d.Title == "" || d.Description == "" || !slices.Contains(d.Tags, "leastwise") || d.SchemaVersion < 39 {
			t.Errorf("%s: uid %q, title %q, description %q, tags %q, schema %d", d.file, d.UID, d.Title, d.Description, d.Tags, d.SchemaVersion)
		}
		if !strings.HasPrefix(d.Time.From, "now-") || d.Time.To != "now" {
			t.Errorf("%s opens from %q to %q", d.file, d.Time.From, d.Time.To)
		}
		if bytes.Contains(d.text, []byte(`"id": null`)) {
			t.Errorf("%s has an id of some Grafana's database", d.file)
		}
		names := map[string]string{}
		for _, v := range d.Templating.List {
			names[v.Name] = v.Type
			if v.Label == "" || v.Description == "" {
				t.Errorf("%s: variable %s has no label or description", d.file, v.Name)
			}
			if v.Multi {
				t.Errorf("%s: variable %s takes several values, which :percentencode runs together", d.file, v.Name)
			}
		}
		ids := map[int]bool{}
		taken := map[[2]int]string{}
		for _, p := range d.Panels {
			where := d.file + ": " + p.Title
			if ids[p.ID] || p.ID == 0 {
				t.Errorf("%s: id %d is no panel's own", where, p.ID)
			}
			ids[p.ID] = true
			for x := range p.GridPos.W {
				for y := range p.GridPos.H {
					cell := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
					if other, full := taken[cell]; full || cell[0] > 23 {
						t.Errorf("%s lies over %q or out of the grid", where, other)
					}
					taken[cell] = p.Title
				}
			}
			if p.Type == "row" {
				continue
			}
			if p.Title == "" || len(p.Description) < 30 {
				t.Errorf("%s: says too little: %q", where, p.Description)
			}
			for _, target := range p.Targets {
				if target.Datasource != p.Datasource {
					t.Errorf("%s: its query goes elsewhere than the panel", where)
				}
			}
			if kind := names[strings.Trim(p.Datasource.UID, "${}")]; kind != "datasource" {
				t.Errorf("%s: its data source %q is no variable, so that nobody else's Grafana can show it", where, p.Datasource.UID)
			}
		}
		for _, uid := range regexp.MustCompile(`/d/([a-z0-9-]+)`).FindAllSubmatch(d.text, -1) {
			if !slices.Contains(uids, string(uid[1])) {
				t.Errorf("%s leads to %s, which is not there", d.file, uid[0])
			}
		}
	}
	if !slices.Equal(found, uids) {
		t.Errorf("dashboards %v, want %v", found, uids)
	}
}

// Grafana's own way to quote, :sqlstring, doubles quotes and leaves backslashes, which ClickHouse reads as escapes: a name that
// ends in one ends the text that it stands in. Percent-encoded text holds neither, nor a $ that a macro begins with.
func TestVariablesReachSQLOnlyPercentEncoded(t *testing.T) {
	safe := regexp.MustCompile(`decodeURLComponent\('\$\{\w+:percentencode\}'\)`)
	chosen := regexp.MustCompile(`, ?\$\w+\)`) // of $__conditionalAll: names the variable, and goes away
	macros := regexp.MustCompile(`\$__\w+`)
	seen := 0
	check := func(where, sql string) {
		seen += len(safe.FindAllString(sql, -1))
		rest := macros.ReplaceAllString(chosen.ReplaceAllString(safe.ReplaceAllString(sql, ""), ""), "")
		if strings.Contains(rest, "$") || strings.Contains(rest, "[[") {
			t.Errorf("%s: a variable that is not decodeURLComponent('${name:percentencode}'):\n%s", where, sql)
		}
	}
	for _, d := range dashboards(t) {
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				check(d.file+": "+p.Title, target.RawSQL)
			}
		}
		for _, v := range d.Templating.List {
			if v.Type == "query" {
				check(d.file+": variable "+v.Name, v.sql(t))
			}
		}
		// A link's parameters would end at the first & of a hostile name.
		for _, link := range regexp.MustCompile(`var-\w+=[^&"]*`).FindAll(d.text, -1) {
			if !bytes.Contains(link, []byte(":percentencode}")) {
				t.Errorf("%s: %s is not percent-encoded", d.file, link)
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d variables in all queries: are they read right?", seen)
	}
}

// Where a column may be NULL, the panel says in a word what that means. A panel that draws NULL as 0 would lie.
func TestUnknownIsShownAsUnknownAndNeverAsZero(t *testing.T) {
	zero := regexp.MustCompile(`(?i)ifNull\([^()]*(\([^()]*\))*[^()]*, *0\)|coalesce\([^()]*, *0\)|\bzeroIfNull|"nullValueMode": *"null as zero"`)
	for _, d := range dashboards(t) {
		if m := zero.Find(d.text); m != nil {
			t.Errorf("%s makes unknown zero: %s", d.file, m)
		}
		for _, p := range d.Panels {
			if p.Type != "row" && fmt.Sprint(p.FieldConfig.Defaults["noValue"]) == "<nil>" {
				t.Errorf("%s: %s does not say what no value means", d.file, p.Title)
			}
			if custom, ok := p.FieldConfig.Defaults["custom"].(map[string]any); ok && p.Type == "timeseries" && custom["spanNulls"] != false {
				t.Errorf("%s: %s draws a line over what is not known", d.file, p.Title)
			}
		}
	}
}

// lastDays is the view of a dashboard that was opened just now, and looks back n days.
func lastDays(n int, vars map[string]string) view {
	to := time.Now().Add(time.Second)
	return view{from: to.Add(-time.Duration(n) * 24 * time.Hour), to: to, interval: 10 * time.Minute, vars: vars}
}
