package demo

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
	"github.com/leastwise/leastwise/cmd/leastwise/gate"
	site "github.com/leastwise/leastwise/simulator/demo"
	"github.com/leastwise/leastwise/simulator/fleet"
	"github.com/leastwise/leastwise/simulator/sources"
)

// graphPatience is how long the gate waits for the identity graph.
const graphPatience = 3 * time.Minute

// askGate has the gate judge the manifests of two agents by catalog and identity graph, as `leastwise gate --graph` does:
// the first has to pass, the second, which is mislabelled on purpose, to be refused for that.
func (w *watcher) askGate(ctx context.Context, engines *allinone.Engines) error {
	patience, cancel := context.WithTimeout(ctx, graphPatience)
	defer cancel()
	live := gate.NewLive(engines.Stream)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = live.Run(patience) // ends with it; what it could not read is said by the gate
	}()
	defer func() { cancel(); <-ended }()
	live.Wait(patience)
	at := func(name string) string { return filepath.Join(w.opts.Dir, "site", filepath.FromSlash(name)) }
	judge := gate.New(gate.Options{Config: gate.Config{SPIFFE: gate.SPIFFEConfig{TrustDomain: sources.TrustDomain}},
		Catalog: gate.LoadCatalog(at(site.CatalogFile)), Graph: gate.Graph{Read: live.Graph}, Exceptions: live.Exceptions, Noticed: live.Noticed})
	lines := []string{"MAY THEY BE DEPLOYED? The gate reads their manifests:"}
	for _, manifest := range []string{site.ManifestFile, site.MislabelledManifestFile} {
		report, err := judge.Check(ctx, []string{at(manifest)}, nil)
		if err != nil {
			return err
		}
		if err := w.judged(manifest, report); err != nil {
			return fmt.Errorf("gate: %s: %w", manifest, err)
		}
		for _, v := range report.Workloads {
			lines = append(lines, w.verdict(v)...)
		}
	}
	w.board.block(lines...)
	return nil
}

// judged tells the answer for a manifest, and whether it is the one that it should get.
func (w *watcher) judged(manifest string, report *gate.Report) error {
	var codes, reasons []string
	for _, v := range report.Workloads {
		for _, p := range v.Problems {
			codes, reasons = append(codes, p.Code), append(reasons, w.short(p.Text))
		}
	}
	if manifest == site.ManifestFile {
		w.board.step("gate", fleet.Steady, "manifest", manifest, "allowed", report.Allowed, "reasons", reasons)
		if !report.Allowed {
			return errors.New("the manifest of an agent that is as it should be is refused: " + strings.Join(reasons, "; "))
		}
		return nil
	}
	w.board.step("gate", fleet.Ingest, "manifest", manifest, "allowed", report.Allowed, "codes", codes, "reasons", reasons)
	if report.Allowed || !slices.Contains(codes, "mislabelled") {
		return fmt.Errorf("the mislabelled agent's manifest is not refused for that: allowed %v, %s", report.Allowed, strings.Join(reasons, "; "))
	}
	return nil
}

// verdict in lines for a reader.
func (w *watcher) verdict(v *gate.Verdict) []string {
	if v.Allowed {
		return []string{fmt.Sprintf("  allowed  %s: owner %s, system of record %s", v.Workload, v.Owner, v.System)}
	}
	lines := []string{fmt.Sprintf("  REFUSED  %s", v.Workload)}
	for _, p := range v.Problems {
		lines = append(lines, wrap(w.short(p.Text), "           ")...)
		lines = append(lines, wrap(p.Do, "           → ")...)
	}
	return lines
}

const textWidth = 116

// wrap breaks a text at spaces; first begins the first line, and as many spaces the others.
func wrap(text, first string) []string {
	var lines []string
	line := first
	indent := strings.Repeat(" ", len([]rune(first)))
	for _, word := range strings.Fields(text) {
		if len([]rune(line))+len([]rune(word)) > textWidth && strings.TrimSpace(line) != "" {
			lines = append(lines, strings.TrimRight(line, " "))
			line = indent
		}
		line += word + " "
	}
	return append(lines, strings.TrimRight(line, " "))
}
