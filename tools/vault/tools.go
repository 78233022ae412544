//go:build tools

// Package tools pins the Vault server that `make vault` builds.
package tools

import _ "github.com/hashicorp/vault"
