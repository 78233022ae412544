// Package spire takes SVIDs away at a SPIRE server, as far as that can be done.
//
// An SVID that was issued lives until it expires: nobody who accepts it asks
// the server. What can be ended is its issuance. So "gone" means here that
// SPIRE issues no more by what issued the credential, and Proof.WorksUntil
// says how long what was issued is yet accepted:
//
//	workload's SVID   the entry's TTL is cut (shorten), or the entry deleted (delete)
//	agent's SVID      the agent is deleted and has to attest again (evict), or may not (ban)
//
// The time of exposure is the latest expiry that was seen issued, if the
// wiring knows it (Deps.Issued). Otherwise it is an upper bound that holds
// whatever was issued: the TTL that the entry had, counted from when it ended;
// where that TTL is the server's default, or was changed before, the end of
// the last signing authority in the bundle.
//
// What an SVID was issued by is in the credential's labels, as the collector
// writes them: entry_id and spiffe_id, of an agent's own spiffe_id alone. An
// SVID minted at the server (MintX509SVID) has no entry: nothing but a rotation
// of the authority ends it.
//
// Rotation of an authority ends every SVID of a trust domain. The ladder does
// not reach it: see Rotation.
//
// Calls block until the server answers, the context ends or Config.Timeout has
// passed. Nothing is retried and nothing kept but the connection.
package spire
