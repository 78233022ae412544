// Package certlog reads certificate transparency logs, RFC 6962 and static-ct alike, and tells which certificates were
// issued to the workloads and names of the site, whoever issued them.
//
// # What an entry becomes
//
// A certificate or precertificate of interest gives one event ISSUED, with its validity, under the key
//
//	certlog/INSTANCE/certificate/ISSUER-SERIAL
//
// where ISSUER is the SHA-256 of the issuer's public key in hex. The entry of a precertificate holds that hash; for a
// certificate it is taken from the chain beside it, which no log signs: it counts only if that key made the
// certificate's signature. So a precertificate and its certificate are one credential, also when they come from two logs.
// Without such a chain ISSUER is "name-" and the SHA-256 of the issuer's name, and the label issuer_key says "unproven".
//
// Of interest is what carries one of the configured trust domains in a URI SAN or a name under one of the configured
// domains; without configured trust domains, any SPIFFE URI; with All, everything. The rest gives no event.
//
// A certificate is an X509-SVID if it has exactly one URI SAN, which is a SPIFFE ID with a path, and is neither a CA nor
// allowed to sign certificates or revocation lists. Only then it has the principal certlog/INSTANCE/spiffe_id/ID.
// Otherwise the label not_svid says why. The label own_trust_domain=true marks a certificate with a trust domain of ours:
// if no issuer of ours tells of it, the processor makes that a finding.
//
// # What a log must prove
//
// Collector believes nothing that the log's key does not cover. A tree head counts when its signature verifies and the log
// proves that it continues the last one that counted. Entries are hashed into a tree from the first one read. Before a
// batch is published, either a sample of it is proven to stand in the signed tree (verify: sampled), or all of it is
// (verify: full); and whenever reading reaches the end of a signed tree, both ways, the own tree must have its root.
// Reading from the middle of a log (start: now) begins with a tree that is proven, too.
//
// What fails is an alarm: one event NOTED with the label alarm, a finding about the log that stands until it answers as it
// should, and nothing more is read of that log until then. Nothing is skipped. The kinds:
//
//	bad_signature      the tree head is not signed by the configured key
//	rewritten_history  a tree head does not continue the one before
//	shrunk_tree        a newer tree head has fewer entries
//	wrong_inclusion    entries are not those of the signed tree
//	gap                entries under a signed tree head are withheld or can not be read, several times over
//	unproven           proofs under a signed tree head are withheld or can not be read, several times over
//
// A log that can not be reached, or says that it is busy, is in trouble, but that is no alarm.
//
// # What is parsed with what
//
// X.509 is parsed by the fork of crypto/x509 in certificate-transparency-go: it reads bare TBSCertificates, which
// precertificate entries hold, and takes certificates that break rules in ways that public CAs do. Subject alternative
// names are read here, so that no name is left out because another is invalid. What it can not parse is malformed.
//
// # What may be lost, and what blocks
//
// Nothing is lost as long as the log keeps its entries. The checkpoint (tree size, root hash, position, and the hashes of
// the tree up to there) moves after publishing: after a crash some entries are published again, with the same ids.
// While Kafka is away nothing is read. One log that is slow or in trouble does not hold up the others' reading, but each
// log has at most one batch in memory.
package certlog
