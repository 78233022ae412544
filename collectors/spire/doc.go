// Package spire reads the log of a SPIRE server, with its audit log, and tells what happened to each SVID.
//
// # Which lines tell something
//
// The audit log is off by default: set audit_log_enabled = true. Its lines stand between the server's other lines, one
// for each item of a call; log_level = "DEBUG" adds the line that holds a serial. JSON, logrus text (also behind a
// prefix of journald, syslog or a container runtime) and the console's form are read, and the same record gives the
// same ids in each. Console lines have no time of day: unless a prefix tells it, their events have no occurred_at and
// are flagged STALE, so that no window counts them.
//
//	"Signed X509 SVID", with a serial   ISSUED  spire/INSTANCE/x509_svid/SERIAL, with its expiry
//	audit line of the same SVID         NOTED   no serial, so no credential; principal, entry and lifetime
//	audit or debug line of a JWT-SVID   ISSUED  spire/INSTANCE/jwt_svid/REQUEST_ID: one call signs one
//	"Failed to authenticate caller"     DENIED  refused by the policy engine, or the agent is banned
//	an agent attests or renews          NOTED   its own SVID, whose serial no log shows (the inventory does)
//	any other audited call              USED, or DENIED or NOTED (throttled) by its status
//	an authority prepared or activated  NOTED
//	an audited method not known here    UNKNOWN
//
// Principal is the SPIFFE ID that an SVID was issued to, or, of a call, the caller's. A caller on the admin socket has
// none: labels tell its user id and program. All other lines of a server's log give no event.
//
// Without debug an X509-SVID is known by principal, entry and expiry alone, and not as a credential. To make one up from
// the audit line would count it twice as soon as debug is on, or make what is said depend on which line came first.
//
// # What the log does not say
//
// An SVID can not be revoked and its use is not logged: agents fetch one for every entry they are authorised for,
// whether a workload asks or not. A JWT-SVID's lifetime is the entry's, and missing in the audit line if the entry has
// the server's default; the debug line has it.
//
// # What is never copied
//
// Only allow-listed fields are copied: no error text, no CSR, no subject. A join token stands in the id of the parent
// of an entry before it is spent: there it is replaced by a hash. Of a selector docker:env the value is left out.
//
// # The collector
//
// Collector follows the log file, publishes, and only then moves its checkpoint. Its inventory asks the server's API, in
// rounds, who may get which SVID (entries), which agents there are, with the serials of their SVIDs, and which trust
// domains are federated. What it may not read it names in health and heartbeat, and goes on.
package spire
