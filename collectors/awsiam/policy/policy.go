// Package policy reads AWS IAM policy documents.
//
// It takes what IAM takes (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html) and refuses
// the rest, because a statement that is read otherwise than IAM reads it would be a wrong answer about what is granted.
// Errors name the statement and the element, never a value: policies hold account ids and names of resources.
package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// MaxBytes is the longest document that is read, and maxAction the longest pattern of an action; AWS's own limits are
// below (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html).
const (
	MaxBytes  = 128 << 10
	maxAction = 512
)

// Parse gives the statements of a document. Statement may be one object or a list, which may be empty.
func Parse(document []byte) ([]*leastwisev1.Rule, error) { return parse(document, parseStatement) }

func parse(document []byte, statementOf func([]byte) (*leastwisev1.Rule, error)) ([]*leastwisev1.Rule, error) {
	if len(document) > MaxBytes {
		return nil, fmt.Errorf("the document has %d bytes, more than %d", len(document), MaxBytes)
	}
	fields, err := object(document)
	if err != nil {
		return nil, fmt.Errorf("the document %w", err)
	}
	for name := range fields {
		if name != "Version" && name != "Id" && name != "Statement" {
			return nil, fmt.Errorf("the document has an element that IAM does not know beside Version, Id and Statement")
		}
	}
	statement, ok := fields["Statement"]
	if !ok {
		return nil, errors.New("the document has no Statement")
	}
	statements := []json.RawMessage{statement}
	if statement[0] == '[' {
		if err := json.Unmarshal(statement, &statements); err != nil {
			return nil, errors.New("Statement is neither an object nor a list of objects")
		}
	}
	rules := make([]*leastwisev1.Rule, len(statements))
	for i, text := range statements {
		if rules[i], err = statementOf(text); err != nil {
			return nil, fmt.Errorf("statement %d: %w", i+1, err)
		}
	}
	return rules, nil
}

func parseStatement(text []byte) (*leastwisev1.Rule, error) {
	fields, err := object(text)
	if err != nil {
		return nil, err
	}
	rule := &leastwisev1.Rule{}
	var effect string
	lists := map[string]*[]string{"Action": &rule.Actions, "NotAction": &rule.NotActions,
		"Resource": &rule.Resources, "NotResource": &rule.NotResources}
	for name, value := range fields {
		switch name {
		case "Effect":
			if err := json.Unmarshal(value, &effect); err != nil {
				return nil, errors.New("Effect is no text")
			}
		case "Action", "NotAction", "Resource", "NotResource":
			if *lists[name], err = texts(value); err != nil {
				return nil, fmt.Errorf("%s %w", name, err)
			}
		case "Condition":
			if rule.Conditional, err = condition(value); err != nil {
				return nil, err
			}
		case "Sid", "Principal", "NotPrincipal":
		default:
			return nil, errors.New("has an element that IAM does not know: expected Sid, Effect, Principal, NotPrincipal, Action, NotAction, Resource, NotResource, Condition")
		}
	}
	switch {
	case effect != "Allow" && effect != "Deny":
		return nil, errors.New(`Effect must be "Allow" or "Deny"`)
	case (rule.Actions == nil) == (rule.NotActions == nil):
		return nil, errors.New("exactly one of Action and NotAction is needed")
	case rule.Resources != nil && rule.NotResources != nil:
		return nil, errors.New("Resource and NotResource exclude each other")
	}
	for _, pattern := range slices.Concat(rule.Actions, rule.NotActions) {
		if len(pattern) > maxAction {
			return nil, fmt.Errorf("Action or NotAction holds a text of more than %d bytes", maxAction)
		}
	}
	rule.Deny = effect == "Deny"
	return rule, nil
}

// condition tells whether there is one: an empty one is none.
func condition(value []byte) (bool, error) {
	if string(value) == "null" {
		return false, nil
	}
	fields, err := object(value)
	if err != nil {
		return false, fmt.Errorf("Condition %w", err)
	}
	return len(fields) > 0, nil
}

// texts reads one text or a list of texts, at least one, none empty.
func texts(value []byte) ([]string, error) {
	var list []string
	if value[0] != '[' {
		list = make([]string, 1)
		if value[0] != '"' || json.Unmarshal(value, &list[0]) != nil {
			return nil, errors.New("is neither a text nor a list of texts")
		}
	} else {
		var items []any
		if err := json.Unmarshal(value, &items); err != nil {
			return nil, errors.New("is neither a text nor a list of texts")
		}
		for _, item := range items {
			text, ok := item.(string)
			if !ok {
				return nil, errors.New("is neither a text nor a list of texts")
			}
			list = append(list, text)
		}
	}
	if len(list) == 0 {
		return nil, errors.New("is an empty list")
	}
	for _, text := range list {
		if strings.TrimSpace(text) == "" {
			return nil, errors.New("holds an empty text")
		}
	}
	return list, nil
}

// object reads the fields of a JSON object that is all of text. A field given twice is refused, as by IAM: whoever reads
// the first and whoever reads the last would see two policies.
func object(text []byte) (map[string]json.RawMessage, error) {
	decoder := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))))
	if first, err := decoder.Token(); err != nil || first != json.Delim('{') {
		return nil, errors.New("is no JSON object")
	}
	fields := map[string]json.RawMessage{}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, errors.New("is no valid JSON")
		}
		key := name.(string) // a name of an object is always a text
		if _, twice := fields[key]; twice {
			return nil, errors.New("has an element twice")
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, errors.New("is no valid JSON")
		}
		fields[key] = value
	}
	if _, err := decoder.Token(); err != nil {
		return nil, errors.New("is no valid JSON")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("is followed by more text")
	}
	return fields, nil
}
