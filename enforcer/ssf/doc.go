// Package ssf tells those who accept credentials that one was taken away: it
// is a transmitter of OpenID's Shared Signals Framework 1.0 that sends CAEP 1.0
// events (session-revoked, credential-change) as signed Security Event Tokens.
//
// A self-contained token works at every server that does not ask its issuer.
// This package is how such a server learns of the revocation all the same.
//
// # What it promises
//
// Delivery is at least once. The jti of a token is made of the ladder that
// revoked and of the event's type, so whoever is told twice, after a restart or
// a lost answer, sees the same jti and may drop it (RFC 8417, section 2.2). The
// payload differs in its times alone.
//
// Transmit says nil only when every receiver has the event: a pushed one was
// answered 202 (RFC 8935, section 2.2), a polled one acknowledged (RFC 8936,
// section 2.4). Until then the ladder stays open in the journal and asks again,
// also after a restart; nothing else is stored.
//
// # What blocks, and what it may lose
//
// Transmit does not block. Run delivers until its context ends. An event that a
// receiver does not take within Config.GiveUp is given up, counted and logged:
// a receiver that is away for longer misses it. A receiver that polls asks
// every enforcer of the site, since each keeps the events of its own
// partitions.
//
// # What it refuses to do
//
// Streams are configured by the operator alone: there is no endpoint to create
// one or to add subjects (SSF 1.0, section 8 is not offered). No token and no
// secret is ever in an event: a credential is named by its jti, its subject, or
// its key.
package ssf
