package cloudtrail

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/leastwise/leastwise/collectors/awsiam/policy"
	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// A session may be cut down by a policy that is written out in the request: what it may do is what both the role and the
// session's policies allow (https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies.html#policies_session). The
// document becomes a Grant, named by its hash, and the session names it among its policies, as it does the managed ones
// that the request names by ARN.

const (
	// sessionPolicyName is how names of such policies begin.
	sessionPolicyName = "session-policy:"
	// maxSessionPolicies bounds how many different ones are told by one process: whoever assumes a role writes them, and
	// every processor knows all grants. Of what comes beyond it the sessions' scope is unknown: it names what nobody told.
	maxSessionPolicies = 10_000
)

// sessionPolicy gives the name of the grant that a document is, and tells it the first time; empty if it can not be read.
func (d *Decoder) sessionPolicy(text []byte, at time.Time) string {
	sum := sha256.Sum256(text)
	name, known := d.sessions[sum]
	if known {
		return name
	}
	rules, err := policy.Parse(text)
	if err == nil {
		name = sessionPolicyName + hex.EncodeToString(sum[:16])
	}
	if len(d.sessions) >= maxSessionPolicies {
		return name
	}
	d.sessions[sum] = name
	if name != "" && d.opts.Facts != nil {
		id := schemas.Key{System: System, Instance: d.opts.Instance, Type: "policy", ID: name}.String()
		d.opts.Facts(&leastwisev1.Fact{Fact: &leastwisev1.Fact_Grant{Grant: &leastwisev1.Grant{Id: id, Rules: rules, AsOf: timestamp(at)}}})
	}
	return name
}
