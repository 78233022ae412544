package enforcer

import (
	"context"
	"time"

	"github.com/leastwise/leastwise/enforcer/notify"
	"github.com/leastwise/leastwise/enforcer/target"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Target is an issuer at which credentials can be looked up and taken away.
// Implementations are safe for concurrent use, return *target.Error (package
// target says what each kind means), do not retry by themselves, and keep to
// the deadline of the context. Package target/targettest is their contract.
type Target interface {
	// Capabilities tells what the target's own credential lacks; nothing
	// missing is an empty list.
	Capabilities(ctx context.Context) ([]target.Missing, error)
	// Lookup changes nothing. Status Unknown is an answer, not an error.
	Lookup(ctx context.Context, c target.Credential) (target.Sighting, error)
	// Revoke ends the credential with everything that hangs on it. Revoking
	// what is gone already is no error. An error does not say that it was not
	// done.
	Revoke(ctx context.Context, c target.Credential) error
	// Verify asks the issuer whether the credential is gone. Anything but the
	// issuer's explicit word is not a proof.
	Verify(ctx context.Context, c target.Credential) (target.Proof, error)
	// Plan says what Reissue would do, with what a rollback needs, and changes
	// nothing. A nil Reissue with a reason means that nothing can be given back.
	Plan(ctx context.Context, d *pb.Decision) (plan *pb.Reissue, refused string, err error)
	// Reissue carries out a plan and delivers the new credential. Doing it
	// again, after a crash in the middle, gives nothing broader; it returns
	// the plan completed with accessors.
	Reissue(ctx context.Context, ladderID string, d *pb.Decision, plan *pb.Reissue) (*pb.Reissue, error)
	// Rollback puts back what Reissue replaced. Doing it again is harmless.
	Rollback(ctx context.Context, done *pb.Reissue) error
	// Protected are the keys of the target's own credentials, in every form
	// in which a log may show them.
	Protected(ctx context.Context) ([]string, error)
	// Live counts the credentials that are alive at the issuer.
	Live(ctx context.Context) (int, error)
}

// Foreseer is a target that can tell before an act what else it would hit:
// sessions of the same role, children, leases. It changes nothing. What it
// can not tell is an error, never an empty list.
type Foreseer interface {
	Collateral(ctx context.Context, c target.Credential) ([]target.Hit, error)
}

// Restorer is a target that can give back what it took: a key that was only
// deactivated, a policy that denies. It is break-glass: a person asked for it,
// with a reason. Doing it again is harmless; what can not be given back is an
// Impossible error that says what the owner has to do instead.
type Restorer interface {
	Restore(ctx context.Context, c target.Credential) error
}

// Corrector is a target whose re-issue takes permissions away: it can tell
// which denied calls are a consequence. It asks nobody and changes nothing:
// what it needs stands in the re-issue since it was planned.
type Corrector interface {
	// Caused tells that `by` lacks the permission because of the re-issue made
	// at `since`: by holds what was narrowed, the former scope allowed it, and
	// the narrower one does not. What is not certain is not caused.
	Caused(done *pb.Reissue, since time.Time, by *pb.Decision, permission string) bool
}

// Finisher is a target whose revocation is done in two steps: one that can be
// taken back at once, and after a further period one that can not, such as
// deleting a deactivated key.
type Finisher interface {
	// FinishAfter is the further period, counted from the proven revocation;
	// zero: nothing is left to be done with this credential.
	FinishAfter(c target.Credential) time.Duration
	// Finish does the second step. Doing it again is no error; a credential
	// that somebody enabled again in between is an Impossible error, not
	// deleted.
	Finish(ctx context.Context, c target.Credential) error
}

// Channel carries a message to people. Send blocks at most until ctx ends, and
// returns nil only when the receiving service took the message.
type Channel interface {
	Kind() string
	Send(ctx context.Context, m notify.Message) error
}
