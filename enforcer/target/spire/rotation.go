package spire

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	authorityv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/localauthority/v1"

	"github.com/leastwise/leastwise/enforcer/target"
)

// Step of a rotation: what was done last.
type Step string

// The steps, in their order. https://spiffe.io/docs/latest/deploying/spire_server/
// and SPIRE's doc/authority_rotation describe what each does.
const (
	// Approved: nothing was done yet.
	Approved Step = "approved"
	// Prepared: the new authority is in the bundle and signs nothing.
	Prepared Step = "prepared"
	// Activated: the new one signs, the old one is trusted.
	Activated Step = "activated"
	// Tainted: agents and workloads are given SVIDs of the new one.
	Tainted Step = "tainted"
	// Revoked: the old one is out of the bundle, and every SVID of it refused.
	Revoked Step = "revoked"
)

// Kinds of authorities.
const (
	X509Authority = "x509"
	JWTAuthority  = "jwt"
)

// Rotation replaces a signing authority of one SPIRE server and ends what the
// old one has signed, in the whole trust domain. It is the last resort, against
// a stolen key or SVIDs that nothing else ends, and so no act of the ladder: it
// wants two people. The caller keeps it (it is JSON without a secret) after
// StartRotation and after each NextStep; from what was kept last it goes on
// after a crash, since each step looks first whether it was done.
type Rotation struct {
	Kind       string   `json:"kind"`
	Step       Step     `json:"step"`
	Reason     string   `json:"reason"`
	ApprovedBy []string `json:"approved_by"`
	// Retire is the authority that ends, New the one in its place.
	Retire string `json:"retire"`
	New    string `json:"new,omitempty"`
	// NotBefore is when the next step may be done: agents and workloads need
	// time to follow, or they are cut off.
	NotBefore time.Time `json:"not_before"`
}

// ErrApproval is wrapped by an Impossible error when two people are wanted.
var ErrApproval = errors.New("a rotation of the signing authority needs the approval of two different people, and a reason")

func (r Rotation) valid() error {
	var people []string
	for _, name := range r.ApprovedBy {
		name = strings.ToLower(strings.TrimSpace(name))
		if name != "" && !slices.Contains(people, name) {
			people = append(people, name)
		}
	}
	switch {
	case len(people) < 2 || strings.TrimSpace(r.Reason) == "":
		return impossible("rotate the authority", ErrApproval)
	case r.Kind != X509Authority && r.Kind != JWTAuthority:
		return impossible("rotate the authority", fmt.Errorf("kind %q is neither %s nor %s", r.Kind, X509Authority, JWTAuthority))
	}
	return nil
}

// ActiveAuthority is the id of the one that signs now: what people approve the
// end of.
func (t *Target) ActiveAuthority(ctx context.Context, kind string) (string, error) {
	s, err := t.authorities(ctx, kind)
	if err == nil && s.active == "" {
		err = impossible("read the state of the authorities", errors.New("the server names no active authority"))
	}
	return s.active, err
}

// StartRotation says which authority would end, and changes nothing. The two
// names are those of people who have signed in: the caller answers for that.
func (t *Target) StartRotation(ctx context.Context, kind, reason, first, second string) (Rotation, error) {
	r := Rotation{Kind: kind, Step: Approved, Reason: reason, ApprovedBy: []string{first, second}}
	if err := r.valid(); err != nil {
		return Rotation{}, err
	}
	s, err := t.authorities(ctx, kind)
	if err != nil {
		return Rotation{}, err
	}
	r.Retire = s.active
	return r, nil
}

// NextStep does the step after r.Step and gives the rotation to be kept; a
// Revoked one comes back as it is. Before NotBefore it is a Retryable error.
func (t *Target) NextStep(ctx context.Context, r Rotation) (Rotation, error) {
	if err := r.valid(); err != nil {
		return r, err
	}
	if wait := r.NotBefore.Sub(t.now()); wait > 0 {
		return r, &target.Error{Op: "rotate the authority", RetryAfter: wait, Err: fmt.Errorf("agents and workloads are given until %s to follow the step before", stamp(r.NotBefore))}
	}
	s, err := t.authorities(ctx, r.Kind)
	if err != nil {
		return r, err
	}
	switch r.Step {
	case Approved:
		return t.prepare(ctx, r, s)
	case Prepared:
		return t.activate(ctx, r, s)
	case Activated:
		return t.taint(ctx, r, s)
	case Tainted:
		return t.revokeAuthority(ctx, r, s)
	case Revoked:
		return r, nil
	default:
		return r, impossible("rotate the authority", fmt.Errorf("no step %q", r.Step))
	}
}

// VerifyRotation asks the server's bundle and the state of its authorities.
func (t *Target) VerifyRotation(ctx context.Context, r Rotation) (target.Proof, error) {
	s, err := t.authorities(ctx, r.Kind)
	if err != nil {
		return target.Proof{}, err
	}
	switch _, there := s.bundle[r.Retire]; {
	case r.Retire == "" || s.active == "":
		return target.Proof{Text: "the server names no active authority"}, nil
	case s.active == r.Retire:
		return target.Proof{Text: "authority " + r.Retire + " signs"}, nil
	case there && s.bundle[r.Retire]:
		return target.Proof{Text: "authority " + r.Retire + " is tainted, and in the bundle yet"}, nil
	case there:
		return target.Proof{Text: "authority " + r.Retire + " signs no more, and is trusted yet"}, nil
	}
	return target.Proof{Gone: true, Text: getBundle + ": authority " + r.Retire + " is not in it; " + s.active + " signs. Federated trust domains follow when they next fetch the bundle"}, nil
}

// authorities of the server.
type authorities struct {
	active, prepared, old string
	bundle                map[string]bool // those that are trusted: tainted or not
}

func (t *Target) authorities(ctx context.Context, kind string) (authorities, error) {
	s := authorities{bundle: map[string]bool{}}
	take := func(active, prepared, old *authorityv1.AuthorityState) {
		s.active, s.prepared, s.old = active.GetAuthorityId(), prepared.GetAuthorityId(), old.GetAuthorityId()
	}
	const step = "read the state of the authorities"
	b, err := t.bundle(ctx)
	if err != nil {
		return s, err
	}
	if kind == JWTAuthority {
		for _, key := range b.JwtAuthorities {
			s.bundle[key.KeyId] = key.Tainted
		}
		state, err := call(ctx, t, authorityMethod+"GetJWTAuthorityState", step, func(ctx context.Context, s api) (*authorityv1.GetJWTAuthorityStateResponse, error) {
			return s.authority.GetJWTAuthorityState(ctx, &authorityv1.GetJWTAuthorityStateRequest{})
		})
		take(state.GetActive(), state.GetPrepared(), state.GetOld())
		return s, err
	}
	for _, authority := range b.X509Authorities {
		certs, err := x509.ParseCertificates(authority.Asn1)
		if err != nil {
			return s, impossible(step, err)
		}
		for _, cert := range certs {
			s.bundle[hex.EncodeToString(cert.SubjectKeyId)] = authority.Tainted
		}
	}
	state, err := call(ctx, t, authorityMethod+"GetX509AuthorityState", step, func(ctx context.Context, s api) (*authorityv1.GetX509AuthorityStateResponse, error) {
		return s.authority.GetX509AuthorityState(ctx, &authorityv1.GetX509AuthorityStateRequest{})
	})
	take(state.GetActive(), state.GetPrepared(), state.GetOld())
	return s, err
}

const authorityMethod = "localauthority.v1.LocalAuthority/"

// change is a call of the LocalAuthority service.
func change[R any](ctx context.Context, t *Target, name, step string, do func(ctx context.Context, c authorityv1.LocalAuthorityClient) (R, error)) (R, error) {
	return call(ctx, t, authorityMethod+name, step, func(ctx context.Context, s api) (R, error) { return do(ctx, s.authority) })
}

func (t *Target) prepare(ctx context.Context, r Rotation, s authorities) (Rotation, error) {
	const step = "prepare a new authority"
	switch {
	case s.active == r.Retire && s.prepared != "":
		// By the try before this one, or by SPIRE's own rotation: it is new.
		r.New = s.prepared
	case s.active == r.Retire && r.Kind == JWTAuthority:
		made, err := change(ctx, t, "PrepareJWTAuthority", step, func(ctx context.Context, c authorityv1.LocalAuthorityClient) (*authorityv1.PrepareJWTAuthorityResponse, error) {
			return c.PrepareJWTAuthority(ctx, &authorityv1.PrepareJWTAuthorityRequest{})
		})
		if err != nil {
			return r, err
		}
		r.New = made.GetPreparedAuthority().GetAuthorityId()
	case s.active == r.Retire:
		made, err := change(ctx, t, "PrepareX509Authority", step, func(ctx context.Context, c authorityv1.LocalAuthorityClient) (*authorityv1.PrepareX509AuthorityResponse, error) {
			return c.PrepareX509Authority(ctx, &authorityv1.PrepareX509AuthorityRequest{})
		})
		if err != nil {
			return r, err
		}
		r.New = made.GetPreparedAuthority().GetAuthorityId()
	case s.old == r.Retire: // SPIRE has rotated by itself since
		r.New = s.active
	default:
		return r, impossible(step, fmt.Errorf("authority %s neither signs nor is the one that signed before: start anew", r.Retire))
	}
	r.Step, r.NotBefore = Prepared, t.now().Add(t.cfg.RotationPause)
	return r, nil
}

func (t *Target) activate(ctx context.Context, r Rotation, s authorities) (Rotation, error) {
	const step = "activate the new authority"
	var err error
	switch {
	case s.active == r.New:
	case s.prepared != r.New || r.New == "":
		err = impossible(step, fmt.Errorf("authority %s is not prepared any more: start anew", r.New))
	case r.Kind == JWTAuthority:
		_, err = change(ctx, t, "ActivateJWTAuthority", step, func(ctx context.Context, c authorityv1.LocalAuthorityClient) (*authorityv1.ActivateJWTAuthorityResponse, error) {
			return c.ActivateJWTAuthority(ctx, &authorityv1.ActivateJWTAuthorityRequest{AuthorityId: r.New})
		})
	default:
		_, err = change(ctx, t, "ActivateX509Authority", step, func(ctx context.Context, c authorityv1.LocalAuthorityClient) (*authorityv1.ActivateX509AuthorityResponse, error) {
			return c.ActivateX509Authority(ctx, &authorityv1.ActivateX509AuthorityRequest{AuthorityId: r.New})
		})
	}
	if err != nil {
		return r, err
	}
	r.Step, r.NotBefore = Activated, time.Time{}
	return r, nil
}

func (t *Target) taint(ctx context.Context, r Rotation, s authorities) (Rotation, error) {
	const step = "taint the old authority"
	var err error
	switch tainted, there := s.bundle[r.Retire]; {
	case tainted || !there:
	case s.old != r.Retire:
		err = impossible(step, fmt.Errorf("SPIRE taints only the authority that signed just before, and that is not %s any more: start anew", r.Retire))
	case r.Kind == JWTAuthority:
		_, err = change(ctx, t, "TaintJWTAuthority", step, func(ctx context.Context, c authorityv1.LocalAuthorityClient) (*authorityv1.TaintJWTAuthorityResponse, error) {
			return c.TaintJWTAuthority(ctx, &authorityv1.TaintJWTAuthorityRequest{AuthorityId: r.Retire})
		})
	default:
		_, err = change(ctx, t, "TaintX509Authority", step, func(ctx context.Context, c authorityv1.LocalAuthorityClient) (*authorityv1.TaintX509AuthorityResponse, error) {
			return c.TaintX509Authority(ctx, &authorityv1.TaintX509AuthorityRequest{AuthorityId: r.Retire})
		})
	}
	if err != nil {
		return r, err
	}
	r.Step, r.NotBefore = Tainted, t.now().Add(t.cfg.RotationPause)
	return r, nil
}

func (t *Target) revokeAuthority(ctx context.Context, r Rotation, s authorities) (Rotation, error) {
	const step = "revoke the old authority"
	var err error
	switch tainted, there := s.bundle[r.Retire]; {
	case !there:
	case !tainted:
		err = impossible(step, fmt.Errorf("authority %s is not tainted: start anew", r.Retire))
	case r.Kind == JWTAuthority:
		_, err = change(ctx, t, "RevokeJWTAuthority", step, func(ctx context.Context, c authorityv1.LocalAuthorityClient) (*authorityv1.RevokeJWTAuthorityResponse, error) {
			return c.RevokeJWTAuthority(ctx, &authorityv1.RevokeJWTAuthorityRequest{AuthorityId: r.Retire})
		})
	default:
		_, err = change(ctx, t, "RevokeX509Authority", step, func(ctx context.Context, c authorityv1.LocalAuthorityClient) (*authorityv1.RevokeX509AuthorityResponse, error) {
			return c.RevokeX509Authority(ctx, &authorityv1.RevokeX509AuthorityRequest{AuthorityId: r.Retire})
		})
	}
	if err != nil {
		return r, err
	}
	r.Step, r.NotBefore = Revoked, time.Time{}
	return r, nil
}
