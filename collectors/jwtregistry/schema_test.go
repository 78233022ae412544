package jwtregistry

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/leastwise/leastwise/collectors/source"
	"google.golang.org/protobuf/proto"
)

type jsonSchema struct {
	Properties map[string]struct {
		Enum  []string `json:"enum"`
		Const any      `json:"const"`
	} `json:"properties"`
}

func readSchema(t *testing.T) jsonSchema {
	t.Helper()
	text, err := os.ReadFile("../../schemas/jsonschema/jwt-registry.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var s jsonSchema
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheSchemaNamesTheEventsAndTheVersionThatAreRead(t *testing.T) {
	s := readSchema(t)
	if want := slices.Sorted(maps.Keys(kindOf)); !slices.Equal(slices.Sorted(slices.Values(s.Properties["event"].Enum)), want) {
		t.Errorf("events of the schema %v, of the decoder %v", s.Properties["event"].Enum, want)
	}
	if s.Properties["version"].Const != float64(SchemaVersion) {
		t.Errorf("version %v", s.Properties["version"].Const)
	}
}

// Every field of the schema changes what is made of a record, and no field of the samples is missing from the schema.
func TestEveryFieldOfTheSchemaIsRead(t *testing.T) {
	other := map[string]any{"version": 2, "event": "revoked", "id": "other", "time": issued + 5, "jti": "other", "token": "opaque",
		"token_type": "x", "typ": "x", "iss": "https://other", "sub": "other", "aud": "other", "scope": "other", "scp": "other", "client_id": "other",
		"azp": "other", "act": map[string]any{"sub": "x"}, "cnf": map[string]any{"kid": "x"}, "iat": issued - 5, "nbf": issued + 9, "exp": issued + 9,
		"active": true, "previous_jti": "other", "parent_jti": "other", "ends_with_parent": true, "permission": "other", "resource": "other",
		"agent_id": "other", "owner": "other", "token_sha256": fmt.Sprintf("%064d", 1)}
	for field := range readSchema(t).Properties {
		t.Run(field, func(t *testing.T) {
			record := map[string]any{"version": 1, "event": "issued", "id": "r", "time": issued, "iat": issued, "jti": "j"}
			switch field {
			case "token", "token_sha256":
				record["token_sha256"] = fmt.Sprintf("%064d", 0)
				delete(record, "jti")
			case "previous_jti":
				record["event"] = "renewed"
			case "active":
				record["event"] = "introspected"
			case "permission", "resource":
				record["event"] = "used"
			case "ends_with_parent":
				record["parent_jti"] = "p"
			}
			before := decoded(t, record)
			value, ok := other[field]
			if !ok {
				t.Fatalf("the test knows no value of %s", field)
			}
			record[field] = value
			if decoded(t, record) == before {
				t.Errorf("the field changes nothing")
			}
		})
	}
}

func decoded(t *testing.T, record map[string]any) string {
	t.Helper()
	events, err := NewDecoder(Options{}).Decode(nil, source.Record{Bytes: line(t, record)})
	if err != nil {
		t.Fatal(err)
	}
	out := ""
	for _, ev := range events {
		text, err := proto.MarshalOptions{Deterministic: true}.Marshal(ev)
		if err != nil {
			t.Fatal(err)
		}
		out += string(text) + "\n"
	}
	return out
}
