package jwtregistry

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
	page, err := os.ReadFile("../../docs/sources/jwtregistry.md")
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
	config, records := "", 0
	for _, block := range blocks(t) {
		switch {
		case strings.HasPrefix(block, "jwtregistry_collector:"):
			config = block
		case strings.HasPrefix(block, `{"version"`):
			if _, err := NewDecoder(Options{}).Decode(nil, source.Record{Bytes: []byte(block)}); err != nil {
				t.Errorf("record: %v", err)
			}
			records++
		}
	}
	var cfg struct {
		Section Config `yaml:"jwtregistry_collector"`
	}
	if err := yaml.NewDecoder(bytes.NewReader([]byte(config)), yaml.Strict()).Decode(&cfg); err != nil {
		t.Errorf("configuration: %v\n%s", err, config)
	}
	c := cfg.Section
	if c.API == nil || c.Topic == nil || c.JWKS == nil || c.Introspection == nil || records != 1 {
		t.Fatalf("the page was not read whole: %+v, %d records", c, records)
	}
	for _, err := range []error{c.API.validate(), c.JWKS.Validate(), c.Introspection.validate()} {
		if err != nil {
			t.Error(err)
		}
	}
}
