package house

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// prefix of every module path in go.work.
const prefix = "github.com/leastwise/leastwise/"

// top is the directory that holds go.work.
func top(t *testing.T) string {
	t.Helper()
	_ = os.Getenv("HOUSE_RUN") // makes the cache of results depend on it: see the Makefile
	dir, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.work")); err != nil {
		t.Fatalf("these tests read the whole repository: %v", err)
	}
	return dir
}

// output runs a command in dir and returns what it writes to stdout. env is
// added to the test's own environment.
func output(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%.3000s%.3000s", name, strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}

// modules are the directories of go.work's modules by room, such as
// "collectors" or "cmd/leastwise".
func modules(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for line := range strings.Lines(output(t, top(t), nil, "go", "list", "-m", "-f", "{{.Path}} {{.Dir}}")) {
		path, dir, _ := strings.Cut(strings.TrimSpace(line), " ")
		found[strings.TrimPrefix(path, prefix)] = dir
	}
	if len(found) < 9 {
		t.Fatalf("go.work lists only %v", found)
	}
	return found
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(top(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
