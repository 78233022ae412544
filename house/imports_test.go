package house

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// mayImport says which rooms a room's product code may import besides itself.
// A room that is not a key may not exist.
var mayImport = map[string][]string{
	"schemas":       {},
	"rego":          {"schemas"},
	"internal":      {"schemas"},
	"collectors":    {"schemas", "internal"},
	"enforcer":      {"schemas", "internal"},
	"processor":     {"schemas", "rego", "internal"},
	"console":       {"schemas", "internal"},
	"simulator":     {"schemas", "rego", "internal", "collectors", "processor", "enforcer"},
	"cmd/leastwise": {"schemas", "rego", "internal", "collectors", "processor", "enforcer", "simulator", "console"},
	"house":         {},
}

// only says which of our packages may import a library, by the beginnings of
// both paths: behind each stands one package that can be exchanged.
var only = map[string][]string{
	"github.com/segmentio/kafka-go":       {"internal/stream"},
	"github.com/twmb/franz-go":            {"internal/broker"},
	"github.com/ClickHouse/clickhouse-go": {"internal/store", "internal/chdb"},
	"github.com/ClickHouse/ch-go":         {"internal/store", "internal/chdb"},
	"github.com/ebitengine/purego":        {"internal/chdb"},
	"github.com/open-policy-agent/opa":    {"rego"},
	"github.com/hashicorp/vault/api":      {"collectors/vault", "enforcer/target/vault", "simulator"},
	"github.com/valyala/fastjson":         {"collectors", "cmd/leastwise"},
}

// noTests are packages that product code never imports: helpers of tests.
var noTests = []string{"internal/kafkatest", "internal/storetest", "collectors/sourcetest", "testing"}

// mustNotLink says what may not be in a binary, at any depth.
var mustNotLink = map[string][]string{
	"enforcer/cmd/enforcer": {
		"github.com/open-policy-agent/opa", "github.com/valyala/fastjson", "github.com/ClickHouse/",
		"github.com/ebitengine/purego", "github.com/twmb/franz-go", prefix + "collectors", prefix + "rego",
	},
	"collectors/cmd/collector-vault": {
		"github.com/open-policy-agent/opa", "github.com/ClickHouse/", "github.com/ebitengine/purego",
		"github.com/twmb/franz-go", prefix + "enforcer", prefix + "rego",
	},
	"collectors/cmd/collector-cloudtrail": {
		"github.com/open-policy-agent/opa", "github.com/ClickHouse/", "github.com/ebitengine/purego",
		"github.com/twmb/franz-go", prefix + "enforcer", prefix + "rego",
	},
	"collectors/cmd/collector-gcpaudit": {
		"github.com/open-policy-agent/opa", "github.com/ClickHouse/", "github.com/ebitengine/purego",
		"github.com/twmb/franz-go", prefix + "enforcer", prefix + "rego",
	},
	"collectors/cmd/collector-certlog": {
		"github.com/open-policy-agent/opa", "github.com/ClickHouse/", "github.com/ebitengine/purego",
		"github.com/twmb/franz-go", prefix + "enforcer", prefix + "rego",
	},
	"collectors/cmd/collector-spire": {
		"github.com/open-policy-agent/opa", "github.com/ClickHouse/", "github.com/ebitengine/purego",
		"github.com/twmb/franz-go", prefix + "enforcer", prefix + "rego",
	},
	"collectors/cmd/collector-jwtregistry": {
		"github.com/open-policy-agent/opa", "github.com/ClickHouse/", "github.com/ebitengine/purego",
		"github.com/twmb/franz-go", prefix + "enforcer", prefix + "rego",
	},
	"collectors/cmd/collector-agentusage": {
		"github.com/open-policy-agent/opa", "github.com/ClickHouse/", "github.com/ebitengine/purego",
		"github.com/twmb/franz-go", prefix + "enforcer", prefix + "rego",
	},
	"processor/cmd/processor": {
		"github.com/ebitengine/purego", "github.com/twmb/franz-go", "github.com/hashicorp/vault/api",
		prefix + "collectors", prefix + "enforcer",
	},
}

func roomOf(pkg string) string {
	for room := range mayImport {
		if within(pkg, room) {
			return room
		}
	}
	return ""
}

// within reports whether path is root or below it.
func within(path, root string) bool {
	return path == root || strings.HasPrefix(path, strings.TrimSuffix(root, "/")+"/")
}

// wrongImport says why a package of ours, named without prefix, may not import
// path; empty if it may.
func wrongImport(pkg, path string) string {
	from := roomOf(pkg)
	if from == "" {
		return "is in no room that the import table knows"
	}
	if ours, found := strings.CutPrefix(path, prefix); found {
		if to := roomOf(ours); to != from && !slices.Contains(mayImport[from], to) {
			return "room " + from + " may not import room " + to
		}
	}
	for library, allowed := range only {
		if within(path, library) && !slices.ContainsFunc(allowed, func(a string) bool { return within(pkg, a) }) {
			return "only " + strings.Join(allowed, " and ") + " may import it"
		}
	}
	for _, helper := range noTests {
		if (path == helper || path == prefix+helper) && !slices.Contains(noTests, pkg) && !strings.HasSuffix(pkg, "test") {
			return "it is a helper of tests"
		}
	}
	return ""
}

func TestImportsGoOneWay(t *testing.T) {
	patterns := []string{"list", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`}
	for _, dir := range slices.Sorted(maps.Values(modules(t))) {
		patterns = append(patterns, dir+"/...")
	}
	seen := 0
	for line := range strings.Lines(output(t, top(t), nil, "go", patterns...)) {
		fields := strings.Fields(line)
		pkg := strings.TrimPrefix(fields[0], prefix)
		for _, path := range fields[1:] {
			seen++
			if why := wrongImport(pkg, path); why != "" {
				t.Errorf("%s imports %s: %s", pkg, path, why)
			}
		}
	}
	if seen < 100 {
		t.Errorf("only %d imports seen: the list is not whole", seen)
	}
}

func TestComponentsLinkOnlyWhatTheyNeed(t *testing.T) {
	for binary, forbidden := range mustNotLink {
		deps := output(t, top(t), nil, "go", "list", "-deps", "./"+binary)
		for dep := range strings.Lines(deps) {
			dep = strings.TrimSpace(dep)
			for _, f := range forbidden {
				if within(dep, f) {
					t.Errorf("%s links %s", binary, dep)
				}
			}
		}
	}
}

func TestTheImportRuleRefusesWhatItShould(t *testing.T) {
	for _, c := range []struct {
		pkg, path string
		refused   bool
	}{
		{"collectors/vault", prefix + "internal/stream", false},
		{"collectors/vault", prefix + "enforcer", true},
		{"schemas", prefix + "internal/stream", true},
		{"enforcer", prefix + "rego", true},
		{"processor", prefix + "rego", false},
		{"internal/store", prefix + "rego", true},
		{"cmd/leastwise/scan", prefix + "collectors/vault", false},
		{"collectors/vault", "github.com/segmentio/kafka-go", true},
		{"internal/stream", "github.com/segmentio/kafka-go/sasl/plain", false},
		{"internal/streams", "github.com/segmentio/kafka-go", true},
		{"internal/store", "github.com/ClickHouse/clickhouse-go/v2", false},
		{"processor/record", "github.com/ClickHouse/clickhouse-go/v2", true},
		{"processor", prefix + "internal/kafkatest", true},
		{"enforcer/target/targettest", "testing", false},
		{"enforcer/target", "testing", true},
		{"console/read", prefix + "enforcer/exception", true},
		{"page", "fmt", true},
	} {
		if got := wrongImport(c.pkg, c.path); (got != "") != c.refused {
			t.Errorf("%s imports %s: %q, want refused %v", c.pkg, c.path, got, c.refused)
		}
	}
}
