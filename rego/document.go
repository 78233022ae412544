package rego

import (
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
)

// words are those that input and answer are made of, as terms: made once, and not for each decision.
var words = func() map[string]*ast.Term {
	terms := map[string]*ast.Term{}
	for _, list := range [][]string{
		metricNames[:], conditionNames[:], modeNames,
		{"subject", "values", "policies", "credential", "type", "source", "principal", "agent", "owner", "labels", ""},
		{"policy_id", "needed", "conditions", "applies_to", "enforcement", "mode", "grace_ms", "remind_ms", "asks",
			"revoke", "reissue", "requires_approval", "tell_first"},
		{"violations", "ladder", "reason", "metrics", "stance"},
	} {
		for _, word := range list {
			terms[word] = ast.StringTerm(word)
		}
	}
	return terms
}()

// word gives the term of a text that is likely one of the words.
func word(text string) *ast.Term {
	if t, ok := words[text]; ok {
		return t
	}
	return ast.StringTerm(text)
}

// document reads an object of OPA's answer without turning all of it into Go values first.
type document struct{ object ast.Object }

func documentOf(t *ast.Term) (document, error) {
	if t == nil {
		return document{}, fmt.Errorf("missing; expected an object")
	}
	object, ok := t.Value.(ast.Object)
	if !ok {
		return document{}, fmt.Errorf("%s; expected an object", ast.ValueName(t.Value))
	}
	return document{object}, nil
}

func (d document) get(key string) *ast.Term { return d.object.Get(word(key)) }

func (d document) text(key string) string {
	if t := d.get(key); t != nil {
		if s, ok := t.Value.(ast.String); ok {
			return string(s)
		}
	}
	return ""
}

// shown is a text, or any other value as JSON.
func (d document) shown(key string) string {
	t := d.get(key)
	if t == nil {
		return ""
	}
	if s, ok := t.Value.(ast.String); ok {
		return string(s)
	}
	return t.Value.String()
}

func (d document) number(key string) float64 { return numberOf(d.get(key)) }

func numberOf(t *ast.Term) float64 {
	if t != nil {
		if n, ok := t.Value.(ast.Number); ok {
			if f, ok := n.Float64(); ok {
				return f
			}
		}
	}
	return 0
}

func (d document) truth(key string) bool {
	if t := d.get(key); t != nil {
		b, ok := t.Value.(ast.Boolean)
		return ok && bool(b)
	}
	return false
}

func (sub *Subject) term() *ast.Term {
	pairs := make([][2]*ast.Term, 0, 8)
	for _, f := range [...]struct{ key, value string }{
		{"credential", sub.Credential}, {"type", sub.Type}, {"source", sub.Source}, {"principal", sub.Principal},
		{"agent", sub.Agent}, {"owner", sub.Owner},
	} {
		pairs = append(pairs, pair(f.key, word(f.value)))
	}
	labels := make([][2]*ast.Term, 0, len(sub.Labels))
	for name, value := range sub.Labels {
		labels = append(labels, ast.Item(ast.StringTerm(name), ast.StringTerm(value)))
	}
	return ast.ObjectTerm(append(pairs, pair("labels", ast.ObjectTerm(labels...)), pair("policies", texts(sub.Policies)))...)
}

func (v *Values) term() *ast.Term {
	pairs := make([][2]*ast.Term, 0, NumMetrics)
	for m := range NumMetrics {
		if value, known := v.Get(m); known {
			pairs = append(pairs, pair(m.String(), number(value)))
		}
	}
	return ast.ObjectTerm(pairs...)
}

func termArray(t *ast.Term) (*ast.Array, bool) {
	if t == nil {
		return nil, false
	}
	array, ok := t.Value.(*ast.Array)
	return array, ok
}

func contains(array *ast.Array, text string) bool {
	for i := range array.Len() {
		if s, ok := array.Elem(i).Value.(ast.String); ok && string(s) == text {
			return true
		}
	}
	return false
}
