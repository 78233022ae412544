// Package vault revokes and re-issues credentials at HashiCorp Vault and
// OpenBao: tokens by accessor, leases, PKI certificates, entities with all that
// they hold, AppRole secret ids.
//
// # What it promises
//
// "Gone" is said only on Vault's explicit word: `invalid accessor`, `invalid
// lease`, a CRL or an OCSP answer that the certificate's issuer signed, or an
// entity that is disabled while none of its tokens lives. Vault answers `invalid
// accessor` to a hashed accessor as well, so a hash is never asked for: it is
// resolved first (every live accessor is hashed by the audit device and
// compared), and where it can not be resolved the answer is unknown.
//
// sys/leases/revoke-force is never used, since it ignores the backend's errors.
// Leases are revoked with sync=true.
//
// Re-issue writes a policy leastwise-<agent>-<hash> with no more than observed
// use and no more than the credential's policies grant now, including what
// they deny below a pattern; narrows the AppRole the credential came from, if
// it came from one, to that policy and to TTLs within policy; and delivers a new token response-wrapped.
// The wrapping token goes to the delivery alone. Old policies are never
// changed or deleted; Rollback puts the role's former policies back.
//
// # What blocks, and what it may lose
//
// Calls block for at most Config.Timeout a request and are not retried: an
// error does not say that nothing was done. Run keeps the target's own token
// alive and blocks until its context ends. Kept in memory only: the own token,
// and hashes of accessors, which cost a round of sys/audit-hash after a start.
//
// The enforcer never needs root: PolicyHCL is the policy it needs, line by
// line with the step each is for.
package vault
