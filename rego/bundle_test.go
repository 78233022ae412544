package rego

import (
	"context"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/tester"
)

func bundleModules(t *testing.T) (map[string]*ast.Module, *ast.SchemaSet) {
	t.Helper()
	root, err := bundleFiles("")
	if err != nil {
		t.Fatal(err)
	}
	files, err := readTree(root, "bundle", ".rego", ".json")
	if err != nil {
		t.Fatal(err)
	}
	modules, err := parseModules(files, true)
	if err != nil {
		t.Fatal(err)
	}
	schemas, err := schemaSet(files)
	if err != nil {
		t.Fatal(err)
	}
	return modules, schemas
}

func TestBundlePassesItsOwnTests(t *testing.T) {
	ctx := context.Background()
	modules, schemas := bundleModules(t)
	store := inmem.NewFromObject(map[string]any{"leastwise": map[string]any{"policies": []any{}}})
	txn, err := store.NewTransaction(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Abort(ctx, txn)
	results, err := tester.NewRunner().SetCompiler(newCompiler(schemas)).SetStore(store).RaiseBuiltinErrors(true).
		SetModules(modules).CapturePrintOutput(true).RunTests(ctx, txn)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for r := range results {
		n++
		if !r.Pass() {
			t.Errorf("%s: %s", r.Location, r)
		}
	}
	if n < 20 {
		t.Errorf("%d tests ran; the bundle has more", n)
	}
}

func TestEveryBundlePackageSaysWhatItIs(t *testing.T) {
	modules, _ := bundleModules(t)
	for name, module := range modules {
		if isTest(name) {
			continue
		}
		described := false
		for _, a := range module.Annotations {
			described = described || a.Scope == "package" && a.Title != "" && a.Description != ""
		}
		if !described {
			t.Errorf("%s: no METADATA with title and description for the package", name)
		}
	}
}

// The schemas are of use only if a rule that misspells a field of its input does not compile.
func TestSchemasCatchAMisspelledField(t *testing.T) {
	modules, schemas := bundleModules(t)
	bad, err := ast.ParseModuleWithOpts("bad.rego", `# METADATA
# schemas:
#   - input: schema.decision_input
package leastwise.bad

x := input.valeus.credential_age
`, ast.ParserOptions{RegoVersion: ast.RegoV1, ProcessAnnotation: true})
	if err != nil {
		t.Fatal(err)
	}
	modules["bad.rego"] = bad
	if _, err := compile(modules, schemas); err == nil {
		t.Fatal("compiled a rule that reads input.valeus")
	}
}

func TestEmbeddedBundleCanBeWrittenOutAndUsedAsOverride(t *testing.T) {
	dir := t.TempDir()
	if err := WriteBundle(dir); err != nil {
		t.Fatal(err)
	}
	own, err := New(context.Background(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	other, err := New(context.Background(), Options{BundleDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if own.Current().Revision() != other.Current().Revision() {
		t.Error("the same bundle from disk has another revision")
	}
}
