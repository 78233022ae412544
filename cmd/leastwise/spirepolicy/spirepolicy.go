// Package spirepolicy writes an authorization policy for SPIRE server's own policy engine
// (experimental.auth_opa_policy_engine): it keeps SPIRE's default rules and refuses entries that live longer than policy
// lets them, are an administrator's or downstream, or whose SPIFFE ID nobody answers for, unless an exception names them.
//
// The limits are not written a second time: Generate asks the same policies, by the same Rego at issuance, how long an
// SVID of each SPIFFE ID of the catalog may live. SPIRE reads the files when it starts, so they are written anew, and the
// server restarted, when policies, catalog or exceptions change; that an exception ends needs neither.
//
// Nothing is kept and nothing asked over a network. See https://github.com/spiffe/spire/blob/v1.13.3/doc/authorization_policy_engine.md
package spirepolicy

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/enforcer/exception"
	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/rego"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Rego is the policy; its data are what Generate gives.
//
//go:embed admission.rego
var Rego []byte

// apis is SPIRE 1.13.3's pkg/server/authpolicy/policy_data.json (Apache-2.0, the SPIRE authors).
//
//go:embed apis.json
var apis []byte

// What an exception names, besides a policy's id, to let an entry be what no policy is about; "*" lets everything.
const (
	Admin      = "spire-admin"
	Downstream = "spire-downstream"
	Owner      = "spire-owner"
)

// unlimited stands for no limit.
const unlimited = -1

// Options say what the policy is written from.
type Options struct {
	Rules      *rego.Set
	Catalog    *catalog.Catalog
	Exceptions []*pb.Exception
	// Instance is the SPIRE server's name in keys; "default" if it is empty.
	Instance string
	// DefaultX509 and DefaultJWT are the server's own default TTLs; 0: not known, and entries that rely on them are refused
	// where there is a limit.
	DefaultX509, DefaultJWT time.Duration
	// Trusted are callers, by SPIFFE ID, whose requests are not judged: the enforcer.
	Trusted []string
	// APIs is the policy_data.json of the server's own release; empty: that of 1.13.3.
	APIs []byte
	Now  time.Time
}

// Identity is what entries of one SPIFFE ID may be. A TTL is in seconds, or -1 if there is no limit.
type Identity struct {
	Owner string `json:"owner"`
	X509  int64  `json:"x509"`
	JWT   int64  `json:"jwt"`
}

// Grant is what exceptions let beyond that, until one of them ends.
type Grant struct {
	Exceptions []string `json:"exceptions"`
	Until      string   `json:"until"`
	UntilNS    int64    `json:"until_ns"`
	X509       int64    `json:"x509"`
	JWT        int64    `json:"jwt"`
	Admin      bool     `json:"admin"`
	Downstream bool     `json:"downstream"`
	Owner      bool     `json:"owner"`
}

// Limits is data.leastwise.
type Limits struct {
	Identities map[string]Identity `json:"identities"`
	Grants     map[string][]Grant  `json:"grants"`
	// Strictest is the least of all limits, for calls that do not say whose entry they are about.
	Strictest map[string]int64 `json:"strictest"`
	Defaults  map[string]int64 `json:"defaults"`
	Trusted   []string         `json:"trusted"`
	Policies  string           `json:"policies_revision"`
	Catalog   string           `json:"catalog_revision"`
}

// Generate gives the policy's data and, for a reader, what is in them.
func Generate(ctx context.Context, o Options) (data []byte, limits Limits, err error) {
	if o.Instance == "" {
		o.Instance = "default"
	}
	limits = Limits{Identities: map[string]Identity{}, Grants: map[string][]Grant{}, Defaults: map[string]int64{},
		Strictest: map[string]int64{"x509": unlimited, "jwt": unlimited}, Trusted: []string{}, Policies: o.Rules.Revision()}
	if o.Catalog != nil {
		limits.Catalog = o.Catalog.Revision()
	}
	for _, id := range o.Trusted {
		if !strings.HasPrefix(id, "spiffe://") {
			return nil, limits, fmt.Errorf("trusted caller %q is no SPIFFE ID", id)
		}
		limits.Trusted = append(limits.Trusted, id)
	}
	for kind, ttl := range map[string]time.Duration{"x509": o.DefaultX509, "jwt": o.DefaultJWT} {
		if ttl > 0 {
			limits.Defaults[kind] = int64(math.Ceil(ttl.Seconds()))
		}
	}
	a := asker{o: o, points: points(o.Rules)}
	for _, id := range o.Catalog.SPIFFEIDs() {
		known, err := a.identity(ctx, id, nil)
		if err != nil {
			return nil, limits, err
		}
		limits.Identities[id] = known
	}
	// Who is not in the catalog is refused anyway, but counts for what an update without a name may do.
	anybody, err := a.identity(ctx, "", nil)
	if err != nil {
		return nil, limits, err
	}
	limits.stricter(anybody)
	for _, known := range limits.Identities {
		limits.stricter(known)
	}
	if err := a.grants(ctx, limits.Grants); err != nil {
		return nil, limits, err
	}
	base := o.APIs
	if len(base) == 0 {
		base = apis
	}
	var all map[string]any
	if err := json.Unmarshal(base, &all); err != nil {
		return nil, limits, fmt.Errorf("SPIRE's policy_data.json: %w", err)
	}
	if list, ok := all["apis"].([]any); !ok || len(list) == 0 {
		return nil, limits, errors.New("SPIRE's policy_data.json holds no apis")
	}
	all["leastwise"] = limits
	data, err = json.MarshalIndent(all, "", "  ")
	return append(data, '\n'), limits, err
}

func (l *Limits) stricter(id Identity) {
	for kind, ttl := range map[string]int64{"x509": id.X509, "jwt": id.JWT} {
		if ttl >= 0 && (l.Strictest[kind] < 0 || ttl < l.Strictest[kind]) {
			l.Strictest[kind] = ttl
		}
	}
}

// asker asks the policies how long an SVID may live.
type asker struct {
	o      Options
	points []int64
}

// points are the lifetimes, longest first, between which no policy decides otherwise; the first is past all thresholds.
func points(rules *rego.Set) []int64 {
	list := []int64{1}
	for _, p := range rules.Policies() {
		for _, m := range p.Metrics {
			if m.Metric == rego.Lifetime || m.Metric == rego.CredentialAge {
				at := int64(m.Value)
				list = append(list, at-1, at, at+1)
			}
		}
	}
	slices.Sort(list)
	list = slices.Compact(list)
	list = slices.DeleteFunc(list, func(n int64) bool { return n < 1 })
	list = append(list, list[len(list)-1]+1)
	slices.Reverse(list)
	return list
}

// identity is what entries of a SPIFFE ID may be once some policies are excepted.
func (a *asker) identity(ctx context.Context, id string, excepted []string) (Identity, error) {
	var out Identity
	for _, kind := range []struct {
		name string
		ttl  *int64
	}{{"x509_svid", &out.X509}, {"jwt_svid", &out.JWT}} {
		sub := rego.Subject{Type: kind.name, Source: "spire"}
		if id != "" {
			sub.Principal = schemas.Key{System: "spire", Instance: a.o.Instance, Type: "spiffe_id", ID: id}.String()
			sub.Labels = map[string]string{"spiffe_id": id}
			m := a.o.Catalog.Resolve(catalog.Query{Principal: sub.Principal, Source: sub.Source, Type: sub.Type, Labels: sub.Labels})
			if m.Agent != nil {
				sub.Agent = m.Agent.ID
			}
			if m.Owner != nil {
				sub.Owner, out.Owner = m.Owner.ID, m.Owner.ID
			}
		}
		var err error
		if *kind.ttl, err = a.longest(ctx, sub, excepted); err != nil {
			return out, fmt.Errorf("ask the policies about %s: %w", id, err)
		}
	}
	return out, nil
}

// longest is the longest lifetime that nobody has to justify; 0 if there is none.
func (a *asker) longest(ctx context.Context, sub rego.Subject, excepted []string) (int64, error) {
	if slices.Contains(excepted, "*") {
		return unlimited, nil
	}
	zero := 0.0 // an SVID says who somebody is, and grants nothing by itself
	for i, n := range a.points {
		life := time.Duration(n) * time.Second
		r := rego.Request{Subject: sub, Lifetime: &life, Complexity: &zero, Weight: &zero}
		if i == 0 {
			r.Lifetime, r.NeverExpires = nil, true
		}
		answer, err := a.o.Rules.Admit(ctx, &r)
		if err != nil {
			return 0, err
		}
		// Whether anybody answers for it is a rule of its own here.
		against := slices.ContainsFunc(answer.Justify, func(f rego.Finding) bool {
			return f.Metric != rego.UnresolvedIdentity && !slices.Contains(excepted, f.PolicyID)
		})
		if !against {
			if i == 0 {
				return unlimited, nil
			}
			return n, nil
		}
	}
	return 0, nil
}

// grants adds, for each identity that valid exceptions name, what holds until each of them ends.
func (a *asker) grants(ctx context.Context, into map[string][]Grant) error {
	prefix := schemas.Key{System: "spire", Instance: a.o.Instance, Type: "spiffe_id"}.String()
	by := map[string][]*pb.Exception{}
	for _, e := range a.o.Exceptions {
		if id, ok := strings.CutPrefix(e.Identity, prefix); ok && exception.Valid(e, a.o.Now) {
			by[id] = append(by[id], e)
		}
	}
	for id, list := range by {
		slices.SortFunc(list, func(x, y *pb.Exception) int { return x.Until.AsTime().Compare(y.Until.AsTime()) })
		for i, first := range list {
			var names, policies []string
			for _, e := range list[i:] { // all that hold at least as long
				names, policies = append(names, e.Id), append(policies, e.PolicyId)
			}
			known, err := a.identity(ctx, id, policies)
			if err != nil {
				return err
			}
			lets := func(what string) bool { return slices.Contains(policies, what) || slices.Contains(policies, "*") }
			until := first.Until.AsTime()
			into[id] = append(into[id], Grant{Exceptions: names, Until: until.UTC().Format(time.RFC3339), UntilNS: until.UnixNano(),
				X509: known.X509, JWT: known.JWT, Admin: lets(Admin), Downstream: lets(Downstream), Owner: lets(Owner)})
		}
	}
	return nil
}
