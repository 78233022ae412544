package rego

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/open-policy-agent/opa/v1/ast"
	oparego "github.com/open-policy-agent/opa/v1/rego"

	"github.com/leastwise/leastwise/schemas/jsonschema"
)

const examples = "../examples/policies"

func TestStarterPoliciesPassTheirCases(t *testing.T) {
	var out bytes.Buffer
	if err := TestDir(context.Background(), examples, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
}

func TestFieldExampleIsAmongTheStarterPoliciesUnchanged(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(examples, "ephemeral-agent-token.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if string(data) != example {
		t.Error("ephemeral-agent-token.yaml is not the example of the field")
	}
}

// Every starter policy has a case in which it is violated: a policy that nothing can violate is an oversight.
func TestEveryStarterPolicyIsViolatedBySomeCase(t *testing.T) {
	engine, err := New(context.Background(), Options{PolicyDir: examples})
	if err != nil {
		t.Fatal(err)
	}
	cases, err := readCases(filepath.Join(examples, "tests"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, c := range cases {
		for _, id := range c.violates {
			seen[id] = true
		}
	}
	for _, p := range engine.Current().Policies() {
		if !seen[p.ID] {
			t.Errorf("%s: no case violates it", p.ID)
		}
		if p.Description == "" || p.Actions[0].Hint == "" {
			t.Errorf("%s: no description or no hint", p.ID)
		}
	}
}

// schemaErrors asks OPA's own JSON Schema engine.
func schemaErrors(t *testing.T, schema []byte, document any) []string {
	t.Helper()
	var s any
	if err := json.Unmarshal(schema, &s); err != nil {
		t.Fatal(err)
	}
	value, err := ast.InterfaceToValue(map[string]any{"document": document, "schema": s})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := oparego.New(oparego.Query("json.match_schema(input.document, input.schema)"), oparego.ParsedInput(value),
		oparego.StrictBuiltinErrors(true)).Eval(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var problems []string
	for _, e := range rows[0].Expressions[0].Value.([]any)[1].([]any) {
		problems = append(problems, e.(map[string]any)["error"].(string))
	}
	return problems
}

func documents(t *testing.T, data []byte) []any {
	t.Helper()
	var out []any
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc any
		if decoder.Decode(&doc) != nil {
			return out
		}
		if doc != nil {
			out = append(out, doc)
		}
	}
}

func TestPolicySchemaAcceptsWhatTheLoaderAccepts(t *testing.T) {
	files, err := filepath.Glob(examples + "/*.yaml")
	if err != nil || len(files) < 12 {
		t.Fatalf("%d starter policies, %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, doc := range documents(t, data) {
			for _, problem := range schemaErrors(t, jsonschema.Policy, doc) {
				t.Errorf("%s: %s", file, problem)
			}
		}
	}
}

func TestPolicySchemaRefusesWhatTheLoaderRefusesForItsForm(t *testing.T) {
	for _, c := range []struct{ old, with string }{
		{`"greater_than"`, `"bigger"`}, {"credential_age", "credential_rage"}, {"description:", "desciption:"}, {`"high"`, `"hihg"`},
		{`"vault"`, `"vualt"`}, {"policy_id", "id"}, {`"ephemeral-agent-token"`, `"Two Words"`},
		{"action:", "enforcement: {mode: kill}\naction:"}, {"action:", "enforcement: {grace: soon}\naction:"},
		{"action:", "match: some\naction:"}, {"action:", "applies_to: {owner: x}\naction:"},
	} {
		text := strings.Replace(example, c.old, c.with, 1)
		if _, err := ParsePolicies("p.yaml", []byte(text)); err == nil {
			t.Errorf("%s: the loader accepts it", c.with)
		}
		if docs := documents(t, []byte(text)); len(docs) != 1 || len(schemaErrors(t, jsonschema.Policy, docs[0])) == 0 {
			t.Errorf("%s: the schema accepts it", c.with)
		}
	}
}

func TestPolicySchemaNamesTheMetricsConditionsAndSourcesOfTheLoader(t *testing.T) {
	var schema struct {
		Properties struct {
			Metrics struct {
				Items struct {
					Properties struct {
						Name, Condition, Source struct{ Enum []string }
					}
				}
			}
		}
	}
	if err := json.Unmarshal(jsonschema.Policy, &schema); err != nil {
		t.Fatal(err)
	}
	p := schema.Properties.Metrics.Items.Properties
	if got := strings.Join(p.Name.Enum, " "); got != strings.Join(metricNames[:], " ") {
		t.Errorf("metrics %s", got)
	}
	if got := strings.Join(p.Condition.Enum, " "); got != strings.Join(conditionNames[:], " ") {
		t.Errorf("conditions %s", got)
	}
	for _, source := range p.Source.Enum {
		if _, ok := sourcesOf(source); !ok {
			t.Errorf("source %s is unknown to the loader", source)
		}
	}
}

func TestCatalogSchemaAcceptsTheExampleAndRefusesMistakes(t *testing.T) {
	data, err := os.ReadFile("../examples/catalog.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if problems := schemaErrors(t, jsonschema.Catalog, documents(t, data)[0]); len(problems) > 0 {
		t.Errorf("%v", problems)
	}
	for _, c := range []struct{ old, with string }{
		{"vault_role:", "vault_rolle:"}, {`"arn:`, `"urn:`}, {"per_hour: 120", "per_hour: 0"}, {"protected: true", `protected: "yes"`},
		{`owner: "payments"`, `team: "payments"`}, {"agents:", "agent:"},
	} {
		text := strings.Replace(string(data), c.old, c.with, 1)
		if len(schemaErrors(t, jsonschema.Catalog, documents(t, []byte(text))[0])) == 0 {
			t.Errorf("%s: the schema accepts it", c.with)
		}
	}
}

// The README shows every key there is; what it shows must load.
func TestReferenceInTheReadmeLoads(t *testing.T) {
	data, err := os.ReadFile(examples + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "```yaml\n")
	text, _, _ := strings.Cut(rest, "```")
	policies, err := ParsePolicies("README.md", []byte(strings.Replace(text, `revoke_untold: "..."`, `revoke_untold: "in three words"`, 1)))
	if err != nil || len(policies) != 1 {
		t.Fatal(err)
	}
	for _, m := range metricNames {
		if !strings.Contains(string(data), m) {
			t.Errorf("metric %s is not explained", m)
		}
	}
}
