package house

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	makeCommand = regexp.MustCompile(`(?m)^\$? *(?:[A-Z_]+=\S+ )*make ([a-z][a-z0-9-]*)|` + "`make ([a-z][a-z0-9-]*)[^`]*`")
	target      = regexp.MustCompile(`(?m)^([a-z][a-z0-9-]*):`)
	testName    = regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9_]+\b`)
	testFunc    = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9_]*)\(`)
	link        = regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
)

// documents are the texts whose commands, links and test names are checked.
func documents(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, name := range []string{"README.md", "DESIGN.md", "CHANGELOG.md"} {
		found[name] = read(t, name)
	}
	return found
}

func TestMakeTargetsThatDocumentsNameExist(t *testing.T) {
	targets := map[string]bool{}
	for _, m := range target.FindAllStringSubmatch(read(t, "Makefile"), -1) {
		targets[m[1]] = true
	}
	named := 0
	for name, text := range documents(t) {
		for _, m := range makeCommand.FindAllStringSubmatch(text, -1) {
			named++
			if goal := m[1] + m[2]; !targets[goal] {
				t.Errorf("%s names `make %s`, which the Makefile does not have", name, goal)
			}
		}
	}
	if named < 2 {
		t.Errorf("the documents name %d make commands, want at least make up and make test", named)
	}
}

func TestLinksInDocumentsLeadToFiles(t *testing.T) {
	for name, text := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(top(t), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", name, m[1], err)
			}
		}
	}
}

func TestTestsThatDocumentsNameExist(t *testing.T) {
	exists := map[string]bool{}
	for _, dir := range modules(t) {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, m := range testFunc.FindAllStringSubmatch(string(text), -1) {
				exists[m[1]] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range documents(t) {
		for _, test := range testName.FindAllString(text, -1) {
			if !exists[test] {
				t.Errorf("%s names %s, which does not exist", name, test)
			}
		}
	}
}
