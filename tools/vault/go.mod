// The real Vault server, built from source for the demo and the end-to-end tests.
// This module stands outside go.work: nothing of the product imports it.
module github.com/leastwise/leastwise/tools/vault

go 1.26

require github.com/hashicorp/vault v1.19.0

// Vault replaces this module in its own go.mod; a main module has to repeat it.
replace github.com/99designs/keyring => github.com/Jeffail/keyring v1.2.3
