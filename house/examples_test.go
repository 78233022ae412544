package house

import (
	"io"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/rego"
)

func TestTheExamplePoliciesAndCatalogAreGood(t *testing.T) {
	dir := filepath.Join(top(t), "deploy", "config")
	engine, err := rego.New(t.Context(), rego.Options{PolicyDir: filepath.Join(dir, "policies"), Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	found, err := catalog.Load(filepath.Join(dir, "catalog.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	channels := map[string]bool{}
	for _, name := range channelNames(t) {
		channels[name] = true
	}
	for _, p := range engine.Current().Policies() {
		for _, a := range p.Actions {
			if !channels[a.Channel] {
				t.Errorf("policy %s tells channel %q, which %s does not have", p.ID, a.Channel, configFile)
			}
		}
	}
	for _, a := range found.Agents() {
		for _, c := range a.Owner.Channels {
			if !channels[c] {
				t.Errorf("owner %s is told by channel %q, which %s does not have", a.Owner.ID, c, configFile)
			}
		}
	}
}
