package spire

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	agentv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/agent/v1"
	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/leastwise/leastwise/enforcer/target"
	"github.com/leastwise/leastwise/schemas"
)

// IssuedBy names SVIDs by what issued them; one of Entry and Agent is set.
type IssuedBy struct {
	// Entry is an entry's id, Agent the SPIFFE ID of the agent that SVIDs were
	// issued through, its own included.
	Entry, Agent string
	// Type is x509_svid or jwt_svid; empty: both.
	Type string
}

// Issued tells when the last of these SVIDs expires, as the logs show it.
// known is false where the logs may not be whole.
type Issued func(ctx context.Context, by IssuedBy) (latest time.Time, known bool, err error)

// Deps are what the wiring gives. The zero value is the real clock and no
// knowledge of what was issued.
type Deps struct {
	Now    func() time.Time
	Issued Issued

	dial []grpc.DialOption // of tests: lost answers
}

// Target is a SPIRE server.
type Target struct {
	cfg    Config
	now    func() time.Time
	issued Issued
	server server
}

// Open checks the configuration. It connects at the first call.
func Open(cfg Config, deps Deps) (*Target, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	t := &Target{cfg: cfg, now: deps.Now, issued: deps.Issued, server: server{cfg: cfg, options: deps.dial}}
	if t.now == nil {
		t.now = time.Now
	}
	return t, nil
}

// Close ends the connection. A call after it makes another.
func (t *Target) Close() error { return t.server.close() }

// kind is what a credential was issued by.
type kind interface {
	lookup(ctx context.Context) (target.Sighting, error)
	revoke(ctx context.Context) error
	verify(ctx context.Context) (target.Proof, error)
	collateral(ctx context.Context) ([]target.Hit, error)
	restore(ctx context.Context) error
	// own is whether the enforcer would cut itself off.
	own(ctx context.Context) (bool, error)
}

// unresolved says why nobody knows what issued a credential.
type unresolved struct{ detail string }

func (u *unresolved) Error() string { return u.detail }

func (t *Target) of(ctx context.Context, c target.Credential) (kind, error) {
	key, err := schemas.ParseKey(c.Key)
	if err != nil {
		return nil, impossible("read the credential's key", err)
	}
	if key.System != "spire" || key.Instance != t.cfg.Instance {
		return nil, impossible("read the credential's key", fmt.Errorf("%s is not of spire/%s", c.Key, t.cfg.Instance))
	}
	if key.Type != "x509_svid" && key.Type != "jwt_svid" {
		return nil, impossible("revoke a "+key.Type, target.ErrUnsupported)
	}
	id, err := spiffeid.FromString(c.Labels["spiffe_id"])
	if err != nil {
		return nil, &unresolved{"its labels hold no SPIFFE ID: what issued it is not known"}
	}
	domain, err := t.trustDomain(ctx)
	if err != nil {
		return nil, err
	}
	if id.TrustDomain().Name() != domain {
		return nil, &unresolved{fmt.Sprintf("it is of trust domain %s, and this server of %s", id.TrustDomain().Name(), domain)}
	}
	switch entry := c.Labels["entry_id"]; {
	case entry != "":
		former, err := formerEntry(c.Restore)
		if err != nil {
			return nil, err
		}
		return &byEntry{t: t, c: c, id: entry, spiffeID: id, jwt: key.Type == "jwt_svid", former: former}, nil
	case strings.HasPrefix(id.Path(), "/spire/agent/") && key.Type == "x509_svid":
		return &byAgent{t: t, c: c, id: id, serial: key.ID}, nil
	default:
		return nil, &unresolved{"its labels name no entry (an SVID minted at the server has none): only a rotation of the signing authority ends it"}
	}
}

// Lookup tells whether SPIRE still issues by what issued the credential.
func (t *Target) Lookup(ctx context.Context, c target.Credential) (target.Sighting, error) {
	if own, err := t.isOwnKey(ctx, c.Key); err != nil {
		return target.Sighting{}, err
	} else if own {
		return target.Sighting{Status: target.Alive, Found: c.Key, Detail: "it is the enforcer's own"}, nil
	}
	k, err := t.of(ctx, c)
	var u *unresolved
	if errors.As(err, &u) {
		return target.Sighting{Detail: u.detail}, nil
	}
	if err != nil {
		return target.Sighting{}, err
	}
	return k.lookup(ctx)
}

// Revoke ends what issued the credential.
func (t *Target) Revoke(ctx context.Context, c target.Credential) error {
	const step = "revoke the SVID"
	if own, err := t.isOwnKey(ctx, c.Key); err != nil {
		return err
	} else if own {
		return impossible(step, target.ErrOwn)
	}
	k, err := t.of(ctx, c)
	var u *unresolved
	if errors.As(err, &u) {
		return impossible(step, u)
	}
	if err != nil {
		return err
	}
	if own, err := k.own(ctx); err != nil {
		return err
	} else if own {
		return impossible(step, target.ErrOwn)
	}
	return k.revoke(ctx)
}

// Verify asks SPIRE whether it issues no more, and says until when what it
// issued is accepted.
func (t *Target) Verify(ctx context.Context, c target.Credential) (target.Proof, error) {
	k, err := t.of(ctx, c)
	var u *unresolved
	if errors.As(err, &u) {
		return target.Proof{Text: u.detail}, nil
	}
	if err != nil {
		return target.Proof{}, err
	}
	return k.verify(ctx)
}

// Collateral are the entries whose workloads get no SVIDs any more.
func (t *Target) Collateral(ctx context.Context, c target.Credential) ([]target.Hit, error) {
	k, err := t.of(ctx, c)
	var u *unresolved
	if errors.As(err, &u) {
		return nil, impossible("tell what else ends", u)
	}
	if err != nil {
		return nil, err
	}
	return k.collateral(ctx)
}

// Restore gives back what was taken: the entry, or its TTLs, as they were; a
// ban is lifted. An agent that was evicted comes back by itself.
func (t *Target) Restore(ctx context.Context, c target.Credential) error {
	k, err := t.of(ctx, c)
	var u *unresolved
	if errors.As(err, &u) {
		return impossible("give it back", u)
	}
	if err != nil {
		return err
	}
	return k.restore(ctx)
}

// Live counts entries and agents that are not banned: each is a right to
// SVIDs. What was issued SPIRE does not list.
func (t *Target) Live(ctx context.Context) (int, error) {
	entries, err := call(ctx, t, countEntries, "count entries", func(ctx context.Context, s api) (*entryv1.CountEntriesResponse, error) {
		return s.entry.CountEntries(ctx, &entryv1.CountEntriesRequest{})
	})
	if err != nil {
		return 0, err
	}
	agents, err := call(ctx, t, countAgents, "count agents", func(ctx context.Context, s api) (*agentv1.CountAgentsResponse, error) {
		return s.agent.CountAgents(ctx, &agentv1.CountAgentsRequest{Filter: &agentv1.CountAgentsRequest_Filter{ByBanned: wrapperspb.Bool(false)}})
	})
	return int(entries.GetCount() + agents.GetCount()), err
}

// Protected are the enforcer's own SVIDs, its SPIFFE ID, its entries and those
// that they hang on, and the agents that it gets its SVID through. Over the
// admin socket it has none.
func (t *Target) Protected(ctx context.Context) ([]string, error) {
	self, err := t.self(ctx)
	if err != nil {
		return nil, err
	}
	var keys []string
	add := func(kind, id string) {
		keys = append(keys, schemas.Key{System: "spire", Instance: t.cfg.Instance, Type: kind, ID: id}.String())
	}
	for _, serial := range self.serials {
		add("x509_svid", serial)
	}
	if self.id != "" {
		add("spiffe_id", self.id)
	}
	for _, e := range self.entries {
		add("entry", e.Id)
	}
	for _, a := range self.agents {
		add("spiffe_id", text(a.Id))
		if a.X509SvidSerialNumber != "" {
			add("x509_svid", a.X509SvidSerialNumber)
		}
	}
	return keys, nil
}

func (t *Target) isOwnKey(ctx context.Context, key string) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, &target.Error{Op: "read the enforcer's own SVID", Err: err}
	}
	keys, err := t.Protected(ctx)
	return slices.Contains(keys, key), err
}
