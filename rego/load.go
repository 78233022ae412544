package rego

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	oparego "github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"

	"github.com/leastwise/leastwise/rego/filewatch"
	"github.com/leastwise/leastwise/rego/strictyaml"
)

// snapshot is what the directories held at one moment, in memory: a set is made from it and from nothing else, so that a
// file changed halfway through loading can not give half a set.
type snapshot struct {
	bundle, policies []file
	overridden       bool
}

func takeSnapshot(opts Options) (snapshot, error) {
	s := snapshot{overridden: opts.BundleDir != ""}
	root, err := bundleFiles(opts.BundleDir)
	if err != nil {
		return s, err
	}
	if s.bundle, err = readTree(root, opts.BundleDir, ".rego", ".json"); err != nil {
		return s, fmt.Errorf("read bundle: %w", err)
	}
	if opts.PolicyDir == "" {
		return s, nil
	}
	info, err := os.Stat(opts.PolicyDir)
	if err != nil {
		return s, fmt.Errorf("policies: %w", err)
	}
	if !info.IsDir() {
		return s, fmt.Errorf("policies %s: is a file; expected a directory of .yaml files", opts.PolicyDir)
	}
	if s.policies, err = readTree(os.DirFS(opts.PolicyDir), opts.PolicyDir, ".yaml", ".yml", ".rego"); err != nil {
		return s, fmt.Errorf("read policies: %w", err)
	}
	return s, nil
}

// resting says whether all files may be taken for completely written.
func (s *snapshot) resting() bool {
	return !slices.ContainsFunc(slices.Concat(s.bundle, s.policies), func(f file) bool { return !filewatch.Resting(f.modified) })
}

// hash tells whether two snapshots hold the same.
func (s *snapshot) hash() [sha256.Size]byte {
	h := sha256.New()
	for _, files := range [][]file{s.bundle, s.policies} {
		_ = binary.Write(h, binary.BigEndian, uint64(len(files)))
		for _, f := range files {
			_ = binary.Write(h, binary.BigEndian, [2]uint64{uint64(len(f.name)), uint64(len(f.data))})
			h.Write([]byte(f.name))
			h.Write(f.data)
		}
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// build makes a set of a snapshot: all of it, or an error that names every problem.
func (s *snapshot) build(ctx context.Context) (*Set, error) {
	var problems []error
	set := &Set{indexes: map[string]*Index{}, overridden: s.overridden}
	var rego []file
	written := map[string]*Policy{}
	for _, f := range s.policies {
		if strings.HasSuffix(f.name, ".rego") {
			rego = append(rego, f)
			continue
		}
		policies, err := ParsePolicies(f.name, f.data)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		for i := range policies {
			p := &policies[i]
			if other := written[p.ID]; other != nil {
				problems = append(problems, &strictyaml.Error{File: p.File, Line: p.Line, Key: "policy_id",
					Text: fmt.Sprintf("%q is also at %s:%d; expected each id once", p.ID, other.File, other.Line)})
				continue
			}
			written[p.ID] = p
			set.policies = append(set.policies, *p)
		}
	}
	slices.SortFunc(set.policies, func(a, b Policy) int { return strings.Compare(a.ID, b.ID) })
	custom, err := parseModules(rego, false)
	if err != nil {
		problems = append(problems, err)
	} else if set.custom, err = customPolicies(custom); err != nil {
		problems = append(problems, err)
	}
	modules, err := parseModules(s.bundle, false)
	if err != nil {
		problems = append(problems, err)
	}
	schemas, err := schemaSet(s.bundle)
	if err != nil {
		problems = append(problems, err)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	for name, module := range custom {
		modules[name] = module
	}
	if set.compiler, err = compile(modules, schemas); err != nil {
		return nil, err
	}
	set.texts = textsOf(s.bundle, rego)
	set.revision = set.hash(s, rego)
	return set, set.prepare(ctx)
}

// hash is over what the policies mean, not how they are laid out: a comment changed in YAML changes no revision.
func (s *Set) hash(snap *snapshot, custom []file) string {
	h := sha256.New()
	part := func(data string) {
		_ = binary.Write(h, binary.BigEndian, uint64(len(data)))
		h.Write([]byte(data))
	}
	for i := range s.policies {
		p := &s.policies[i]
		part(policyValue(p, p.thresholds()).String())
		for _, a := range p.Actions {
			part(a.Severity)
			part(a.Channel)
			part(a.Hint)
		}
		for _, t := range p.Metrics {
			part(t.Source + " " + t.Text)
		}
		part(p.Enforcement.RevokeUntold)
		part(fmt.Sprint(p.Exception.MaxDuration, p.Exception.Approvers))
	}
	for _, files := range [][]file{custom, snap.bundle} {
		part(fmt.Sprint(len(files)))
		for _, f := range files {
			if !isTest(f.name) {
				part(string(f.data))
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

func (p *Policy) thresholds() []*Threshold {
	out := make([]*Threshold, 0, len(p.Metrics))
	for i := range p.Metrics {
		out = append(out, &p.Metrics[i])
	}
	return out
}

// prepare compiles the queries and loads the policies as data.leastwise.policies.
func (s *Set) prepare(ctx context.Context) error {
	terms := make([]*ast.Term, 0, len(s.policies))
	for i := range s.policies {
		terms = append(terms, ast.NewTerm(policyValue(&s.policies[i], s.policies[i].thresholds())))
	}
	var err error
	if s.data, err = ast.JSON(ast.NewArray(terms...)); err != nil {
		return fmt.Errorf("policies as data: %w", err)
	}
	store := inmem.NewFromObjectWithOpts(map[string]any{"leastwise": map[string]any{"policies": s.data}},
		inmem.OptReturnASTValuesOnRead(true), inmem.OptRoundTripOnWrite(false))
	// One read transaction for the life of the set: nobody ever writes to this store.
	if s.txn, err = store.NewTransaction(ctx, storage.TransactionParams{}); err != nil {
		return fmt.Errorf("open policies: %w", err)
	}
	for _, q := range []struct {
		text string
		into *oparego.PreparedEvalQuery
	}{{"data.leastwise.decision.decision", &s.decide}, {"data.leastwise.admission.admission", &s.admit}} {
		if len(s.compiler.GetRulesExact(ast.MustParseRef(q.text))) == 0 {
			return fmt.Errorf("bundle: no rule %s; expected one, as in the embedded bundle", q.text)
		}
		*q.into, err = oparego.New(oparego.Query(q.text), oparego.Compiler(s.compiler), oparego.Store(store),
			oparego.Transaction(s.txn), oparego.StrictBuiltinErrors(true)).PrepareForEval(ctx)
		if err != nil {
			return fmt.Errorf("prepare %s: %w", q.text, errors.Join(regoErrors("bundle", err)...))
		}
	}
	return nil
}
