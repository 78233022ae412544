package policy

import (
	"strings"
	"testing"
)

func TestAStatementIsReadAsItIs(t *testing.T) {
	rules, err := Parse([]byte("\xef\xbb\xbf" + ` {"Version": "2012-10-17", "Id": "x", "Statement": [
		{"Sid": "a", "Effect": "Allow", "Action": "s3:*", "Resource": ["r1", "r2"], "Condition": {"Bool": {"a": "b"}}},
		{"Effect": "Deny", "NotAction": ["iam:*"], "NotResource": "r3", "Condition": {}},
		{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole", "Condition": null}]} `))
	if err != nil {
		t.Fatal(err)
	}
	if r := rules[0]; r.Deny || !r.Conditional || len(r.Actions) != 1 || len(r.Resources) != 2 {
		t.Errorf("%v", r)
	}
	if r := rules[1]; !r.Deny || r.Conditional || len(r.NotActions) != 1 || r.NotResources[0] != "r3" {
		t.Errorf("%v: an empty condition is none", r)
	}
	if r := rules[2]; r.Conditional || r.Resources != nil {
		t.Errorf("%v: a statement of a trust policy names no resource", r)
	}
}

func TestOneStatementNeedsNoList(t *testing.T) {
	rules, err := Parse([]byte(`{"Statement": {"Effect": "Allow", "Action": "a:b", "Resource": "*"}}`))
	if err != nil || len(rules) != 1 {
		t.Fatal(rules, err)
	}
	if rules, err = Parse([]byte(`{"Statement": []}`)); err != nil || len(rules) != 0 {
		t.Fatal(rules, err)
	}
}

func TestBadDocumentsAreRefusedAndNotQuoted(t *testing.T) {
	statement := func(text string) string { return `{"Statement": [` + text + `]}` }
	for name, text := range map[string]string{
		"empty": "", "list": "[]", "text": `"canary"`, "null": "null", "NUL": "\x00", "cut": `{"Statement":`, "cut in a text": `{"Statement": [{"Effect": "All`,
		"no statement": `{"Version": "2012-10-17"}`, "statement is a text": `{"Statement": "canary"}`, "statement is null": `{"Statement": null}`,
		"more after it": `{"Statement": []} {}`, "an element that is none": `{"Statement": [], "canary": 1}`, "an element twice": `{"Statement": [], "Statement": []}`,
		"lower case":             statement(`{"effect": "Allow", "Action": "a:b", "Resource": "*"}`),
		"no effect":              statement(`{"Action": "a:b", "Resource": "*"}`),
		"another effect":         statement(`{"Effect": "canary", "Action": "a:b", "Resource": "*"}`),
		"effect in lower case":   statement(`{"Effect": "allow", "Action": "a:b", "Resource": "*"}`),
		"effect is a list":       statement(`{"Effect": ["Allow"], "Action": "a:b", "Resource": "*"}`),
		"no action":              statement(`{"Effect": "Allow", "Resource": "*"}`),
		"no actions in a list":   statement(`{"Effect": "Allow", "Action": [], "Resource": "*"}`),
		"both kinds of action":   statement(`{"Effect": "Allow", "Action": "a:b", "NotAction": "a:c", "Resource": "*"}`),
		"action is a number":     statement(`{"Effect": "Allow", "Action": 1, "Resource": "*"}`),
		"action is null":         statement(`{"Effect": "Allow", "Action": null, "Resource": "*"}`),
		"a null among actions":   statement(`{"Effect": "Allow", "Action": ["a:b", null], "Resource": "*"}`),
		"an empty action":        statement(`{"Effect": "Allow", "Action": " ", "Resource": "*"}`),
		"both kinds of resource": statement(`{"Effect": "Allow", "Action": "a:b", "Resource": "*", "NotResource": "canary"}`),
		"condition is a text":    statement(`{"Effect": "Allow", "Action": "a:b", "Resource": "*", "Condition": "canary"}`),
		"a misspelt condition":   statement(`{"Effect": "Allow", "Action": "a:b", "Resource": "*", "Conditions": {"canary": {}}}`),
		"a condition twice":      statement(`{"Effect": "Allow", "Action": "a:b", "Resource": "*", "Condition": {"Bool": {}}, "Condition": {}}`),
		"a long action":          statement(`{"Effect": "Allow", "Action": "canary:` + strings.Repeat("*", maxAction) + `", "Resource": "*"}`),
		"a statement in a list":  statement(`[]`),
		"deep":                   strings.Repeat(`{"Statement":`, 20_000),
		"long":                   `{"Statement": []` + strings.Repeat(" ", MaxBytes) + `}`,
	} {
		rules, err := Parse([]byte(text))
		if err == nil {
			t.Errorf("%s: taken as %v", name, rules)
		} else if strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: the error quotes the document: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"Statement": {"Effect": "Allow", "NotAction": ["a:b"], "Resource": "*", "Condition": {"x": {}}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		rules, err := Parse(text)
		if err != nil {
			return
		}
		for _, rule := range rules {
			if (len(rule.Actions) == 0) == (len(rule.NotActions) == 0) {
				t.Fatalf("%v: a rule speaks of actions in one of two ways", rule)
			}
		}
	})
}
