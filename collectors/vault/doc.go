// Package vault reads HashiCorp Vault (and OpenBao) audit logs, and tells what happened to each credential: tokens,
// leases and certificates.
//
// # What a call becomes
//
// Vault writes a call twice: a request line before it acts, a response line after. Both carry request.id, which is the
// record id. Event 0 is the call itself, under the token that made it:
//
//	USED    the policies allowed it, whatever the backend then answered
//	DENIED  it was refused for want of permission
//	NOTED   a call that is the token's own life (its renewal, its revocation), a login, or one that was throttled
//
// Event 0 is made from either line, so a log that begins or ends between the two loses nothing, and has the same id and
// content from both, but for occurred_at (each line's own), outcome and error (only the response line knows what the
// backend answered). Prefer merges the two without regard to order. With Options.Pairing a response line does not
// repeat the event of the request line just before it, unless the call failed; that saves work. A use is then told at the time of its request line alone.
//
// The response line adds what only it knows: tokens, leases, certificates and wrapping tokens ISSUED, RENEWED, REVOKED,
// OBSERVED, and LINKED to the token that made them. Each has its fixed index, so its id never depends on the others.
//
// # What the log does not say
//
// A token made through auth/token/create/ROLE is an orphan if the role says so, and the audit log does not: its parent
// stays unknown unless Options.RoleOrphan knows the role. Request bodies are hashed: a lease id or a token named there is
// recognised only through Options.Resolve or, for tokens, if the same hash was seen beside an accessor; otherwise the
// REVOKED event names no credential and the label "target" holds the hash. What Vault revokes by itself (children,
// expiry) is not logged at all. Batch tokens have no accessor: their calls name no credential.
//
// Which aliases an entity has, and when one goes, the log shows as hashes or not at all. The inventory lists them: when it
// begins, in rounds, and soon after a record that may have changed them. Each gives an event OBSERVED with the labels that
// a login through it has, and REVOKED when it is gone, also if that was while no collector ran (vault-INSTANCE.aliases.json remembers them).
//
// Certificates that are not leased outlive the token that asked for them: they carry the label ends_with_parent=false.
//
// # What is never copied
//
// No value of request.data or response.data but lease ids, serials, numbers, booleans and times; no client token, not
// hashed either; no headers. Vault tokens in paths (which old clients put there) are blanked, so that a log written
// with log_raw gives no secret away.
//
// # The collector
//
// Collector follows a file by inode through rotation and truncation, or listens on a socket, publishes, and only then
// moves its checkpoint: after a crash some records are published again, with the same ids, and none is lost as long as
// the rotated file still lies beside the new one (gzipped or not). A socket has no checkpoint: what Vault sent and the
// collector had not published when it died is lost, and while the collector is away Vault drops what it can not send.
// Vault refuses to work when no device takes its record, so a socket device belongs beside a file device; the file is
// the one to collect from if nothing may be lost. While Kafka is away nothing is read: publishing blocks.
package vault
