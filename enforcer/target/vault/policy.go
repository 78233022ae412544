package vault

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/enforcer/target"
)

// need is one line of the enforcer's policy.
type need struct {
	path string
	caps []string
	step string
	// probe is a path that the line has to cover, asked of Vault; default path.
	probe string
	// only are the parameters that a write may have; none: any.
	only []string
}

// needs is the only list of what the enforcer may do: the policy text, the
// check of capabilities and the tests are made from it.
func (c Config) needs() []need {
	list := []need{
		{path: "auth/token/lookup-accessor", caps: []string{"update"}, step: "ask whether a token lives, and prove that it is gone"},
		{path: "auth/token/revoke-accessor", caps: []string{"update"}, step: "revoke a token with its children and leases"},
		{path: "auth/token/accessors", caps: []string{"list", "sudo"}, step: "find the accessor behind a hashed one; count live tokens"},
		{path: "sys/audit-hash/" + c.AuditDevice, caps: []string{"update"}, step: "hash accessors as the audit log does"},
		{path: "sys/leases/lookup", caps: []string{"update"}, step: "ask whether a lease lives"},
		{path: "sys/leases/revoke", caps: []string{"update"}, step: "revoke a lease"},
		{path: "sys/policies/acl/*", caps: []string{"read"}, step: "know what a credential is granted", probe: "sys/policies/acl/any"},
		{path: "sys/policies/acl/" + PolicyPrefix + "*", caps: []string{"create", "read", "update"}, step: "write narrow policies", probe: "sys/policies/acl/" + PolicyPrefix + "any"},
		{path: "auth/token/create/" + c.Reissue.TokenRole, caps: []string{"update"}, step: "create the narrow token"},
	}
	for _, m := range c.AppRoleMounts {
		list = append(list, need{path: "auth/" + m + "/role/+/policies", caps: []string{"read", "update"}, step: "narrow a role, and put it back", probe: "auth/" + m + "/role/any/policies"},
			need{path: "auth/" + m + "/role/+/token-ttl", caps: []string{"read", "update"}, step: "bring a role's TTL within policy, and put it back", probe: "auth/" + m + "/role/any/token-ttl"},
			need{path: "auth/" + m + "/role/+/token-max-ttl", caps: []string{"read", "update"}, step: "the same of its longest TTL", probe: "auth/" + m + "/role/any/token-max-ttl"},
			need{path: "auth/" + m + "/role/+/period", caps: []string{"read", "update"}, step: "the same of its period", probe: "auth/" + m + "/role/any/period"},
			need{path: "auth/" + m + "/role/+/secret-id-accessor/lookup", caps: []string{"update"}, step: "ask whether a secret id lives", probe: "auth/" + m + "/role/any/secret-id-accessor/lookup"},
			need{path: "auth/" + m + "/role/+/secret-id-accessor/destroy", caps: []string{"update"}, step: "destroy a secret id", probe: "auth/" + m + "/role/any/secret-id-accessor/destroy"})
	}
	for _, m := range c.PKIMounts {
		list = append(list,
			need{path: m + "/cert/+", caps: []string{"read"}, step: "ask whether a certificate is revoked", probe: m + "/cert/00"},
			need{path: m + "/revoke", caps: []string{"update"}, step: "revoke a certificate"})
	}
	for _, k := range c.roleKinds() {
		list = append(list, need{path: k.path("+"), caps: []string{"read", k.capability()}, step: "bring the TTLs of roles within policy, and put them back", probe: k.path("any"), only: k.fields})
	}
	list = append(list, need{path: "identity/entity/id/+", caps: []string{"read", "update"}, step: "disable an entity, and give it back", probe: "identity/entity/id/any"})
	return append(list,
		need{path: "sys/audit", caps: []string{"read", "sudo"}, step: "doctor: see the audit devices"},
		need{path: "sys/mounts/auth/token/tune", caps: []string{"read"}, step: "doctor: see the tuning of auth/token"},
		need{path: "auth/token/roles/" + c.Reissue.TokenRole, caps: []string{"read"}, step: "doctor: see the token role"},
		need{path: "sys/capabilities-self", caps: []string{"update"}, step: "see what the own token may do"},
		need{path: "auth/token/lookup-self", caps: []string{"read"}, step: "see the own token"},
		need{path: "auth/token/renew-self", caps: []string{"update"}, step: "renew the own token"},
	)
}

// PolicyHCL is the exact Vault policy that the enforcer needs with default
// settings. Give it a name that does not begin with PolicyPrefix.
func PolicyHCL() string { return Config{}.PolicyHCL() }

// PolicyHCL is the exact Vault policy that the enforcer needs with c.
func (c Config) PolicyHCL() string {
	return render("The Leastwise enforcer. Name it anything but "+PolicyPrefix+"…: those it may write.", c.withDefaults().needs())
}

// CollectorPolicyHCL is the exact Vault policy that the collector's inventory
// needs.
func (c Config) CollectorPolicyHCL() string {
	c = c.withDefaults()
	var roles []need
	for _, m := range c.AppRoleMounts {
		roles = append(roles, need{path: "auth/" + m + "/role", caps: []string{"list"}, step: "list AppRole's roles"},
			need{path: "auth/" + m + "/role/+", caps: []string{"read"}, step: "know what a role gives, and when somebody changes it"},
			need{path: "auth/" + m + "/role/+/secret-id", caps: []string{"list"}, step: "list its secret ids by accessor"},
			need{path: "auth/" + m + "/role/+/secret-id-accessor/lookup", caps: []string{"update"}, step: "know since when a secret id lives, and until when"})
	}
	for _, m := range c.PKIMounts {
		roles = append(roles, need{path: m + "/roles", caps: []string{"list"}, step: "list the PKI's roles"},
			need{path: m + "/roles/+", caps: []string{"read"}, step: "know how long its certificates may live"})
	}
	return render("The inventory of the Leastwise collector: it reads, and changes nothing.", append(roles, []need{
		{path: "auth/token/accessors", caps: []string{"list", "sudo"}, step: "list live tokens"},
		{path: "auth/token/lookup-accessor", caps: []string{"update"}, step: "times, policies and role of a token"},
		{path: "sys/audit-hash/" + c.AuditDevice, caps: []string{"update"}, step: "name them as the audit log does"},
		{path: "auth/token/roles", caps: []string{"list"}, step: "list token roles"},
		{path: "auth/token/roles/*", caps: []string{"read"}, step: "know whether tokens of a role have a parent"},
		{path: "sys/auth", caps: []string{"read"}, step: "know which auth methods issue tokens"},
		{path: "sys/mounts", caps: []string{"read"}, step: "know which engines issue by roles"},
		{path: "sys/mounts/*", caps: []string{"read"}, step: "know how long what a mount issues may live"},
		{path: "auth/+/role", caps: []string{"list"}, step: "list the roles of other auth methods"},
		{path: "auth/+/role/+", caps: []string{"read"}, step: "know what they give"},
		{path: "auth/+/roles", caps: []string{"list"}, step: "the same where the list is called roles (AWS, GCP)"},
		{path: "auth/+/certs", caps: []string{"list"}, step: "the same of certificates"},
		{path: "auth/+/certs/+", caps: []string{"read"}, step: "know what a login by certificate gives"},
		{path: "identity/entity-alias/id", caps: []string{"list"}, step: "know which aliases an entity has, and which are gone"},
		{path: "sys/policies/acl/*", caps: []string{"read"}, step: "know what policies permit"},
		{path: "auth/token/lookup-self", caps: []string{"read"}, step: "see the own token"},
		{path: "auth/token/renew-self", caps: []string{"update"}, step: "renew the own token"},
	}...))
}

func render(title string, needs []need) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n", title)
	for _, n := range needs {
		fmt.Fprintf(&b, "\n# %s\npath %q { capabilities = [%s]%s }\n", n.step, n.path, quoted(n.caps), n.allowed())
	}
	return b.String()
}

// TokenRole is the command that makes the token role for re-issued tokens.
func (c Config) TokenRole() string {
	c = c.withDefaults()
	return fmt.Sprintf("vault write auth/token/roles/%s allowed_policies_glob=%s* orphan=true renewable=true token_explicit_max_ttl=24h",
		c.Reissue.TokenRole, PolicyPrefix)
}

// Capabilities asks Vault what the own token lacks. A root token lacks
// nothing; the doctor refuses it.
func (t *Target) Capabilities(ctx context.Context) ([]target.Missing, error) {
	needs := t.cfg.needs()
	paths := make([]string, len(needs))
	for i, n := range needs {
		paths[i] = n.asked()
	}
	secret, err := t.call(ctx, request{method: http.MethodPost, path: "sys/capabilities-self",
		body: map[string]any{"paths": paths}, capability: "update", step: "see what the own token may do"})
	if err != nil {
		return nil, err
	}
	var missing []target.Missing
	for _, n := range needs {
		var have []string
		list, _ := secret.Data[n.asked()].([]any)
		for _, c := range list {
			if text, ok := c.(string); ok {
				have = append(have, text)
			}
		}
		if slices.Contains(have, "root") {
			continue
		}
		for _, c := range n.caps {
			if !slices.Contains(have, c) {
				missing = append(missing, target.Missing{Path: n.path, Capability: c, Step: n.step})
			}
		}
	}
	return missing, nil
}

// allowed says which parameters a write may have.
func (n need) allowed() string {
	if len(n.only) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("\n  allowed_parameters = {")
	for _, name := range n.only {
		fmt.Fprintf(&b, " %q = []", name)
	}
	b.WriteString(" }")
	return strings.ReplaceAll(b.String(), "[] \"", "[], \"")
}

func (n need) asked() string {
	if n.probe != "" {
		return n.probe
	}
	return n.path
}
