package fleet

import "time"

// Event is what a Report tells of.
type Event string

// The events.
const (
	// LoggedIn: the agent took a credential of its own.
	LoggedIn Event = "logged_in"
	// Replaced: the agent is about to take another credential in its own time; the figures are the last of this one.
	Replaced Event = "replaced"
	// Working: calls went on with the credential. Told about twice a second, not per call.
	Working Event = "working"
	// Lost: Vault does not know the credential any more.
	Lost Event = "lost"
	// Reissued: the agent took the credential that the enforcer delivered.
	Reissued Event = "reissued"
	// Stopped: the fleet ends; the figures are the last ones.
	Stopped Event = "stopped"
)

// Report tells of an agent's life. The counts are those of the credential it names.
type Report struct {
	At    time.Time
	Agent string
	Event Event
	// Accessor of the credential in clear (see Site.TokenAlive), and as the audit device shows it, which is the id in
	// the product's credential keys. Neither is a secret. Empty while the agent has no credential.
	Accessor   string
	Credential string
	// Delivered says that the enforcer gave this credential, in place of one that it had revoked.
	Delivered bool
	// Alive is what the last answered call showed.
	Alive bool
	Calls Calls
}

// Calls counts what an agent's calls were answered.
type Calls struct {
	// OK were allowed.
	OK uint64
	// Denied were refused for want of permission, on so many distinct pairs of operation and path.
	Denied            uint64
	DeniedPermissions int
	// Failed got another error from Vault; Failure is the last one's text.
	Failed  uint64
	Failure string
	// Unanswered never got one: Vault was away.
	Unanswered uint64
	// CutOff were under way when the fleet ended: Vault may have answered them all the same.
	CutOff uint64
}

// Call is one call that Vault answered, as the agent knows it.
type Call struct {
	Agent string
	// Credential is as in Report.
	Credential string
	// Method and Path of the request, without /v1/; Status of the answer, where all that went through is 200.
	Method, Path string
	Status       int
	Began, Ended time.Time
}
