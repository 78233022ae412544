package schemas

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
)

// FindingKinds is the closed set: metrics use it as a label.
func FindingKinds() []string {
	return []string{FindingLogBadSignature, FindingLogRewrittenHistory, FindingLogShrunkTree, FindingLogWrongInclusion,
		FindingLogGap, FindingLogUnproven, FindingUnverifiedToken, FindingUnissuedCertificate}
}
