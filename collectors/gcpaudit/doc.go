// Package gcpaudit reads Google Cloud audit logs, and tells what happened to service account keys, what was done with
// them, and who was bound to which role.
//
// # What an entry becomes
//
// An audit log entry is one call. Its record id is what Cloud Logging itself knows an entry by (log name, timestamp,
// insert id), or, for the two entries of a long-running operation, the operation's id, so that both are one record. The
// event of the call stands under the service account key that the caller used, if it used one:
//
//	USED    IAM granted a permission, whatever the service then answered
//	DENIED  the status is 7, PERMISSION_DENIED. A permission that is not granted is no denial by itself: services ask for
//	        some that a call can do without
//	NOTED   throttled or unauthenticated calls, the last entry of an operation whose first tells the call, and calls of
//	        which nobody says whether they were allowed (no authorizationInfo): their outcome is unknown, not success
//	UNKNOWN an entry that is no audit log
//
// An operation that began before the log did is therefore no use in it; otherwise the time of a use would depend on which
// of the two entries came first. The event names the first permission; the others are labels permission.2 and following.
//
// A service account key is ISSUED by CreateServiceAccountKey and UploadServiceAccountKey, REVOKED by
// DeleteServiceAccountKey; switched off and on it is NOTED. An end in the year 9999 is none. A key that was made before
// the log began has no end as far as its calls tell; the record of its making goes before them.
//
// GenerateAccessToken, GenerateIdToken, SignJwt, SignBlob and the security token service's ExchangeToken give tokens
// whose ids are not logged. Each is ISSUED under the record's own id with the label confidence=inferred: what it was used
// for can not be known from the log, so that its uses stay 0 and say nothing. These are Data Access logs, off by default.
//
// # Who
//
// Principals are named as IAM policies name members: serviceAccount:EMAIL, user:EMAIL, principal://...; mail addresses in
// small letters. A key belongs to the account in its name: where the call was made as another account, acts_as names
// that. Delegation chains are labels delegation.1 (who began) and following, actor_subject is the first; where the log
// hides the chain as [{}] it is taken from metadata.identityDelegationChain. Federated principals carry
// web_identity_provider and web_identity_subject. Of a refused call Google may have left out who made it.
//
// # Who may
//
// Each role binding that a call added or removed is a NOTED event and a Grant fact (id .../binding/...), custom roles are
// Grant facts, too. A Cloud Asset export tells all that a member has (ReadAssets, Assets). Not known are: memberships of
// groups, changes by calls that replace a policy without saying what changed (they are told by the next export), and
// that a project's id and its number are one resource.
//
// # What is never copied
//
// Requests, responses and metadata but for the few fields named above: key names, expiry, scopes, lifetimes, role bindings.
// No status message, no user agent, no labels of the entry, no query of a URL. What looks like a token in any other
// place is blanked.
//
// # The collector
//
// Collector reads a Pub/Sub subscription, a growing file, or a directory into which files are put. A message is
// acknowledged, and a file remembered, when its events and facts are published: after a crash some are published again,
// with the same ids. No more than max_outstanding messages are held. While Kafka is away nothing is read: publishing
// blocks, and Pub/Sub keeps what comes, for as long as the subscription's retention.
package gcpaudit
