package vault

import (
	"strings"
	"testing"
)

func TestPoliciesAreReadAsVaultReadsThem(t *testing.T) {
	for name, c := range map[string]struct{ text, want, incomplete, err string }{
		"capabilities": {`path "secret/data/+/x" { capabilities = ["update", "read"] }
			path "/sys/*" { capabilities = ["list", "sudo"] }`, "secret/data/+/x read,update; sys/* list,sudo", "", ""},
		"json":           {`{"path": {"a/*": {"capabilities": ["read"]}}}`, "a/* read", "", ""},
		"legacy":         {`path "a" { policy = "write" } path "b" { policy = "sudo" }`, "a create,delete,list,read,update; b create,delete,list,read,sudo,update", "", ""},
		"merged":         {`path "a" { capabilities = ["read"] } path "a" { capabilities = ["list"] }`, "a list,read", "", ""},
		"deny wins":      {`path "a" { capabilities = ["read", "deny"] } path "a" { capabilities = ["list"] }`, "a deny", "", ""},
		"template":       {`path "secret/{{identity.entity.id}}/*" { capabilities = ["read"] }`, "secret/{{identity.entity.id}}/* read", "templated", ""},
		"parameters":     {`path "a" { capabilities = ["update"] allowed_parameters = { "x" = ["y"] } }`, "a update", "allowed_parameters", ""},
		"new capability": {`path "a" { capabilities = ["read", "levitate"] }`, "a read", "not known", ""},
		"name and comment": {`name = "x"
			# a comment
			path "a" { capabilities = ["read"] }`, "a read", "", ""},
		"nothing":     {``, "", "", ""},
		"no HCL":      {`path "QZX7" {{{`, "", "", "not valid HCL"},
		"bad legacy":  {`path "a" { policy = "QZX7" }`, "", "", "none of"},
		"bad pattern": {`path "a/+*" { capabilities = ["read"] }`, "", "", "+*"},
		"too long":    {strings.Repeat(" ", 2<<20), "", "", "more than"},
	} {
		rules, incomplete, err := ParsePolicy(c.text)
		var got []string
		for _, rule := range rules {
			got = append(got, rule.Resource+" "+strings.Join(rule.Capabilities, ","))
		}
		if strings.Join(got, "; ") != c.want || !strings.Contains(incomplete, c.incomplete) || (c.incomplete == "") != (incomplete == "") {
			t.Errorf("%s: %q, incomplete %q", name, got, incomplete)
		}
		if (err == nil) != (c.err == "") || err != nil && (!strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "QZX7")) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
