package rego

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
)

// customPolicy is a package leastwise.custom.<name> of free-form Rego.
type customPolicy struct {
	name     string
	askEvery time.Duration
}

// minAskEvery keeps a policy from being asked for every credential at every tick.
const minAskEvery = 100 * time.Millisecond

// customPolicies checks what users wrote in Rego: the package must be leastwise.custom.<name>, it must define
// violations, and it must say in its METADATA how often it wants to be asked, since it names no threshold that could
// trigger it.
func customPolicies(modules map[string]*ast.Module) ([]customPolicy, error) {
	found := map[string]customPolicy{}
	rules := map[string]bool{}
	first := map[string]*ast.Location{}
	var problems []error
	refuse := func(loc *ast.Location, format string, args ...any) {
		problems = append(problems, fmt.Errorf("%s:%d: %s", loc.File, loc.Row, fmt.Sprintf(format, args...)))
	}
	for _, file := range sortedKeys(modules) {
		module := modules[file]
		where := module.Package.Location
		name, ok := customName(module.Package.Path)
		if !ok {
			refuse(where, "package %s; expected leastwise.custom.<name>", module.Package.Path)
			continue
		}
		if first[name] == nil {
			first[name] = where
		}
		for _, rule := range module.Rules {
			if rule.Head.Ref()[0].Value.Compare(ast.Var("violations")) == 0 {
				rules[name] = true
			}
		}
		every, err := askEvery(module)
		switch {
		case err != nil:
			refuse(where, "key %q: %v", "ask_every", err)
		case every > 0:
			found[name] = customPolicy{name: name, askEvery: every}
		}
	}
	for _, name := range sortedKeys(first) {
		if _, ok := found[name]; !ok && len(problems) == 0 {
			refuse(first[name], `METADATA says no ask_every; expected "# custom: {leastwise: {ask_every: 1m}}" with scope package`)
		}
		if !rules[name] {
			refuse(first[name], "no rule violations; expected violations contains {...} if {...}")
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	out := make([]customPolicy, 0, len(found))
	for _, name := range sortedKeys(found) {
		out = append(out, found[name])
	}
	return out, nil
}

func customName(ref ast.Ref) (string, bool) {
	if len(ref) != 4 || !ref.HasPrefix(ast.MustParseRef("data.leastwise.custom")) {
		return "", false
	}
	name, ok := ref[3].Value.(ast.String)
	return string(name), ok
}

func askEvery(module *ast.Module) (time.Duration, error) {
	for _, a := range module.Annotations {
		own, ok := a.Custom["leastwise"].(map[string]any)
		if !ok {
			continue
		}
		text, ok := own["ask_every"].(string)
		if !ok {
			return 0, fmt.Errorf("%v; expected %s", own["ask_every"], duration.expected())
		}
		every, err := ParseDuration(text)
		if err != nil {
			return 0, fmt.Errorf("%q; expected %s", text, duration.expected())
		}
		if every < minAskEvery {
			return 0, fmt.Errorf("%q; expected at least %s", text, minAskEvery)
		}
		return every, nil
	}
	return 0, nil
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
