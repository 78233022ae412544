package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
	"github.com/leastwise/leastwise/internal/store"
)

const reportCatalog = `owners:
  - {id: payments, name: Payments, channels: [terminal, alerts]}
  - {id: search, name: Search, channels: [alerts]}
  - {id: quiet, name: Quiet, channels: [terminal]}
`

// configured writes the configuration as a file, and fills the tables.
func configured(t *testing.T, rows ...string) (config string) {
	t.Helper()
	cfg := beside(t)
	db, err := store.Open(t.Context(), cfg.ClickHouse, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, sql := range rows {
		if err := db.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	return writeConfig(t, &cfg)
}

func writeConfig(t *testing.T, cfg *allinone.Config) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"catalog.yaml": reportCatalog, "leastwise.yaml": fmt.Sprintf(`data_dir: %s
kafka: {brokers: [%q], partitions: 1, replication_factor: 1}
clickhouse: {addr: [%q], protocol: http, database: %s}
policies: {dir: %s}
catalog: {path: %s}
channels:
  terminal: {type: stdout}
  alerts: {type: alertmanager, url: "http://127.0.0.1:1"}
`, cfg.DataDir, cfg.Kafka.Brokers[0], cfg.ClickHouse.Addr[0], cfg.ClickHouse.Database, cfg.Policies.Dir, filepath.Join(dir, "catalog.yaml"))} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "leastwise.yaml")
}

func TestOwnersAreToldTheirWeek(t *testing.T) {
	config := configured(t,
		`INSERT INTO credentials (credential, owner, issued_at, never_expires, written_at) VALUES
			('vault/d/token/a', 'payments', now64(9), true, now64(9)), ('vault/d/token/b', 'search', now64(9), true, now64(9))`,
		`INSERT INTO decisions (credential, decided_at, policies, metrics, values, thresholds, severities, mode, owner) VALUES
			('vault/d/token/a', now64(9), ['lives-long'], ['lifetime'], ['never ends'], ['1h'], ['high'], 'OBSERVE', 'payments'),
			('vault/d/token/b', now64(9), ['lives-long'], ['lifetime'], ['never ends'], ['1h'], ['high'], 'OBSERVE', 'search')`)
	for _, c := range []struct {
		code       int
		says, hush string
		args       []string
	}{
		{0, "To Payments, over [terminal alerts]\nLeastwise, week to", "told", []string{"--week", "--dry-run"}},
		{0, "credentials of Payments", "token/b", []string{"--week", "--owner", "payments"}},
		{0, "Nothing of yours stands past policy.", "token/", []string{"--week", "--owner", "quiet"}},
		{1, "search was not told", "credentials of Search", []string{"--week"}},
		{1, "1 owners told, 1 with trouble", "Quiet", []string{"--week"}},
		{2, `no owner "nobody"`, "", []string{"--week", "--owner", "nobody"}},
		{2, "--week", "", nil},
	} {
		code, printed := leastwise(t, append([]string{"report", "--config", config}, c.args...)...)
		if code != c.code || !strings.Contains(printed, c.says) || c.hush != "" && strings.Contains(printed, c.hush) {
			t.Errorf("%v: exit %d, want %d, %q and not %q:\n%s", c.args, code, c.code, c.says, c.hush, printed)
		}
	}
}

func TestDeadLettersAreListedShownAndReplayed(t *testing.T) {
	record := `{"type":"request","time":"2026-09-01T06:00:00Z","auth":{"accessor":"a","policy_results":{"allowed":true}},"request":{"id":"c","operation":"read","path":"a/b","client_token_accessor":"a"}}`
	log := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(log, []byte(record+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := configured(t, fmt.Sprintf(`INSERT INTO dead_letters (id, source, instance, position, reason, detail, sha256, length, excerpt, observed_at) VALUES
		(unhex('aaaa0000000000000000000000000001'), 'vault', 'default', '%s:0', 'rejected', 'bad \x1b[2J', SHA256('%s'), %d, '{"":0}', now64(9)),
		(unhex('bbbb0000000000000000000000000002'), 'gcpaudit', 'default', 'projects/p/subscriptions/s/1', 'malformed', 'cut', SHA256('y'), 1, '?', now64(9)),
		(unhex('cccc0000000000000000000000000003'), 'processor', 'default', 'leastwise.events/0/7', 'rejected', 'no event', SHA256('z'), 1, '?', now64(9))`, log, record, len(record)))
	for _, c := range []struct {
		code       int
		says, hush string
		args       []string
	}{
		{0, "aaaa00000000", "\x1b", []string{"list"}},
		{0, "bbbb00000000", "aaaa", []string{"list", "--source", "gcpaudit"}},
		{0, "outline   {\"\":0}", "client_token_accessor", []string{"show", "aaaa"}},
		{2, "no such dead letter", "", []string{"show", "dddd"}},
		{2, "hexadecimal", "", []string{"show", "x y"}},
		{2, "give ids of dead letters, or --all", "", []string{"replay"}},
		{0, log + ":0  read, tells 1 event\n1 read again (1 event would be published), 0 failed", "", []string{"replay", "aaaa", "--dry-run"}},
		{1, "2 failed", "", []string{"replay", "--all"}},
		{1, "is no file that can be read here; fetch the log and give it with --from", "", []string{"replay", "--all", "--source", "gcpaudit"}},
		{1, "it is a message of leastwise.events", "", []string{"replay", "cccc"}},
	} {
		code, printed := leastwise(t, append([]string{"deadletter", c.args[0], "--config", config}, c.args[1:]...)...)
		if code != c.code || !strings.Contains(printed, c.says) || c.hush != "" && strings.Contains(printed, c.hush) {
			t.Errorf("%v: exit %d, want %d, %q and not %q:\n%s", c.args, code, c.code, c.says, c.hush, printed)
		}
	}
}
