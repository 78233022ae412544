package crash

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// newSite writes the configuration, the policies and the catalog of a site whose collector follows logFile.
// It publishes so many lines at once.
func newSite(dir, logFile string, batch int, h *history, at *issuer) (*site, error) {
	s := &site{dir: dir, config: filepath.Join(dir, "leastwise.yaml"), issuer: at}
	files := map[string]string{
		"leastwise.yaml":        fmt.Sprintf(configText, dir, logFile, batch, dir, dir),
		"policies/probing.yaml": fmt.Sprintf(probingText, threshold),
		"policies/curious.yaml": fmt.Sprintf(curiousText, curious, int(longLife.Hours())),
		"catalog.yaml":          catalogText(h),
	}
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, fmt.Errorf("write the configuration: %w", err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("write the configuration: %w", err)
		}
	}
	return s, nil
}

// Small checkpoints, so that a kill falls between all of their steps; the enforcer's patience is short, and its budget
// lets everything pass that the policies ask for.
const configText = `data_dir: %q
listen: none
log: {level: info}
kafka: embedded
clickhouse: embedded
vault_collector: {file: %q, batch_records: %d, batch_wait: 100ms, heartbeat: 2s}
processor: {flush: 200ms, checkpoint: 1s, heartbeat: 1s, tick: 100ms}
policies: {dir: "%s/policies"}
catalog: {path: "%s/catalog.yaml"}
enforcer:
  mode: enforce
  budget: "100000/h 100%%"
  live_credentials: 100000
  max_decision_age: 15s
  notify_deadline: 1h
  escalation: [owners]
  retry_min: 200ms
  retry_max: 2s
  max_attempts: 30
  hold_every: 500ms
  log_deadline: 2s
  act_timeout: 1s
`

const probingText = `policy_id: "probing"
description: "Tries what it was never granted."
metrics:
  - {name: elevation_attempts, source: vault, threshold: "%d", condition: greater_or_equal}
enforcement: {mode: enforce, grace: "3s", remind: ["1s"], revoke: true}
action:
  - {severity: high, channel: owners, remediation_hint: "Ask what it looks for."}
`

const curiousText = `policy_id: "curious"
description: "Lives long, and tries what it was never granted."
match: all
metrics:
  - {name: elevation_attempts, source: vault, threshold: "%d", condition: greater_or_equal}
  - {name: lifetime, source: vault, threshold: "%dh", condition: greater_than}
enforcement: {mode: enforce, grace: "4s", remind: ["2s"], revoke: true, reissue: true}
action:
  - {severity: medium, channel: owners, remediation_hint: "Log in anew for each task."}
`

// catalogText makes all tokens one owner's, who is known by their entities.
func catalogText(h *history) string {
	var text strings.Builder
	text.WriteString("owners:\n  - {id: fleet, name: Fleet, channels: [owners]}\nagents:\n  - id: fleet\n    owner: fleet\n    match:\n")
	seen := map[string]bool{}
	for i := range h.truth.Credentials {
		if id := h.truth.Credentials[i].EntityID; !seen[id] {
			seen[id] = true
			fmt.Fprintf(&text, "      - vault_entity: %q\n", id)
		}
	}
	return text.String()
}
