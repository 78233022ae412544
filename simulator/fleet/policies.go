package fleet

import "strings"

// The steady agent uses every line of it.
const steadyPolicy = `
path "secret/data/config/*"   { capabilities = ["read"] }
path "secret/data/reports/*"  { capabilities = ["create", "update"] }
path "auth/token/renew-self"  { capabilities = ["update"] }
`

// Twelve permissions (path and capability), of which the task needs four, and afterwards one.
const ingestPolicy = `
path "secret/data/ingest/*"      { capabilities = ["read", "update"] }
path "secret/data/storage/*"     { capabilities = ["create", "update", "delete"] }
path "secret/metadata/ingest/*"  { capabilities = ["list", "read"] }
path "secret/metadata/storage/*" { capabilities = ["delete", "list", "read"] }
path "secret/delete/storage/*"   { capabilities = ["update"] }
path "secret/destroy/storage/*"  { capabilities = ["update"] }
`

const diagnosticPolicy = `
path "secret/data/diag/*" { capabilities = ["read"] }
path "auth/token/create"  { capabilities = ["update"] }
`

const diagnosticChildPolicyName = "diagnostic-child"

const diagnosticChildPolicy = `
path "secret/data/diag/*" { capabilities = ["read"] }
`

const probingPolicy = `
path "secret/data/diag/*" { capabilities = ["read"] }
`

// broadPolicy has ten permissions on a tree, of which the agent uses one.
func broadPolicy(tree string) string {
	return strings.ReplaceAll(`
path "secret/data/TREE/*"     { capabilities = ["create", "delete", "list", "read", "update"] }
path "secret/metadata/TREE/*" { capabilities = ["delete", "list", "read"] }
path "secret/delete/TREE/*"   { capabilities = ["update"] }
path "secret/destroy/TREE/*"  { capabilities = ["update"] }
`, "TREE", tree)
}

const loadPolicy = `
path "secret/data/load/*"     { capabilities = ["create", "read", "update"] }
path "secret/metadata/load/*" { capabilities = ["list"] }
`

// collectorPolicy lets the inventory be read, leases and token roles too, and nothing be changed. Its own token's
// look-up and renewal come from Vault's `default` policy. The exact path of the leases needs list of its own: it matches
// before the one with the star.
const collectorPolicy = `
path "auth/token/accessors"       { capabilities = ["list", "sudo"] }
path "auth/token/lookup-accessor" { capabilities = ["update"] }
path "auth/token/roles"           { capabilities = ["list"] }
path "auth/token/roles/*"         { capabilities = ["read"] }
path "identity/entity-alias/id"   { capabilities = ["list"] }
path "sys/policies/acl"           { capabilities = ["list"] }
path "sys/policies/acl/*"         { capabilities = ["read"] }
path "sys/leases/lookup/*"        { capabilities = ["list", "sudo"] }
path "sys/leases/lookup"          { capabilities = ["list", "sudo", "update"] }
path "sys/audit-hash/file"        { capabilities = ["update"] }
`
