package gate

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/leastwise/leastwise/internal/daemon"
	schema "github.com/leastwise/leastwise/schemas/jsonschema"
)

const top = "../../../"

// fromFile makes the gate that the example configuration describes.
func fromFile(t *testing.T, path string) *Gate {
	t.Helper()
	var cfg struct {
		daemon.Common `yaml:",inline"`
		Gate          Config `yaml:"gate"`
		Catalog       struct {
			Path string `yaml:"path"`
		} `yaml:"catalog"`
	}
	if err := daemon.Load(path, &cfg); err != nil {
		t.Fatal(err)
	}
	opts := Options{Config: cfg.Gate, Catalog: LoadCatalog(top + cfg.Catalog.Path), Now: func() time.Time { return now }}
	if err := opts.Catalog.Problem(); err != nil {
		t.Fatal(err)
	}
	x, err := LoadExceptions(top + cfg.Gate.Exceptions)
	if err != nil || len(x.InForce()) == 0 {
		t.Fatalf("%v", err)
	}
	opts.Exceptions = x.InForce
	return New(opts)
}

func TestExamplesAreJudgedAsTheySay(t *testing.T) {
	g := fromFile(t, top+"examples/gate/leastwise.yaml")
	for file, says := range map[string]string{"ingest.yaml": "", "other-deployer.yaml": "", "mislabelled.yaml": "mislabelled"} {
		report, err := g.Check(context.Background(), []string{top + "examples/gate/" + file}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		_ = report.Text(&out)
		if report.Allowed != (says == "") || !strings.Contains(out.String(), says) {
			t.Errorf("%s\n%s", file, out.String())
		}
		if file == "ingest.yaml" && (len(report.Workloads) != 2 || len(report.Workloads[1].Identities) != 6) {
			t.Errorf("%s", out.String())
		}
	}
}

func TestExampleCatalogFitsItsSchema(t *testing.T) {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema.Catalog))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("catalog.json", document); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("catalog.json")
	if err != nil {
		t.Fatal(err)
	}
	for text, good := range map[string]bool{testCatalog: true, string(read(t, "examples/catalog.yaml")): true,
		"owners: [{id: o}]\nagents: [{id: a, owner: o, match: [{kubernetes_service_account: {name: a}}]}]\n":       false,
		"owners: [{id: o}]\nagents: [{id: a, owner: o, match: [{gcp_service_account: me@example.org}]}]\n":         false,
		"owners: [{id: o}]\nagents: [{id: a, owner: o, match: [{kubernetes_account: {namespace: a, name: b}}]}]\n": false} {
		var value any
		if err := yaml.Unmarshal([]byte(text), &value); err != nil {
			t.Fatal(err)
		}
		if err := compiled.Validate(value); (err == nil) != good {
			t.Errorf("%v\n%s", err, text)
		}
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(top, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// What is deployed has to fit what is built: path, port, times, names of files, and the configuration within.
func TestDeploymentFitsTheServer(t *testing.T) {
	var hook struct {
		Webhooks []struct {
			AdmissionReviewVersions []string `yaml:"admissionReviewVersions"`
			SideEffects             string   `yaml:"sideEffects"`
			FailurePolicy           string   `yaml:"failurePolicy"`
			TimeoutSeconds          int      `yaml:"timeoutSeconds"`
			ClientConfig            struct {
				Service struct{ Path string } `yaml:"service"`
			} `yaml:"clientConfig"`
		} `yaml:"webhooks"`
	}
	if err := yaml.Unmarshal(read(t, "deploy/kubernetes/webhook.yaml"), &hook); err != nil || len(hook.Webhooks) != 1 {
		t.Fatalf("%v", err)
	}
	w := hook.Webhooks[0]
	if w.AdmissionReviewVersions[0] != strings.TrimPrefix(reviewVersion, "admission.k8s.io/") || w.SideEffects != "None" ||
		time.Duration(w.TimeoutSeconds)*time.Second <= reviewTime || w.ClientConfig.Service.Path != "/validate" {
		t.Errorf("%+v", w)
	}
	nodes, err := documents("gate.yaml", read(t, "deploy/kubernetes/gate.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, n := range nodes {
		if value(n, "kind").Value != "ConfigMap" {
			continue
		}
		data := child(n, "data")
		config := writeFile(t, dir, "leastwise.yaml", value(data, "leastwise.yaml").Value)
		var cfg struct {
			daemon.Common `yaml:",inline"`
			Gate          Config `yaml:"gate"`
			Catalog       struct {
				Path string `yaml:"path"`
			} `yaml:"catalog"`
		}
		if err := daemon.Load(config, &cfg); err != nil {
			t.Fatal(err)
		}
		if (cfg.Gate.Fail == FailOpen) != (w.FailurePolicy == "Ignore") {
			t.Errorf("fail: %s beside failurePolicy: %s", cfg.Gate.Fail, w.FailurePolicy)
		}
		catalog := LoadCatalog(writeFile(t, dir, filepath.Base(cfg.Catalog.Path), value(data, filepath.Base(cfg.Catalog.Path)).Value))
		if err := catalog.Problem(); err != nil {
			t.Error(err)
		}
		return
	}
	t.Error("no ConfigMap")
}
