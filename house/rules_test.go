package house

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

type ruleFile struct {
	Groups []struct {
		Rules []struct {
			Alert       string            `yaml:"alert"`
			Expr        string            `yaml:"expr"`
			Annotations map[string]string `yaml:"annotations"`
		} `yaml:"rules"`
	} `yaml:"groups"`
}

func rules(t *testing.T) ruleFile {
	t.Helper()
	var found ruleFile
	if err := yaml.Unmarshal([]byte(read(t, "deploy/prometheus/leastwise.rules.yml")), &found); err != nil {
		t.Fatal(err)
	}
	return found
}

var metricName = regexp.MustCompile(`\bleastwise_[a-z0-9_]+`)

func TestMetricsThatAlertRulesNameAreRegistered(t *testing.T) {
	var sources strings.Builder
	for room, dir := range modules(t) {
		if room == "house" {
			continue
		}
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			sources.Write(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	code := sources.String()
	seen := 0
	for _, group := range rules(t).Groups {
		for _, rule := range group.Rules {
			for _, name := range metricName.FindAllString(rule.Expr, -1) {
				seen++
				base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
				if !named(code, name) && !named(code, base) {
					t.Errorf("%s reads %s, which no component registers", rule.Alert, name)
				}
			}
		}
	}
	if seen < 10 {
		t.Errorf("the rules name %d metrics; is the file read right?", seen)
	}
}

// named reports whether code has the metric's name as a text: whole, or cut
// after "leastwise_COMPONENT_", as constructors that add the beginning have it.
func named(code, metric string) bool {
	if strings.Contains(code, `"`+metric+`"`) {
		return true
	}
	parts := strings.SplitN(metric, "_", 3)
	return len(parts) == 3 && strings.Contains(code, `"leastwise_`+parts[1]+`_"`) && strings.Contains(code, `"`+parts[2]+`"`)
}

func TestEachAlertSaysWhatToDoAndHasATest(t *testing.T) {
	tests := read(t, "deploy/prometheus/leastwise.rules_test.yml")
	for _, group := range rules(t).Groups {
		for _, rule := range group.Rules {
			if rule.Annotations["summary"] == "" || rule.Annotations["action"] == "" {
				t.Errorf("%s lacks summary or action", rule.Alert)
			}
			if !strings.Contains(tests, "alertname: "+rule.Alert+"\n") {
				t.Errorf("%s has no test in leastwise.rules_test.yml", rule.Alert)
			}
		}
	}
}

func TestAlertRulesPassPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed; Debian has it in the package prometheus")
	}
	dir := filepath.Join(top(t), "deploy", "prometheus")
	output(t, dir, nil, promtool, "check", "config", "prometheus.yml")
	output(t, dir, nil, promtool, "check", "rules", "leastwise.rules.yml")
	output(t, dir, nil, promtool, "test", "rules", "leastwise.rules_test.yml")
}
