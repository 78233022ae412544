// Package target holds the words that the enforcer and the issuers' adapters
// share: what a credential's state may be, what a proof is, and the classes of
// errors on which the ladder decides whether to try again.
//
// It does nothing itself: no I/O, no state.
package target

import (
	"errors"
	"fmt"
	"time"
)

// Credential is what a target is asked about.
type Credential struct {
	// Key is the credential key, as the issuer's log shows it: it may hold a
	// hashed accessor.
	Key string
	// Found is what the target itself called the credential when it last saw
	// it alive (Sighting.Found). With it a target can prove that a credential
	// whose log name is a hash is gone; without it absence proves nothing.
	Found string
	// Labels of the credential, such as the mount it was issued by.
	Labels map[string]string
	// IssuedAt and ExpiresAt are what the issuer's log told; zero: it did not.
	IssuedAt  time.Time
	ExpiresAt time.Time
	// Restore is what the target itself said would be needed to give the
	// credential back (Sighting.Restore), kept in the journal since the intent.
	Restore string
	// RevokedAt is when the revocation was proven, from the journal; zero before.
	RevokedAt time.Time
}

// Hit is something else that ends, or stops working, with a credential.
type Hit struct {
	// Key of the credential that is hit; empty when the issuer shows no name
	// that a log would show.
	Key string
	// Text is one sentence for a reader: whose it is and since when.
	Text string
}

// Status of a credential at its issuer.
type Status uint8

// The statuses.
const (
	// Unknown is the zero value: what was not proven is not known.
	Unknown Status = iota
	Alive
	Gone
)

func (s Status) String() string {
	switch s {
	case Alive:
		return "alive"
	case Gone:
		return "gone"
	default:
		return "unknown"
	}
}

// Sighting is the answer of a look-up.
type Sighting struct {
	Status Status
	// Found names the credential in the issuer's own terms, never a secret.
	Found string
	// Detail is one sentence for a reader.
	Detail string
	// Restore is what the target will need to give a live credential back
	// after it was revoked: text of the target's own making, at most 16 KB,
	// no secret. Empty: what is gone here is gone.
	Restore string
}

// Proof is the issuer's own word on whether a credential is gone.
type Proof struct {
	Gone bool
	// Text is what the issuer answered, with the path that was asked.
	Text string
	// WorksUntil is set when the credential is revoked and may yet be
	// accepted by those who do not ask the issuer.
	WorksUntil time.Time
}

// Missing is a capability the enforcer's own credential lacks.
type Missing struct {
	Path       string
	Capability string
	// Step that fails without it.
	Step string
}

func (m Missing) String() string {
	return fmt.Sprintf("capability %q on %q is missing (%s)", m.Capability, m.Path, m.Step)
}

// Kind classes an error by what helps against it.
type Kind uint8

const (
	// Retryable: the same call may succeed later with nobody changing
	// anything. It may also have been done although it failed. The zero
	// value, since an error nobody classed must not end a ladder.
	Retryable Kind = iota
	// Permission: somebody has to grant the named capability.
	Permission
	// Impossible: no retry and no grant helps, such as revoking a batch token.
	Impossible
)

func (k Kind) String() string {
	switch k {
	case Permission:
		return "permission"
	case Impossible:
		return "impossible"
	default:
		return "retryable"
	}
}

// Error is what targets return. Its text holds no secret.
type Error struct {
	Kind Kind
	// Op is the step that failed, in words.
	Op string
	// Missing is set for Permission.
	Missing Missing
	// RetryAfter is how long the issuer asked to be left alone; zero: it did
	// not say.
	RetryAfter time.Duration
	Err        error
}

func (e *Error) Error() string {
	text := e.Op
	if e.Kind == Permission {
		text += ": " + e.Missing.String()
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// KindOf classes err; what is no *Error is Retryable.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Retryable
}

// ErrOwn is wrapped by an Impossible error when the credential is the target's
// own: without it nothing could be revoked any more.
var ErrOwn = errors.New("this is the credential by which the enforcer itself acts")

// ErrUnsupported is wrapped by an Impossible error when the target does not
// offer the act at all.
var ErrUnsupported = errors.New("not supported by this target")

// ErrIssuerCannot is wrapped by an Impossible error when nothing at the issuer
// ends the credential, so that only those who accept it can refuse it: they
// are to be told.
var ErrIssuerCannot = errors.New("nothing at the issuer ends it: only those who accept it can refuse it")
