package house

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// alone is the environment in which go.work and what it lends do not exist.
var alone = []string{"GOWORK=off", "GOFLAGS=-mod=readonly -buildvcs=false"}

func TestEachModuleBuildsAlone(t *testing.T) {
	if testing.Short() {
		t.Skip("builds everything with each module's own versions")
	}
	for room, dir := range modules(t) {
		t.Run(room, func(t *testing.T) {
			output(t, dir, alone, "go", "build", "./...")
			// The tests' dependencies must be in go.sum too.
			output(t, dir, alone, "go", "list", "-deps", "-test", "./...")
		})
	}
}

// The module of the comparison with other engines is not in go.work, so no other test would see its go.sum fall behind.
func TestComparisonKnowsWhatTheCollectorsImport(t *testing.T) {
	if testing.Short() {
		t.Skip("downloads what the comparison needs")
	}
	output(t, filepath.Join(top(t), "tools", "compare"), alone, "go", "list", "-deps", "./...")
}

func TestModulesUseOneGoVersionAndReplaceOnlyEachOther(t *testing.T) {
	found := modules(t)
	for room, dir := range found {
		text := read(t, filepath.Join(strings.TrimPrefix(dir, top(t)), "go.mod"))
		if !strings.Contains(text, "\ngo 1.26") {
			t.Errorf("%s: go.mod does not say go 1.26", room)
		}
		for line := range strings.Lines(text) {
			fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "replace "))
			if len(fields) != 3 || fields[1] != "=>" {
				continue
			}
			target := filepath.Join(dir, fields[2])
			if other := found[strings.TrimPrefix(fields[0], prefix)]; other != target {
				t.Errorf("%s: replaces %s with %s, want %s", room, fields[0], target, other)
			}
		}
	}
}

func TestGeneratedProtobufCodeIsCurrent(t *testing.T) {
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	if _, err := os.Stat(filepath.Join(cache, "leastwise", "tools", "proto", ".pin")); err != nil {
		t.Skip("buf is not built yet: make lint builds it")
	}
	fresh := t.TempDir()
	output(t, top(t), nil, "tools/proto.sh", "generate", fresh)
	diff, err := exec.CommandContext(t.Context(), "diff", "-rq", filepath.Join(fresh, "leastwisev1"), filepath.Join(top(t), "schemas", "leastwisev1")).CombinedOutput()
	if err != nil {
		t.Errorf("schemas/leastwisev1 differs from schemas/proto, run make proto:\n%s", diff)
	}
}
