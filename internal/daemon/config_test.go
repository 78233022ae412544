package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type sample struct {
	Common  `yaml:",inline"`
	Kafka   broker  `yaml:"kafka"`
	Vault   source  `yaml:"vault_collector"`
	Channel *target `yaml:"channels"`
}

type broker struct {
	Embedded bool
	Brokers  []string `yaml:"brokers"`
}

func (b *broker) UnmarshalYAML(unmarshal func(any) error) error {
	var word string
	if unmarshal(&word) == nil {
		if word != "embedded" {
			return errors.New("kafka: want embedded or a mapping")
		}
		b.Embedded = true
		return nil
	}
	type keys broker
	return unmarshal((*keys)(b))
}

type source struct {
	Instance string            `yaml:"instance"`
	Files    []file            `yaml:"files"`
	Every    time.Duration     `yaml:"every"`
	Batch    uint16            `yaml:"batch"`
	Labels   map[string]string `yaml:"labels"`
	On       bool              `yaml:"on"`
}

type file struct {
	Path string `yaml:"path"`
}

type target struct {
	Retries int `yaml:"retries"`
}

func (t *target) Validate() error {
	if t.Retries > 9 {
		return errors.New("retries: 9 at most")
	}
	return nil
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "leastwise.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadTakesItsSectionsSkipsOthersAndKeepsDefaults(t *testing.T) {
	path := write(t, `# one file for all components
data_dir: /var/lib/leastwise
log: {level: debug}
enforcer:
  whatever: [1, 2]
kafka: embedded
vault_collector:
  files: [{path: /a}, {path: /b}]
  every: 2d
  labels: {site: north}
`)
	got := sample{Vault: source{Instance: "default", Every: time.Second}}
	if err := Load(path, &got); err != nil {
		t.Fatal(err)
	}
	if got.DataDir != "/var/lib/leastwise" || got.Log.Level != "debug" || !got.Kafka.Embedded {
		t.Errorf("common keys or kafka not taken: %+v", got)
	}
	v := got.Vault
	if v.Instance != "default" || v.Every != 48*time.Hour || len(v.Files) != 2 || v.Files[1].Path != "/b" || v.Labels["site"] != "north" {
		t.Errorf("vault_collector = %+v", v)
	}
	if got.Channel != nil {
		t.Error("an absent section became non-nil")
	}
}

func TestLoadOfAnEmptyOrCommentedOutFileKeepsDefaults(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "---\n", "kafka:\n  # brokers: [a:1]\nlog:\n"} {
		if err := Load(write(t, text), &sample{}); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestLoadRefusesWithFileLineKeyAndExpectation(t *testing.T) {
	cases := map[string]struct {
		text string
		want []string // all of them in the error, after FILE
	}{
		"misspelt section":        {"log: {}\nkafak: embedded\n", []string{":2:", `key "kafak"`, "expected one of", "kafka"}},
		"unknown key":             {"vault_collector:\n  instance: a\n  fils: []\n", []string{":3:", `key "vault_collector.fils"`, "batch", "files"}},
		"unknown key in a list":   {"vault_collector:\n  files:\n    - path: a\n    - paht: b\n", []string{":4:", `"vault_collector.files.paht"`, "expected one of path"}},
		"unknown key, own method": {"kafka:\n  brokers: [a:1]\n  broker: b\n", []string{":3:", `"kafka.broker"`, "brokers"}},
		"word in place of number": {"vault_collector:\n  batch: many\n", []string{":2:", `"vault_collector.batch"`, `"many"`, "whole number, not negative"}},
		"negative":                {"vault_collector:\n  batch: -1\n", []string{":2:", `"vault_collector.batch"`, "out of range"}},
		"too large":               {"vault_collector:\n  batch: 70000\n", []string{":2:", `"vault_collector.batch"`, "out of range"}},
		"word in place of bool":   {"vault_collector:\n  on: maybe\n", []string{":2:", `"vault_collector.on"`, "true or false"}},
		"mapping for text":        {"vault_collector:\n  instance: {a: b}\n", []string{":2:", `"vault_collector.instance"`, "text"}},
		"text for a list":         {"vault_collector:\n  instance: x\n  files: /a\n", []string{":3:", `"vault_collector.files"`}},
		"duration without unit":   {"vault_collector:\n  instance: \"10\"\n  every: 10\n", []string{":3:", `"vault_collector.every"`, "15m"}},
		"duration of words":       {"vault_collector:\n  every: \"a while\"\n", []string{":2:", `"vault_collector.every"`, `"a while"`, "15m"}},
		"section twice":           {"log: {}\nkafka: embedded\nlog: {}\n", []string{":3:", `"log" already defined`}},
		"key twice":               {"vault_collector:\n  on: true\n  on: false\n", []string{":3:", `"on" already defined`}},
		"list at the top":         {"- a\n", []string{":1:", "expected a mapping"}},
		"two documents":           {"log: {}\n---\nlog: {}\n", []string{":3:", "second YAML document"}},
		"broken YAML":             {"log:\n  level: [debug\n", []string{":", "can not be read as YAML"}},
		"tab":                     {"log:\n\tlevel: debug\n", []string{":2:", "can not be read as YAML"}},
		"own method refuses":      {"log: {}\nkafka: remote\n", []string{":2:", "kafka: want embedded"}},
		"own Validate refuses":    {"log: {}\nchannels:\n  retries: 10\n", []string{":2:", "channels: retries: 9 at most"}},
		"unknown log level":       {"listen: none\nlog: {level: loud}\n", []string{":2:", "log: level:", "debug, info"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			path := write(t, c.text)
			err := Load(path, &sample{})
			if err == nil {
				t.Fatal("accepted")
			}
			if !errors.Is(err, ErrConfig) {
				t.Errorf("not ErrConfig: %v", err)
			}
			text, ok := strings.CutPrefix(err.Error(), path)
			if !ok {
				t.Errorf("does not begin with the file: %v", err)
			}
			for _, want := range c.want {
				if !strings.Contains(text, want) {
					t.Errorf("%q lacks %q", text, want)
				}
			}
			if strings.Contains(text, "\n") {
				t.Errorf("more than one line: %q", text)
			}
		})
	}
}

func TestLoadNamesAFileItCanNotRead(t *testing.T) {
	err := Load("/nowhere/leastwise.yaml", &sample{})
	if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "/nowhere/leastwise.yaml") {
		t.Errorf("got %v", err)
	}
}
