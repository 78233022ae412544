package allinone

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	validator "github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/rego"
	"github.com/leastwise/leastwise/schemas/jsonschema"
)

const top = "../../.."

var exampleFile = filepath.Join(top, "examples", "leastwise.yaml")

func TestConfigurationFilesLoadAndFitTheSchema(t *testing.T) {
	for _, file := range []string{exampleFile, filepath.Join(top, "deploy", "config", "leastwise.yaml")} {
		var cfg Config
		if err := daemon.Load(file, &cfg); err != nil {
			t.Error(err)
		}
		if err := schema(t).Validate(asJSON(t, read(t, file))); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestExampleRunsEmbeddedAndOnlyObserves(t *testing.T) {
	var cfg Config
	if err := daemon.Load(exampleFile, &cfg); err != nil {
		t.Fatal(err)
	}
	if !cfg.Kafka.Embedded || !cfg.ClickHouse.Embedded || cfg.Enforcer.Mode != "observe" {
		t.Errorf("kafka embedded %v, clickhouse embedded %v, enforcer.mode %q", cfg.Kafka.Embedded, cfg.ClickHouse.Embedded, cfg.Enforcer.Mode)
	}
}

// A policy or an owner whose channel is missing tells nobody.
func TestExampleHasEveryChannelThatItsPoliciesAndCatalogName(t *testing.T) {
	var cfg Config
	if err := daemon.Load(exampleFile, &cfg); err != nil {
		t.Fatal(err)
	}
	engine, err := rego.New(t.Context(), rego.Options{PolicyDir: filepath.Join(top, cfg.Policies.Dir),
		Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	agents, err := catalog.Load(filepath.Join(top, cfg.Catalog.Path))
	if err != nil {
		t.Fatal(err)
	}
	wanted := map[string]string{}
	for _, p := range engine.Current().Policies() {
		for _, a := range p.Actions {
			if a.Channel != "owners" { // the channels of whoever owns the credential
				wanted[a.Channel] = "policy " + p.ID
			}
		}
	}
	for _, a := range agents.Agents() {
		for _, c := range a.Owner.Channels {
			wanted[c] = "owner " + a.Owner.ID
		}
	}
	for _, c := range cfg.Enforcer.Escalation {
		wanted[c] = "enforcer.escalation"
	}
	if len(wanted) < 4 {
		t.Fatalf("only %v", wanted)
	}
	for name, by := range wanted {
		if _, ok := cfg.Channels[name]; !ok {
			t.Errorf("%s names channel %q, which the example does not have", by, name)
		}
	}
}

const engines = "kafka: embedded\nclickhouse: embedded\n"

// Lines count from the file's first. What only Validate refuses is told at the line of the section.
var badConfigs = []struct {
	name, text string
	line       int // 0: about the file as a whole
	says       string
	loaderOnly bool // the schema can not know
}{
	{"unknown section", engines + "proccessor: {flush: 1s}\n", 3, `"proccessor": unknown key`, false},
	{"unknown key", engines + "processor:\n  flush: 1s\n  flsh: 1s\n", 5, `"processor.flsh": unknown key; expected one of batch_rows`, false},
	{"unknown key, nested", "kafka:\n  brokers: [a:1]\n  sasl:\n    mechanisms: plain\nclickhouse: embedded\n", 4, `"kafka.sasl.mechanisms"`, false},
	{"unknown key in a list", engines + "enforcer:\n  vault:\n    - address: https://v:8200\n      token_file: t\n      reissue:\n        max_tll: 1h\n", 8, `max_tll": unknown key`, false},
	{"unknown key of a channel", engines + "channels:\n  ops:\n    type: stdout\n    retries: 4\n", 6, `"channels.ops.retries"`, false},
	{"secret in the file", "kafka: embedded\nclickhouse:\n  addr: [a:1]\n  password: hunter2\n", 4, "password_file", false},
	{"key given twice", engines + "kafka: embedded\n", 3, `"kafka" already defined`, true},
	{"no YAML", engines + " policies: x\n", 2, "can not be read as YAML", true},
	{"list for a mapping", engines + "policies: [a]\n", 3, `"policies": got a sequence; expected a mapping`, false},
	{"text for a mapping", engines + "log: loud\n", 3, `"log": got a string; expected a mapping`, false},
	{"text for a list", engines + "enforcer:\n  mode: observe\n  escalation: ops\n", 5, `"enforcer.escalation"`, false},
	{"list for text", engines + "data_dir: [a]\n", 3, `"data_dir"`, false},
	{"text for a number", "kafka:\n  brokers: [a:1]\n  partitions: many\nclickhouse: embedded\n", 3, `"kafka.partitions": got "many"; expected a whole number`, false},
	{"number with a unit", engines + "vault_collector:\n  file: /a\n  max_record_bytes: 8 MiB\n", 5, "expected a whole number", false},
	{"number out of range", engines + "processor:\n  batch_rows: 99999999999999999999\n", 4, "out of range", false},
	{"text for true or false", engines + "vault_collector:\n  file: /a\n  backlog: perhaps\n", 5, "expected true or false", false},
	{"word for a duration", engines + "processor:\n  flush: 1s\n\n  tick: soon\n", 6, `"processor.tick": "soon" is no duration`, false},
	{"duration without a unit", engines + "enforcer:\n  act_timeout: 10\n", 4, `"enforcer.act_timeout": "10" is no duration`, false},
	{"days and hours mixed", engines + "processor:\n  observation: 1d12h\n", 4, "is no duration", false},
	{"another word than embedded", "clickhouse: embedded\nkafka: embed\n", 2, "want `embedded` or a mapping", false},
	{"embedded as a broker", "kafka:\n  brokers: embedded\nclickhouse: embedded\n", 2, `"kafka.brokers"`, false},
	{"embedded as an address", "kafka: embedded\nclickhouse:\n  addr: [embedded]\n", 2, "not host:port", false},
	{"embedded at the top", engines + "embedded: true\n", 3, `"embedded": unknown key`, false},
	{"embedded as a section that runs anyway", engines + "processor: embedded\n", 3, `"processor": got a string`, false},
	{"embedded and a server", "kafka: embedded\nclickhouse:\n  embedded: true\n  addr: [a:1]\n", 2, "embedded goes with neither addr nor cluster", false},
	{"no Kafka", "clickhouse: embedded\n", 0, "kafka: brokers is empty", false},
	{"no ClickHouse", "kafka: embedded\n", 0, "clickhouse: addr is empty", true},
	{"negative count", "clickhouse: embedded\nkafka:\n  brokers: [a:1]\n  partitions: -1\n", 2, "partitions: -1 is negative", false},
	{"negative size", engines + "vault_collector:\n  file: /a\n  max_record_bytes: -1\n", 3, "must not be negative", false},
	{"negative duration", engines + "processor:\n  flush: -1s\n", 3, "negative", false},
	{"negative duration of the enforcer", engines + "enforcer:\n  retry_min: -2s\n", 3, "retry_min: -2s is negative", false},
	{"negative time-out of a channel", engines + "channels:\n  ops: {type: stdout, timeout: -1s}\n", 3, "channels.ops: timeout is negative", false},
	{"shortest wait over the longest", engines + "enforcer: {retry_min: 1h, retry_max: 1m}\n", 3, "retry_min is longer", true},
	{"insert too large to be atomic", engines + "processor: {batch_rows: 500001}\n", 3, "at most 500000", false},
	{"unknown mode", engines + "enforcer: {mode: kill}\n", 3, `mode "kill"`, false},
	{"budget without a share", engines + "enforcer: {budget: 20/h}\n", 3, "budget", false},
	{"unknown log level", engines + "log: {level: loud}\n", 3, "expected debug, info, warn or error", false},
	{"unknown protocol", "kafka: embedded\nclickhouse: {addr: [\"a:1\"], protocol: grpc}\n", 2, "native or http", false},
	{"certificate without its key", "clickhouse: embedded\nkafka: {brokers: [\"a:1\"], tls: {cert_file: c}}\n", 2, "go together", false},
	{"collector without a log", engines + "vault_collector: {instance: north}\n", 3, "set file", false},
	{"collector of two devices", engines + "vault_collector: {file: /a, socket: unix:///b}\n", 3, "not both", false},
	{"two ways to log in", engines + "vault_collector:\n  file: /a\n  inventory: {address: https://v, token_file: t, approle: {role_id_file: r, secret_id_file: s}}\n", 3, "either token_file or approle", false},
	{"protection of everything", engines + "enforcer: {protect: [{}]}\n", 3, "protect[0]", false},
	{"one Vault twice", engines + "enforcer:\n  vault:\n    - {address: https://v, token_file: t}\n    - {address: https://w, token_file: t}\n", 3, "there twice", true},
	{"unknown channel type", engines + "channels: {ops: {type: pager}}\n", 3, `type "pager"`, false},
	{"secret URL in the file", engines + "channels: {ops: {type: webhook, url: \"https://u:p@h/\"}}\n", 3, "password in it is a secret", false},
	{"shoutrrr URL in the file", engines + "channels: {ops: {type: shoutrrr, url: \"https://h/\"}}\n", 3, "url_file", false},
}

func TestBadConfigurationIsRefusedWithFileAndLine(t *testing.T) {
	for _, c := range badConfigs {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "leastwise.yaml")
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			place := file + ":"
			if c.line > 0 {
				place += strconv.Itoa(c.line) + ":"
			}
			err := daemon.Load(file, &Config{})
			if !errors.Is(err, daemon.ErrConfig) || !strings.HasPrefix(err.Error(), place+" ") || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v\nwant %s …%s…", err, place, c.says)
			}
			if strings.Contains(fmt.Sprint(err), "hunter2") || strings.Contains(fmt.Sprint(err), "u:p@") {
				t.Errorf("the error tells a secret: %v", err)
			}
			if !c.loaderOnly && schema(t).Validate(asJSON(t, []byte(c.text))) == nil {
				t.Error("the schema accepts it")
			}
		})
	}
}

func TestSchemaAcceptsTheShortAndTheSparseForms(t *testing.T) {
	for _, text := range []string{
		engines,
		engines + "processor:\nenforcer:\nchannels:\n", // everything under them commented out
		"kafka: {embedded: true, sync_writes: false}\nclickhouse: {addr: [\"a:9000\", \"[::1]:9000\"], tls: {}}\nlisten: none\n",
		engines + "listen: \":9464\"\nprocessor: {flush: 0, tick: 1h30m, observation: 30d, heartbeat: 1.5m}\n",
		engines + "vault_collector: {socket: tcp://127.0.0.1:9465, inventory: {address: https://v, token_file: t, hmac_accessor: true, device: file}}\n",
	} {
		file := filepath.Join(t.TempDir(), "leastwise.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := daemon.Load(file, &Config{}); err != nil {
			t.Errorf("the loader: %v", err)
		}
		if err := schema(t).Validate(asJSON(t, []byte(text))); err != nil {
			t.Errorf("%s%v", text, err)
		}
	}
}

func schema(t *testing.T) *validator.Schema {
	t.Helper()
	doc, err := validator.UnmarshalJSON(bytes.NewReader(jsonschema.Config))
	if err != nil {
		t.Fatal(err)
	}
	compiler := validator.NewCompiler()
	if err := compiler.AddResource("config.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("config.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

func document(t *testing.T) map[string]any {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal(jsonschema.Config, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// asJSON reads YAML into what encoding/json would have read.
func asJSON(t *testing.T, text []byte) any {
	t.Helper()
	raw, err := yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		t.Fatal(err)
	}
	return value
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
