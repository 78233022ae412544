package schemas

import "github.com/leastwise/leastwise/schemas/leastwisev1"

// Kinds of findings that sources and their comparison give; those about identities are package identity's.
const (
	// A certificate transparency log does not do what it is there for; each is an alarm of package certlog.
	FindingLogBadSignature     = "ct_bad_signature"
	FindingLogRewrittenHistory = "ct_rewritten_history"
	FindingLogShrunkTree       = "ct_shrunk_tree"
	FindingLogWrongInclusion   = "ct_wrong_inclusion"
	FindingLogGap              = "ct_gap"
	FindingLogUnproven         = "ct_unproven"
	// FindingUnverifiedToken: tokens are shown whose signature the issuer's keys did not make.
	FindingUnverifiedToken = "unverified_token"
	// FindingUnissuedCertificate: a certificate in a trust domain of ours that no issuer of ours tells of.
	FindingUnissuedCertificate = "unissued_certificate"
	// FindingRoleDrift: a role or policy of an issuer was changed, and neither by the enforcer nor accepted by anybody.
	FindingRoleDrift = "role_drift"
	// FindingRoleBeyondPolicy: a role of an issuer can issue what admission would refuse without a justification.
	FindingRoleBeyondPolicy = "role_beyond_policy"
	// FindingRoleUnjudged: what a role can issue is not known as far as an enforced policy asks for it.
	FindingRoleUnjudged = "role_unjudged"
)

// FindingKinds is the closed set: metrics use it as a label.
func FindingKinds() []string {
	return []string{FindingLogBadSignature, FindingLogRewrittenHistory, FindingLogShrunkTree, FindingLogWrongInclusion,
		FindingLogGap, FindingLogUnproven, FindingUnverifiedToken, FindingUnissuedCertificate, FindingRoleDrift,
		FindingRoleBeyondPolicy, FindingRoleUnjudged}
}

// FindingKey is the key of a finding's message: what it replaces, whoever of the sources and processors says it.
func FindingKey(f *leastwisev1.Finding) string {
	return "finding/" + f.Source + "/" + f.Instance + "/" + f.Kind + "/" + f.Subject
}
