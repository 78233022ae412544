package rightsize

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/processor/scope"
	"github.com/leastwise/leastwise/processor/scope/gcp"
)

// Artifact is a proposal in the issuer's own language.
type Artifact struct {
	// Kind: vault-policy, iam-policy, gcp-bindings, oauth-scopes, permissions.
	Kind string `json:"kind"`
	Text string `json:"text"`
	// Apply is how to put it in force, for a reader.
	Apply string `json:"apply"`
	// Loses says what the language can not express: what is granted beyond the proposal.
	Loses string `json:"loses,omitempty"`
}

// maxIAM is the longest managed policy of AWS, without white space
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html).
const maxIAM = 6144

// Artifact writes the proposal. name is that of the policy or role to be.
func (p *Proposal) Artifact(name string) Artifact {
	switch p.System {
	case "vault":
		return vaultPolicy(name, p.Rules)
	case "cloudtrail":
		return iamPolicy(name, p.Rules)
	case "gcpaudit":
		return gcpBindings(p.Rules)
	case "jwtregistry":
		return oauthScopes(p.Rules)
	}
	var permissions []string
	for _, rule := range p.Rules {
		permissions = append(permissions, rule.Capabilities...)
	}
	slices.Sort(permissions)
	return Artifact{Kind: "permissions", Text: strings.Join(slices.Compact(permissions), "\n") + "\n",
		Apply: "ask for no more than these scopes when the credential is issued"}
}

// vaultPolicy is HCL (https://developer.hashicorp.com/vault/docs/concepts/policies#policy-syntax).
func vaultPolicy(name string, rules []scope.Rule) Artifact {
	var b strings.Builder
	for _, rule := range rules {
		capabilities := make([]string, len(rule.Capabilities))
		for i, c := range rule.Capabilities {
			capabilities[i] = fmt.Sprintf("%q", c)
		}
		fmt.Fprintf(&b, "path %q { capabilities = [%s] }\n", rule.Resource, strings.Join(capabilities, ", "))
	}
	return Artifact{Kind: "vault-policy", Text: b.String(), Apply: "vault policy write " + name + " FILE"}
}

type statement struct {
	Effect   string
	Action   []string
	Resource []string
}

// iamPolicy is JSON (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html). Statements with the
// same actions are one.
func iamPolicy(name string, rules []scope.Rule) Artifact {
	var order []string
	statements := map[string]*statement{}
	for _, rule := range rules {
		key := strings.Join(rule.Capabilities, " ")
		if statements[key] == nil {
			statements[key] = &statement{Effect: "Allow", Action: rule.Capabilities}
			order = append(order, key)
		}
		statements[key].Resource = append(statements[key].Resource, strings.Fields(rule.Resource)...)
	}
	document := struct {
		Version   string
		Statement []*statement
	}{"2012-10-17", []*statement{}}
	for _, key := range order {
		document.Statement = append(document.Statement, statements[key])
	}
	text, _ := json.MarshalIndent(document, "", "  ") // texts and lists
	a := Artifact{Kind: "iam-policy", Text: string(text) + "\n", Apply: "aws iam put-role-policy --role-name ROLE --policy-name " + name + " --policy-document file://FILE"}
	if compact, _ := json.Marshal(document); len(compact) > maxIAM {
		a.Loses = fmt.Sprintf("it has %d characters, and a managed policy may have %d: split it, or use wildcards", len(compact), maxIAM)
	}
	return a
}

// gcpBindings names for each resource the smallest predefined role that covers what was used there.
func gcpBindings(rules []scope.Rule) Artifact {
	by := map[string][]string{}
	var order []string
	for _, rule := range rules {
		if by[rule.Resource] == nil {
			order = append(order, rule.Resource)
		}
		by[rule.Resource] = append(by[rule.Resource], rule.Capabilities...)
	}
	a := Artifact{Kind: "gcp-bindings", Apply: "gcloud … add-iam-policy-binding RESOURCE --member=MEMBER --role=ROLE, then remove the wider binding"}
	var b strings.Builder
	var loses []string
	for _, resource := range order {
		role, size := gcp.Smallest(by[resource])
		switch {
		case role == "":
			fmt.Fprintf(&b, "%s: a custom role with %s\n", resource, strings.Join(by[resource], ", "))
		default:
			fmt.Fprintf(&b, "%s: %s\n", resource, role)
			if more := size - len(by[resource]); more > 0 {
				noun := "permissions"
				if more == 1 {
					noun = "permission"
				}
				loses = append(loses, fmt.Sprintf("%s has %d %s more than were used", role, more, noun))
			}
		}
	}
	a.Text, a.Loses = b.String(), strings.Join(loses, "; ")
	return a
}
