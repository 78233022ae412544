package agentusage

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/leastwise/leastwise/collectors/source"
)

// blocks are the indented blocks of the page of this source.
func blocks(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("../../docs/sources/agentusage.md")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	inside := false
	for line := range strings.Lines(string(page)) {
		code, indented := strings.CutPrefix(line, "    ")
		switch {
		case indented && inside:
			out[len(out)-1] += code
		case indented:
			out = append(out, code)
		case inside && line == "\n":
			out[len(out)-1] += line
			continue
		}
		inside = indented
	}
	return out
}

func TestThePageShowsWhatWorks(t *testing.T) {
	config, mappings, records := "", 0, 0
	for _, block := range blocks(t) {
		switch {
		case strings.HasPrefix(block, "agentusage_collector:"):
			config = block
		case strings.HasPrefix(block, "version:"):
			if _, err := ParseMapping([]byte(block)); err != nil {
				t.Errorf("mapping: %v", err)
			}
			mappings++
		case strings.HasPrefix(block, `{"agent_usage"`):
			if _, err := NewDecoder(Options{}).Decode(nil, source.Record{Bytes: []byte(block)}); err != nil {
				t.Errorf("normal form: %v", err)
			}
			records++
		}
	}
	var cfg struct {
		Section Config `yaml:"agentusage_collector"`
	}
	if err := yaml.NewDecoder(bytes.NewReader([]byte(config)), yaml.Strict()).Decode(&cfg); err != nil {
		t.Errorf("configuration: %v\n%s", err, config)
	}
	if cfg.Section.OTLP == nil || cfg.Section.Credentials["aws_session"].Instance != "prod" || mappings != 1 || records != 1 {
		t.Errorf("the page was not read whole: %+v, %d mappings, %d records", cfg.Section, mappings, records)
	}
}
