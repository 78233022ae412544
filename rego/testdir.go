package rego

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/tester"

	"github.com/leastwise/leastwise/rego/strictyaml"
)

// ErrTestsFailed says that a test of a policy directory failed; what failed is printed.
var ErrTestsFailed = errors.New("policy tests failed")

// TestDir checks a directory of policies and prints what it did: it loads and lints them, runs the tests of free-form
// Rego (*_test.rego) and the cases in tests/*.yaml. It fails with the lint's problems or with ErrTestsFailed.
//
// Rego tests belong in a package leastwise.test.<name>: in leastwise.custom the bundle would take them for policies.
//
// A case says what is known of a credential and which policies it has to violate, no more and no less:
//
//	name: "a token two hours old is told"
//	subject: {type: token, source: vault, owner: payments, policies: [ingest], labels: {role_name: ingest}}
//	values: {credential_age: "2h", permission_scope_complexity: 7, lifetime: "never"}
//	violates: [ephemeral-agent-token]
//	mode: enforce      # optional: what the ladder has to be
func TestDir(ctx context.Context, dir string, w io.Writer) error {
	engine, err := New(ctx, Options{PolicyDir: dir})
	if err != nil {
		return err
	}
	set := engine.Current()
	fmt.Fprintf(w, "%s: %d policies, %d in Rego, revision %s\n", dir, len(set.policies), len(set.custom), set.Revision())
	passed, failed, err := runRegoTests(ctx, dir, set, w)
	if err != nil {
		return err
	}
	cases, err := readCases(filepath.Join(dir, "tests"))
	if err != nil {
		return err
	}
	for i := range cases {
		c := &cases[i]
		problem, err := c.run(ctx, set)
		if err != nil {
			return fmt.Errorf("%s: %w", c.where, err)
		}
		if problem == "" {
			passed++
			continue
		}
		failed++
		fmt.Fprintf(w, "FAIL %s %s: %s\n", c.where, c.name, problem)
	}
	fmt.Fprintf(w, "%d passed, %d failed\n", passed, failed)
	if failed > 0 {
		return fmt.Errorf("%w: %d of %d in %s", ErrTestsFailed, failed, passed+failed, dir)
	}
	return nil
}

// runRegoTests runs *_test.rego of the directory against the bundle and the directory's policies.
func runRegoTests(ctx context.Context, dir string, set *Set, w io.Writer) (passed, failed int, err error) {
	files, err := readTree(os.DirFS(dir), dir, ".rego")
	if err != nil {
		return 0, 0, fmt.Errorf("read policies: %w", err)
	}
	snap, err := takeSnapshot(Options{PolicyDir: dir})
	if err != nil {
		return 0, 0, err
	}
	schemas, err := schemaSet(snap.bundle)
	if err != nil {
		return 0, 0, err
	}
	modules, err := parseModules(files, true)
	if err != nil {
		return 0, 0, err
	}
	bundle, err := parseModules(snap.bundle, false)
	if err != nil {
		return 0, 0, err
	}
	tests := false
	for name := range modules {
		tests = tests || isTest(name)
	}
	if !tests {
		return 0, 0, nil
	}
	for name, module := range bundle {
		modules[name] = module
	}
	store := inmem.NewFromObject(map[string]any{"leastwise": map[string]any{"policies": set.data}})
	runner := tester.NewRunner().SetCompiler(newCompiler(schemas)).SetStore(store).RaiseBuiltinErrors(true).
		CapturePrintOutput(true).SetModules(modules)
	txn, err := store.NewTransaction(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("run Rego tests: %w", err)
	}
	defer store.Abort(ctx, txn)
	results, err := runner.RunTests(ctx, txn)
	if err != nil {
		return 0, 0, errors.Join(regoErrors(dir, err)...)
	}
	for r := range results {
		switch {
		case r.Skip:
		case r.Pass():
			passed++
		default:
			failed++
			fmt.Fprintf(w, "FAIL %s:%d %s.%s", r.Location.File, r.Location.Row, r.Package, r.Name)
			if r.Error != nil {
				fmt.Fprintf(w, ": %v", r.Error)
			}
			fmt.Fprintln(w)
			if len(r.Output) > 0 {
				fmt.Fprintf(w, "  %s\n", strings.TrimSpace(string(r.Output)))
			}
		}
	}
	return passed, failed, nil
}

// testCase is one document of tests/*.yaml.
type testCase struct {
	name, where string
	subject     Subject
	values      Values
	violates    []string
	mode        string
}

func readCases(dir string) ([]testCase, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read test cases: %w", err)
	}
	var out []testCase
	var problems strictyaml.Problems
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if ext := filepath.Ext(name); ext != ".yaml" && ext != ".yml" {
			continue
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read test cases: %w", err)
		}
		docs, err := strictyaml.Parse(name, data)
		problems.Add(err)
		for _, doc := range docs {
			out = append(out, readCase(&problems, doc))
		}
	}
	return out, problems.Err()
}

func readCase(p *strictyaml.Problems, doc strictyaml.Node) testCase {
	c := testCase{where: fmt.Sprintf("%s:%d", doc.File(), doc.Line())}
	keys := p.Mapping(doc, "name", "subject", "values", "violates", "mode")
	if _, ok := keys["violates"]; !ok && keys != nil {
		p.Addf(doc, "violates is missing; expected a list of policy ids, [] for none")
	}
	for key, n := range keys {
		switch key {
		case "name":
			c.name = p.Text(n)
		case "subject":
			c.subject = readSubject(p, n)
		case "values":
			readValues(p, n, &c.values)
		case "violates":
			for _, item := range p.List(n) {
				c.violates = append(c.violates, p.Text(item))
			}
			slices.Sort(c.violates)
		case "mode":
			c.mode = p.OneOf(n, modeNames...)
		}
	}
	return c
}

func readSubject(p *strictyaml.Problems, n strictyaml.Node) Subject {
	var sub Subject
	texts := map[string]*string{"credential": &sub.Credential, "type": &sub.Type, "source": &sub.Source,
		"principal": &sub.Principal, "agent": &sub.Agent, "owner": &sub.Owner}
	for key, n := range p.Mapping(n, append(sortedKeys(texts), "labels", "policies")...) {
		switch key {
		case "labels":
			sub.Labels = map[string]string{}
			for label, n := range p.Mapping(n, "*") {
				sub.Labels[label] = p.Scalar(n)
			}
		case "policies":
			sub.Policies = p.Texts(n)
		default:
			*texts[key] = p.Text(n)
		}
	}
	return sub
}

func readValues(p *strictyaml.Problems, n strictyaml.Node, v *Values) {
	for name, n := range p.Mapping(n, metricNames[:]...) {
		metric, _ := ParseMetric(name)
		text := p.Scalar(n)
		if text == "never" && metric.unit() == duration {
			v.Set(metric, inf(unbounded))
			continue
		}
		value, err := parseThreshold(metric.unit(), text)
		if err != nil {
			p.Addf(n, "%q; expected %s", text, metric.unit().expected())
			continue
		}
		v.Set(metric, value)
	}
}

// run returns what is wrong, "" if nothing is.
func (c *testCase) run(ctx context.Context, set *Set) (string, error) {
	result, err := set.Evaluate(ctx, &c.subject, &c.values)
	if err != nil {
		return "", err
	}
	var got []string
	for _, v := range result.Violations {
		got = append(got, v.PolicyId)
	}
	slices.Sort(got)
	got = slices.Compact(got)
	if !slices.Equal(got, c.violates) {
		return fmt.Sprintf("violates %v; expected %v", got, c.violates), nil
	}
	if mode := Mode(result.Ladder.Mode).String(); c.mode != "" && mode != c.mode {
		return fmt.Sprintf("mode %s; expected %s", mode, c.mode), nil
	}
	return "", nil
}
