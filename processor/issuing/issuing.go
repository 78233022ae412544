// Package issuing says what a role of Vault could issue: of which type, for how long at most, and with which policies. It
// reads what the collector's inventory told of the role and of its mount, and asks nobody.
//
// What a role does not decide is not held against it: who takes a token from a token role, or a certificate of a PKI role, is
// somebody else each time; what a database user may do stands in the database. What is not known is said to be unknown.
package issuing

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leastwise/leastwise/rego"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Role is one role by which a mount of Vault issues.
type Role struct {
	// Key is system/instance/role/MOUNT/NAME: what an exception of the role names as identity.
	Key, Instance string
	// Mount is without a slash at its end: auth/approle, pki.
	Mount, Name string
	// Type of what it issues: token, certificate or lease.
	Type string
	// Policies that it may give, sorted; PoliciesWhy says why they are not all; empty if they are.
	Policies    []string
	PoliciesWhy string
	// Life is the longest that what it issues can live, NeverExpires that it can be renewed for ever. With neither it is
	// unknown, and LifeWhy says why.
	Life         *time.Duration
	NeverExpires bool
	LifeWhy      string
	// Decides are the metrics that the role decides.
	Decides []rego.Metric
}

// Labels are those that credentials of an auth method's role bear.
func (r *Role) Labels() map[string]string {
	return map[string]string{"mount_point": r.Mount + "/", "role_name": r.Name}
}

// unknownMount is why a life is unknown where the role says none.
const unknownMount = "the role names no maximum, and the inventory may not read its mount's"

// Of reads a role's grant. mount gives the grant of a mount by its path, or nil. ok is false if the grant is of no role.
func Of(grant *pb.Grant, mount func(instance, path string) *pb.Grant) (r Role, ok bool) {
	key, err := schemas.ParseKey(grant.Id)
	at := strings.LastIndexByte(key.ID, '/')
	if err != nil || key.System != "vault" || key.Type != "role" || at < 0 || grant.Deleted || len(grant.Rules) != 1 {
		return Role{}, false
	}
	r = Role{Key: grant.Id, Instance: key.Instance, Mount: key.ID[:at], Name: key.ID[at+1:]}
	says := settings(grant)
	policies := schemas.Key{System: "vault", Instance: key.Instance, Type: "policy", ID: ""}.String()
	for _, a := range grant.Attached {
		r.Policies = append(r.Policies, strings.TrimPrefix(a.Grant, policies))
	}
	most := settings(mount(r.Instance, r.Mount))
	r.Decides = []rego.Metric{rego.Lifetime, rego.CredentialAge}
	switch {
	case strings.HasPrefix(r.Mount, "auth/"):
		r.token(says, most)
	case says["mount_type"] == "pki":
		r.Type = "certificate"
		if until, err := time.Parse(time.RFC3339, says["not_after"]); err == nil {
			life := until.Sub(grant.AsOf.AsTime())
			r.Life = &life
			break
		}
		r.within(seconds(most["max_lease_ttl"]), seconds(says["max_ttl"]))
	default:
		r.Type = "lease"
		r.within(seconds(most["max_lease_ttl"]), seconds(says["max_ttl"]), seconds(says["token_max_ttl"]), seconds(says["max_sts_ttl"]))
	}
	return r, true
}

// token reads a role that gives tokens.
// https://developer.hashicorp.com/vault/docs/concepts/tokens#token-time-to-live-periodic-tokens-and-explicit-max-ttls
func (r *Role) token(says, most map[string]string) {
	r.Type = "token"
	r.Decides = append(r.Decides, rego.ScopeComplexity, rego.ScopeWeight)
	adds := says["token_no_default_policy"] != "true"
	if r.Mount == "auth/token" {
		refused := strings.Split(says["disallowed_policies"], ",")
		adds = !slices.Contains(refused, "default")
		switch {
		case says["allowed_policies_glob"] != "":
			r.PoliciesWhy = "allowed_policies_glob allows policies that nobody listed"
		case len(r.Policies) == 0:
			r.PoliciesWhy = "no allowed_policies: a token may hold all that its creator has"
		}
		r.Policies = slices.DeleteFunc(r.Policies, func(name string) bool { return slices.Contains(refused, name) })
	} else { // who takes a token from a token role is somebody else each time
		r.Decides = append(r.Decides, rego.UnresolvedIdentity)
	}
	if adds {
		r.Policies = append(r.Policies, "default")
	}
	slices.Sort(r.Policies)
	r.Policies = slices.Compact(r.Policies)
	explicit, longest := seconds(says["token_explicit_max_ttl"]), seconds(most["max_lease_ttl"])
	switch {
	case seconds(says["token_period"]) > 0 && explicit == 0:
		r.NeverExpires = true
	case seconds(says["token_period"]) > 0: // the mount's maximum does not hold for it
		r.Life = &explicit
	case says["token_type"] == "batch": // not renewed
		first := seconds(says["token_ttl"])
		if first == 0 {
			first = seconds(most["default_lease_ttl"])
		}
		r.within(longest, first, explicit)
	default:
		r.within(longest, explicit, seconds(says["token_max_ttl"]))
	}
}

// within sets the life to the shortest of the bounds that are set, or says that none is known.
func (r *Role) within(bounds ...time.Duration) {
	bounds = slices.DeleteFunc(bounds, func(d time.Duration) bool { return d == 0 })
	if len(bounds) == 0 {
		r.LifeWhy = unknownMount
		return
	}
	life := slices.Min(bounds)
	r.Life = &life
}

// settings of a role or mount, as the inventory tells them: NAME=VALUE.
func settings(grant *pb.Grant) map[string]string {
	out := map[string]string{}
	for _, rule := range grant.GetRules() {
		for _, text := range rule.Capabilities {
			if name, value, ok := strings.Cut(text, "="); ok {
				out[name] = value
			}
		}
	}
	return out
}

// seconds gives 0 for what is not set or can not be read.
func seconds(text string) time.Duration {
	n, err := strconv.ParseInt(text, 10, 64)
	const most = int64(1) << 33 // more than a human life, and far from what a duration can not hold
	if err != nil || n < 0 {
		if d, err := time.ParseDuration(text); err == nil && d > 0 { // some engines write 1h0m0s
			return d
		}
		return 0
	}
	return time.Duration(min(n, most)) * time.Second
}
