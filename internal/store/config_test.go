package store_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/leastwise/leastwise/internal/store"
)

type document struct {
	ClickHouse store.Config `yaml:"clickhouse"`
}

func TestConfigFromYAML(t *testing.T) {
	for text, want := range map[string]store.Config{
		"clickhouse: embedded": {Embedded: true},
		"clickhouse: {embedded: true, data_dir: /d, listen: 'localhost:8123', library: /l}": {
			Embedded: true, DataDir: "/d", Listen: "localhost:8123", Library: "/l"},
		"clickhouse: {addr: ['a:9440', 'b:9440'], protocol: native, database: lw, username: u, password_file: /p, tls: {ca_file: /c}, cluster: eu}": {
			Addr: []string{"a:9440", "b:9440"}, Protocol: "native", Database: "lw", Username: "u", PasswordFile: "/p",
			TLS: &store.TLS{CAFile: "/c"}, Cluster: "eu"},
	} {
		var got document
		if err := yaml.UnmarshalWithOptions([]byte(text), &got, yaml.Strict()); err != nil {
			t.Errorf("%s: %v", text, err)
		} else if !reflect.DeepEqual(got.ClickHouse, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", text, got.ClickHouse, want)
		}
	}
}

func TestBadConfigNamesTheKey(t *testing.T) {
	for text, want := range map[string]string{
		"clickhouse: local":                                     "want `embedded`",
		"clickhouse: {}":                                        "addr is empty",
		"clickhouse: {addr: [a]}":                               `"a" is not host:port`,
		"clickhouse: {addr: ['a:1'], protocol: grpc}":           "protocol",
		"clickhouse: {addr: ['a:1'], database: 'x; DROP'}":      "database",
		"clickhouse: {addr: ['a:1'], cluster: \"x' y\"}":        "cluster",
		"clickhouse: {addr: ['a:1'], password_file: /p}":        "username",
		"clickhouse: {addr: ['a:1'], username: u, password: p}": "password",
		"clickhouse: {embedded: true, cluster: x}":              "embedded goes with neither",
		"clickhouse: {addr: ['a:1'], tls: {key_file: k}}":       "cert_file and key_file",
		"clickhouse: {embedded: true, listen: 8123}":            "listen",
	} {
		var got document
		err := yaml.UnmarshalWithOptions([]byte(text), &got, yaml.Strict())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

func TestOpenOfEmbeddedNeedsAnEngine(t *testing.T) {
	_, err := store.Open(t.Context(), store.Config{Embedded: true}, nil)
	if !errors.Is(err, store.ErrEmbedded) || err.Error() != "clickhouse: embedded works only in `leastwise up`; give addr" {
		t.Errorf("got %v", err)
	}
}
