package grafana

import (
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/leastwise/leastwise/internal/store"
)

// element of deploy/clickhouse/grafana.xml.
type element struct {
	XMLName  xml.Name
	Children []element `xml:",any"`
	Text     string    `xml:",chardata"`
}

func (e element) at(path ...string) element {
	for _, name := range path {
		i := slices.IndexFunc(e.Children, func(c element) bool { return c.XMLName.Local == name })
		if i < 0 {
			return element{}
		}
		e = e.Children[i]
	}
	return e
}

func limits(t *testing.T) (user element, settings map[string]string, constraints element) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(top, "deploy/clickhouse/grafana.xml"))
	if err != nil {
		t.Fatal(err)
	}
	var root element
	if err := xml.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	user = root.at("users", "grafana")
	profile := root.at("profiles", strings.TrimSpace(user.at("profile").Text))
	if len(profile.Children) == 0 || len(root.at("quotas", strings.TrimSpace(user.at("quota").Text)).Children) == 0 {
		t.Fatal("the user's profile or quota is not there")
	}
	settings = map[string]string{}
	for _, c := range profile.Children {
		if c.XMLName.Local == "constraints" {
			constraints = c
			continue
		}
		settings[c.XMLName.Local] = strings.TrimSpace(c.Text)
	}
	return user, settings, constraints
}

func TestGrafanasUserMayReadOneDatabaseAndRaiseNoLimit(t *testing.T) {
	user, settings, constraints := limits(t)
	if grants := user.at("grants").Children; len(grants) != 1 || grants[0].Text != "GRANT SELECT ON leastwise.*" {
		t.Errorf("grants %v", grants)
	}
	if settings["readonly"] != "2" || settings["allow_ddl"] != "0" {
		t.Errorf("readonly %q, allow_ddl %q", settings["readonly"], settings["allow_ddl"])
	}
	for _, net := range user.at("networks").Children {
		if net.Text == "::/0" || net.Text == "0.0.0.0/0" {
			t.Error("a user without a password is let in from everywhere")
		}
	}
	for name := range settings {
		limit := strings.HasPrefix(name, "max_") && !strings.HasPrefix(name, "max_bytes_before_") || strings.HasSuffix(name, "_overflow_mode")
		held := constraints.at(name)
		if limit && held.at("readonly").XMLName.Local == "" && held.at("max").XMLName.Local == "" {
			t.Errorf("%s can be raised by a query", name)
		}
	}
	// clickhouse-go asks for the plugin's queryTimeout and five seconds.
	provisioned, err := os.ReadFile(filepath.Join(top, "deploy/grafana/provisioning/datasources/leastwise.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	timeout := regexp.MustCompile(`queryTimeout: "(\d+)"`).FindSubmatch(provisioned)
	if timeout == nil {
		t.Fatal("the data source has no queryTimeout: the plugin's own is longer than the user may ask for")
	}
	wanted, _ := strconv.Atoi(string(timeout[1]))
	if most, _ := strconv.Atoi(strings.TrimSpace(constraints.at("max_execution_time", "max").Text)); most < wanted+5 {
		t.Errorf("the plugin asks for %d s, the user may have %d: every query would be refused", wanted+5, most)
	}
}

// The embedded engine knows the same settings as a server, though no users.
func TestEveryQueryStaysWithinTheLimitsAndTheLimitsHold(t *testing.T) {
	_, settings, constraints := limits(t)
	s := running(t)
	conn := s.connect(t)
	known, err := ask(t, conn, "SELECT name FROM system.settings")
	if err != nil {
		t.Fatal(err)
	}
	names := known.column("name")
	within := clickhouse.Settings{}
	for name, value := range settings {
		if !slices.Contains(names, any(name)) {
			t.Errorf("%s is no setting of ClickHouse", name)
		}
		if name != "readonly" && name != "max_memory_usage_for_user" && name != "max_concurrent_queries_for_user" {
			within[name] = value
		}
	}
	for _, c := range constraints.Children {
		if !slices.Contains(names, any(c.XMLName.Local)) {
			t.Errorf("the constraint %s is no setting of ClickHouse", c.XMLName.Local)
		}
	}
	ctx := clickhouse.Context(t.Context(), clickhouse.WithSettings(within))
	run := func(sql string) error {
		rows, err := s.db.Query(ctx, sql)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			continue
		}
		return rows.Err()
	}
	for _, d := range dashboards(t) {
		v := lastDays(7, untouched(d))
		for _, q := range queries(t, d) {
			sql, err := v.expand(q.sql)
			if err != nil {
				t.Fatal(err)
			}
			if err := run(sql); err != nil {
				t.Errorf("%s: %v", q.where, err)
			}
		}
	}
	for sql, code := range map[string]int{
		"SELECT number FROM numbers(100001)":                                 396, // TOO_MANY_ROWS_OR_BYTES
		"SELECT count() FROM numbers(500000001) WHERE NOT ignore(number)":    158, // TOO_MANY_ROWS
		"SELECT length(groupArray(repeat('x', 1000))) FROM numbers(3000000)": 241, // MEMORY_LIMIT_EXCEEDED
	} {
		if err := run(sql); store.ErrorCode(err) != code {
			t.Errorf("%s: %v, want code %d", sql, err, code)
		}
	}
}

// The page tells the limits as they are.
func TestThePageTellsTheLimits(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(top, "docs/sql.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, s, c := limits(t)
	number := func(name string, unit int) string {
		n, err := strconv.Atoi(s[name])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		digits := strconv.Itoa(n / unit)
		if len(digits) > 3 && len(digits) < 7 {
			digits = digits[:len(digits)-3] + "," + digits[len(digits)-3:]
		}
		return digits
	}
	const mega, giga = 1_000_000, 1_000_000_000
	for _, line := range []string{
		fmt.Sprintf("%s s; a client may ask for up to %s s", number("max_execution_time", 1), strings.TrimSpace(c.at("max_execution_time", "max").Text)),
		fmt.Sprintf("%s GB, %s GB", number("max_memory_usage", giga), number("max_memory_usage_for_user", giga)),
		fmt.Sprintf("%s million, %s GB", number("max_rows_to_read", mega), number("max_bytes_to_read", giga)),
		fmt.Sprintf("%s, %s MB", number("max_result_rows", 1), number("max_result_bytes", mega)),
		fmt.Sprintf("%s, %s |", number("max_threads", 1), number("max_concurrent_queries_for_user", 1)),
	} {
		if !strings.Contains(string(text), "| "+line) {
			t.Errorf("docs/sql.md does not say %q", line)
		}
	}
}
