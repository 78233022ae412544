package vault

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl"
	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

const maxPolicyBytes = 1 << 20

// capabilities that a rule may name. The legacy "policy" key stands for sets of them.
var (
	capabilities = []string{"create", "delete", "deny", "list", "patch", "read", "recover", "subscribe", "sudo", "update"}
	legacy       = map[string][]string{
		"deny":  {"deny"},
		"read":  {"read", "list"},
		"write": {"create", "read", "update", "delete", "list"},
		"sudo":  {"create", "read", "update", "delete", "list", "sudo"},
	}
)

// rootRules are what the built-in policy root means; it has no text.
func rootRules() []*leastwisev1.Rule {
	return []*leastwisev1.Rule{{Resource: "*", Capabilities: []string{"create", "delete", "list", "patch", "read", "subscribe", "sudo", "update"}}}
}

// ParsePolicy reads an ACL policy with Vault's own grammar: HCL or JSON, capabilities and the legacy policy key.
//
// Rules are sorted by path; several of one path are merged as Vault merges them, where deny takes all. incomplete says
// in one sentence what the rules do not show: templated paths, whose meaning depends on the caller; constraints on
// parameters, wrapping, MFA or control groups, which make a rule narrower than it looks; capabilities not known here.
func ParsePolicy(text string) (rules []*leastwisev1.Rule, incomplete string, err error) {
	if len(text) > maxPolicyBytes {
		return nil, "", fmt.Errorf("the policy has %d bytes, more than %d", len(text), maxPolicyBytes)
	}
	defer func() {
		// The HCL 1 parser is known to panic on some broken texts.
		if recover() != nil {
			rules, incomplete, err = nil, "", errors.New("the policy is not valid HCL")
		}
	}()
	root, err := hcl.Parse(text)
	if err != nil {
		return nil, "", errors.New("the policy is not valid HCL") // the parser's message quotes the policy
	}
	list, ok := root.Node.(*ast.ObjectList)
	if !ok {
		return nil, "", errors.New("the policy has no root object")
	}
	byPath := map[string][]string{}
	notes := map[string]bool{}
	for _, item := range list.Filter("path").Items {
		if len(item.Keys) == 0 {
			return nil, "", errors.New("a path rule names no path")
		}
		path, ok := item.Keys[0].Token.Value().(string)
		if !ok {
			return nil, "", errors.New("a path rule's path is no text")
		}
		granted, err := pathRule(item, path, notes)
		if err != nil {
			return nil, "", err
		}
		path = strings.TrimPrefix(path, "/")
		byPath[path] = append(byPath[path], granted...)
	}
	for path, granted := range byPath {
		slices.Sort(granted)
		if granted = slices.Compact(granted); slices.Contains(granted, "deny") {
			granted = []string{"deny"}
		}
		rules = append(rules, &leastwisev1.Rule{Resource: path, Capabilities: granted})
	}
	slices.SortFunc(rules, func(a, b *leastwisev1.Rule) int { return strings.Compare(a.Resource, b.Resource) })
	var all []string
	for note := range notes {
		all = append(all, note)
	}
	slices.Sort(all)
	return rules, strings.Join(all, "; "), nil
}

// pathRule reads one path block.
func pathRule(item *ast.ObjectItem, path string, notes map[string]bool) ([]string, error) {
	if strings.Contains(path, "+*") {
		return nil, errors.New("a path holds +*, which Vault refuses")
	}
	if strings.Contains(path, "{{") {
		notes["a path is templated and depends on who calls"] = true
	}
	var body struct {
		Policy       string   `hcl:"policy"`
		Capabilities []string `hcl:"capabilities"`
	}
	if err := hcl.DecodeObject(&body, item.Val); err != nil {
		return nil, errors.New("a path rule can not be read")
	}
	if object, ok := item.Val.(*ast.ObjectType); ok {
		for _, field := range object.List.Items {
			if len(field.Keys) == 0 {
				continue
			}
			switch key, _ := field.Keys[0].Token.Value().(string); key {
			case "allowed_parameters", "denied_parameters", "required_parameters", "min_wrapping_ttl", "max_wrapping_ttl",
				"mfa_methods", "control_group", "subscribe_event_types":
				notes["a path has constraints ("+key+") that rules do not show"] = true
			}
		}
	}
	granted := body.Capabilities
	if body.Policy != "" {
		set, ok := legacy[body.Policy]
		if !ok {
			return nil, errors.New("a path rule has a policy that is none of deny, read, write, sudo")
		}
		granted = append(slices.Clone(granted), set...)
	}
	var known []string
	for _, capability := range granted {
		if !slices.Contains(capabilities, capability) {
			notes["a path grants a capability that is not known here"] = true
			continue
		}
		known = append(known, capability)
	}
	return known, nil
}
