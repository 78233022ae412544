package gate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/leastwise/leastwise/cmd/leastwise/admit"
	"github.com/leastwise/leastwise/collectors/awsiam/policy"
	"github.com/leastwise/leastwise/collectors/vault"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// A Terraform plan, as `terraform show -json` writes it
// (https://developer.hashicorp.com/terraform/internals/json-format#plan-representation): resource_changes has, of each
// resource, what it will be (change.after) and what is known only once it is applied (change.after_unknown). A plan holds
// secrets in clear: only the attributes named below are read, and no value of them is ever repeated.

// isPlan tells a plan from everything else.
func isPlan(n *yaml.Node) bool {
	return value(n, "format_version") != nil && (value(n, "resource_changes") != nil || value(n, "planned_values") != nil)
}

// authRoles are the resources that give tokens of Vault at a login, and the backend that they are at by default. All have
// the same token_* attributes (https://registry.terraform.io/providers/hashicorp/vault/latest/docs/resources/approle_auth_backend_role).
var authRoles = map[string]string{"vault_approle_auth_backend_role": "approle", "vault_kubernetes_auth_backend_role": "kubernetes", "vault_jwt_auth_backend_role": "jwt"}

// awsPolicies are the resources that hold an IAM policy document.
var awsPolicies = []string{"aws_iam_policy", "aws_iam_role_policy", "aws_iam_user_policy", "aws_iam_group_policy"}

// change is one resource of a plan.
type change struct {
	*Issuance
	file           string
	line           int
	after, unknown *yaml.Node
	errs           *[]error
}

func (r *reader) plan(file string, n *yaml.Node) error {
	version := value(n, "format_version")
	if major, _, _ := strings.Cut(version.Value, "."); major != "0" && major != "1" {
		return &ManifestError{Line: version.Line, Text: "a plan of a format_version that is not known here; expected 1.x"}
	}
	changes := value(n, "resource_changes")
	if changes == nil {
		return nil // a plan that changes nothing
	}
	if changes.Kind != yaml.SequenceNode {
		return &ManifestError{Line: changes.Line, Text: describe(changes) + " as resource_changes; expected a list"}
	}
	for _, item := range changes.Content {
		c := change{Issuance: &Issuance{Where: file + ":" + strconv.Itoa(item.Line)}, file: file, line: item.Line, errs: &r.errs}
		kind, address := value(item, "type"), value(item, "address")
		if kind == nil || address == nil {
			return &ManifestError{Line: item.Line, Text: "a resource without type or address; expected what `terraform show -json` writes"}
		}
		actions := child(item, "change", "actions")
		if actions == nil || actions.Kind != yaml.SequenceNode {
			return &ManifestError{Line: item.Line, Text: "a resource without change.actions; expected what `terraform show -json` writes"}
		}
		c.Kind, c.Name = kind.Value, address.Value
		c.after, c.unknown = child(item, "change", "after"), child(item, "change", "after_unknown")
		if c.after == nil || c.after.Kind != yaml.MappingNode {
			r.others++ // it will not be there
			continue
		}
		r.planned(&c, slices.ContainsFunc(actions.Content, func(a *yaml.Node) bool { return a.Value == "create" || a.Value == "update" }))
	}
	return nil
}

// planned takes one resource. What stays as it is is not judged again, but its rules count for roles that name it.
func (r *reader) planned(c *change, changed bool) {
	judged := true
	switch {
	case c.Kind == "vault_policy":
		r.vaultPolicy(c)
	case c.Kind == "vault_token_auth_backend_role":
		r.tokenRole(c, "auth/token", "role_name", "allowed_policies")
		if globs, _ := c.texts("allowed_policies_glob"); len(globs) > 0 {
			c.asks[0].request.Scope.Incomplete = "allowed_policies_glob allows policies that nobody listed"
		}
	case authRoles[c.Kind] != "":
		backend, _ := c.text("backend")
		r.tokenRole(c, "auth/"+strings.Trim(or(backend, authRoles[c.Kind]), "/"), "role_name", "token_policies")
	case slices.Contains(awsPolicies, c.Kind):
		r.awsPolicy(c)
	case c.Kind == "aws_iam_access_key":
		// A key lives until somebody deletes it; it grants what its user may, which other resources say.
		c.asks = []ask{{decides: lives, request: &admit.Request{Type: "access_key", Source: "cloudtrail", Instance: "default", NeverExpires: true}}}
	default:
		judged = false
	}
	if judged && changed {
		r.issuances = append(r.issuances, c.Issuance)
	} else {
		r.others++
	}
}

func (r *reader) vaultPolicy(c *change) {
	request := &admit.Request{Type: "token", Source: "vault", Instance: or(r.cfg.Vault.Instance, "default"), Scope: admit.Scope{Given: true}}
	c.asks = []ask{{request: request, decides: grants}}
	name, known := c.text("name")
	text, told := c.text("policy")
	grant := &pb.Grant{Incomplete: "its rules are known only after the plan is applied"}
	if told {
		rules, incomplete, err := vault.ParsePolicy(text)
		if err != nil {
			c.bad("policy", err.Error())
			return
		}
		grant = &pb.Grant{Rules: rules, Incomplete: incomplete}
	}
	request.Scope.Vault, request.Scope.Incomplete = grant.Rules, grant.Incomplete
	if known {
		r.stored[schemas.Key{System: "vault", Instance: request.Instance, Type: "policy", ID: name}.String()] = grant
	}
}

// tokenRole takes a role by its attributes: the longest that a token of it can live, and the policies that it may hold.
func (r *reader) tokenRole(c *change, mount, nameKey, policiesKey string) {
	name, _ := c.text(nameKey)
	request := &admit.Request{Type: "token", Source: "vault", Instance: or(r.cfg.Vault.Instance, "default"),
		Labels: map[string]string{"mount_point": mount + "/", "role_name": name}, Scope: admit.Scope{Given: true}}
	decides := slices.Concat(lives, grants)
	if mount != "auth/token" { // who takes a token from a token role is somebody else each time
		decides = append(decides, owned...)
	}
	c.asks = []ask{{request: request, decides: decides}}
	policies, told := c.texts(policiesKey)
	slices.Sort(policies)
	switch {
	case !told:
		request.Scope.Incomplete = policiesKey + " is known only after the plan is applied"
	case len(policies) == 0 && mount == "auth/token":
		request.Scope.Incomplete = "no allowed_policies: a token may hold all that its creator has"
	}
	request.Scope.Policies = policies
	// https://developer.hashicorp.com/vault/docs/concepts/tokens#token-time-to-live-periodic-tokens-and-explicit-max-ttls
	period, explicit, longest := c.seconds("token_period"), c.seconds("token_explicit_max_ttl"), c.seconds("token_max_ttl")
	switch {
	case explicit > 0:
		request.Lifetime = &explicit
	case period > 0:
		request.NeverExpires = true
		c.note("a token with a period can be renewed for ever; set token_explicit_max_ttl")
	case longest > 0:
		request.Lifetime = &longest
	default:
		c.note("how long its tokens can live is not said: set token_max_ttl or token_explicit_max_ttl, or the server's own maximum (32 days unless configured) holds")
	}
}

func (r *reader) awsPolicy(c *change) {
	request := &admit.Request{Type: "access_key", Source: "cloudtrail", Instance: "default", Scope: admit.Scope{Given: true}}
	c.asks = []ask{{request: request, decides: grants}}
	text, told := c.text("policy")
	if !told {
		request.Scope.Incomplete = "its document is known only after the plan is applied"
		return
	}
	rules, err := policy.Parse([]byte(text))
	if err != nil {
		c.bad("policy", err.Error())
		return
	}
	request.Scope.AWS = rules
}

func (c *change) bad(key, text string) {
	line := c.line
	if n := value(c.after, key); n != nil {
		line = n.Line
	}
	*c.errs = append(*c.errs, &ManifestError{File: c.file, Line: line, Text: fmt.Sprintf("%s: %s: %s", shorten(c.Name), key, text)})
}

// get gives an attribute; nil if it is null or known only later.
func (c *change) get(key string) *yaml.Node {
	if u := attribute(c.unknown, key); u != nil && u.Value == "true" {
		return nil
	}
	n := value(c.after, key)
	if n == nil || n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		return nil
	}
	return n
}

func attribute(n *yaml.Node, key string) *yaml.Node {
	if n == nil {
		return nil
	}
	return value(n, key)
}

func (c *change) text(key string) (string, bool) {
	n := c.get(key)
	if n == nil {
		return "", false
	}
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
		c.bad(key, describe(n)+"; expected a text")
		return "", false
	}
	return n.Value, true
}

// texts gives a list; told is false if it, or one of it, is known only later.
func (c *change) texts(key string) (out []string, told bool) {
	if u := attribute(c.unknown, key); u != nil && (u.Value == "true" || u.Kind == yaml.SequenceNode && slices.ContainsFunc(u.Content, func(n *yaml.Node) bool { return n.Value == "true" })) {
		return nil, false
	}
	n := c.get(key)
	if n == nil {
		return nil, true
	}
	if n.Kind != yaml.SequenceNode {
		c.bad(key, describe(n)+"; expected a list of texts")
		return nil, false
	}
	for _, item := range n.Content {
		if item.Kind != yaml.ScalarNode {
			c.bad(key, describe(item)+"; expected a text")
			continue
		}
		out = append(out, item.Value)
	}
	return out, true
}

// seconds gives a number of seconds; 0 if it is not given or known only later.
func (c *change) seconds(key string) time.Duration {
	n := c.get(key)
	if n == nil {
		return 0
	}
	s, err := strconv.ParseInt(n.Value, 10, 64)
	const most = int64(1) << 33 // more than a human life, and far from what a duration can not hold
	if err != nil || s < 0 || s > most {
		c.bad(key, "expected a number of seconds")
		return 0
	}
	return time.Duration(s) * time.Second
}
