// Package gcp takes away service-account keys of Google Cloud, and narrows what
// their accounts are bound to.
//
// # What it promises
//
// A key is disabled first, which can be taken back at once (Restore), and
// deleted only after a further period (Finisher); a key that somebody enabled
// again in between is not deleted. "Gone" is said on IAM's own word: the key
// is disabled, was deleted, or its time is over.
//
// Access tokens that were got with a key work on: deleting a key does not
// revoke them (IAM v1, projects.serviceAccounts.keys.delete). They last an
// hour, so Proof.WorksUntil is an hour after the revocation.
//
// Tokens by themselves can not be revoked: Google has no call for one, and the
// audit log gives them no id. What would end them is to disable the whole
// service account, with everything that runs as it; that is left to a person,
// and the error says how.
//
// Re-issue gives no new key. It replaces each unconditional role that the
// account has on its project by the smallest predefined role which holds what
// was observed in use and nothing that the old one did not; a role of which
// nothing was used is removed. Policies are written with the etag they were
// read with, so that a change by somebody else in between is never lost.
// Rollback puts the roles back.
//
// # What blocks, and what it may lose
//
// Calls block for at most Config.Timeout a request and are not retried: an
// error does not say that nothing was done. The names of keys are kept in
// memory: a log gives a key's id and not its account, so that the keys of the
// configured projects are listed when an unknown one comes.
package gcp
