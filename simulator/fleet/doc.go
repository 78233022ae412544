// Package fleet is a site full of agents on a real Vault: one that behaves, and those that Leastwise is made for.
//
// Setup makes the site with the root token, once: audit device, mounts, policies, one AppRole and one named entity an
// agent, and two AppRoles for the product itself, so that nothing of the product ever holds the root token. Run then
// plays the agents until its context ends, and tells of each through Report: whether its credential is alive, and
// what its calls were answered. Load adds a background of many tokens and calls, of which it knows the truth.
//
// WriteAudit needs no Vault: it writes an audit log of any size, in the shape Vault writes, with the truth about it.
// The same options give the same bytes.
//
// Agents hold their tokens in memory. The only files with secrets are the product's AppRole files that Setup writes
// (mode 0600) and what the enforcer delivers, which an agent removes when it has taken it.
package fleet
