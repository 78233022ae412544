package grafana

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// modules gives a directory with the packages of client/package-lock.json installed, in the user's cache like all else that is
// fetched once. Without node the test is skipped.
func modules(t *testing.T) (dir string) {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed: what needs ClickHouse's JavaScript client or Grafana's types is not tested", program)
		}
	}
	lock, err := os.ReadFile("client/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(cache, "leastwise", "grafana-tests", fmt.Sprintf("%x", sha256.Sum256(lock))[:16])
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	// In the same directory, so that the last step is a rename.
	fresh, err := os.MkdirTemp(filepath.Dir(dir), ".fetch-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(fresh)
	for _, name := range []string{"package.json", "package-lock.json"} {
		copyInto(t, fresh, "client/"+name)
	}
	npm := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	npm.Dir = fresh
	if out, err := npm.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	if err := os.Rename(fresh, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	return dir
}

func copyInto(t *testing.T, dir, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, filepath.Base(file)), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// workshop is a directory of the test's own from which the packages are found.
func workshop(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(modules(t), "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// ClickHouse's own JavaScript client gets the same answers as the Go client that the plugin is built on.
func TestTheJavaScriptClientIsAnsweredToo(t *testing.T) {
	dir := workshop(t)
	s := running(t)
	conn := s.connect(t)
	type question struct {
		Where string `json:"where"`
		SQL   string `json:"sql"`
	}
	var questions []question
	for _, d := range dashboards(t) {
		v := lastDays(7, untouched(d))
		for _, q := range queries(t, d) {
			sql, err := v.expand(q.sql)
			if err != nil {
				t.Fatal(err)
			}
			questions = append(questions, question{q.where, sql})
		}
	}
	for _, e := range examples(t) {
		questions = append(questions, question{"docs/sql.md: " + e.title, e.sql})
	}
	input, err := json.Marshal(questions)
	if err != nil {
		t.Fatal(err)
	}
	copyInto(t, dir, "client/ask.mjs")
	node := exec.CommandContext(t.Context(), "node", "ask.mjs", "http://"+s.addr)
	node.Dir, node.Stdin = dir, bytes.NewReader(input)
	var complaint bytes.Buffer
	node.Stderr = &complaint
	out, err := node.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, complaint.String())
	}
	var answers []struct {
		Where   string
		Columns []string
		Rows    int
		Error   string
	}
	if err := json.Unmarshal(out, &answers); err != nil || len(answers) != len(questions) {
		t.Fatalf("%d answers to %d questions: %v", len(answers), len(questions), err)
	}
	for i, a := range answers {
		if a.Error != "" || a.Rows == 0 {
			t.Errorf("%s: %d rows, %s\n%s", a.Where, a.Rows, a.Error, questions[i].SQL)
			continue
		}
		if same, err := ask(t, conn, questions[i].SQL); err != nil || !slices.Equal(same.columns, a.Columns) {
			t.Errorf("%s: columns %v in JavaScript, %v in Go (%v)", a.Where, a.Columns, same.columns, err)
		}
	}
}

// Each dashboard's JSON fits the types of the Grafana release that Compose runs: the dashboard's own, and those of each panel's
// options and fields. What the types have no word for (units, properties of overrides) they can not check.
func TestDashboardsFitGrafanasTypes(t *testing.T) {
	dir := workshop(t)
	copyInto(t, dir, "client/dashboard.ts")
	args := []string{"node_modules/typescript/bin/tsc", "--noEmit", "--strict", "--skipLibCheck", "--preserveSymlinks", "--target", "es2022", "--module", "esnext",
		"--moduleResolution", "bundler"}
	write := func(name, text string) {
		text = "import type { OurDashboard } from './dashboard';\nexport default " + text + " satisfies OurDashboard;\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := func(files ...string) (string, error) {
		tsc := exec.CommandContext(t.Context(), "node", append(slices.Clone(args), files...)...)
		tsc.Dir = dir
		out, err := tsc.CombinedOutput()
		return string(out), err
	}
	var files []string
	for _, d := range dashboards(t) {
		name := d.UID + ".ts"
		write(name, strings.TrimSpace(string(d.text)))
		files = append(files, name)
	}
	if out, err := check(files...); err != nil {
		t.Errorf("%v\n%.6000s", err, out)
	}
	// The types do refuse something.
	fleet := ""
	for _, d := range dashboards(t) {
		if d.UID == "leastwise-fleet" {
			fleet = strings.TrimSpace(string(d.text))
		}
	}
	changes := [][2]string{{`"cellHeight": "sm"`, `"cellHeight": "tiny"`}, {`"showHeader": true`, `"showHaeder": true`},
		{`"drawStyle": "bars"`, `"drawStyle": "stars"`}, {`"noValue":`, `"noVaule":`}, {`"schemaVersion": 41`, `"schemaVersion": "41"`},
		{`"format": 0`, `"format": 7`}}
	files = nil
	for i, change := range changes {
		name := fmt.Sprintf("bad%d.ts", i)
		write(name, strings.Replace(fleet, change[0], change[1], 1))
		files = append(files, name)
	}
	out, _ := check(files...)
	for i, change := range changes {
		if !strings.Contains(out, files[i]+"(") {
			t.Errorf("the types take %s\n%s", change[1], out)
		}
	}
}
