// Package oauth revokes the tokens of an OAuth 2.0 authorization server by
// RFC 7009, and has it proven by RFC 7662.
//
// # What can be revoked
//
// The endpoint of RFC 7009 takes a token, and Leastwise never stores one: the
// key of a credential is its jti, or a hash. So a token is revoked only if
// somebody else keeps it: the registry that issued it, in a directory or in a
// Vault (Source). It is read when it is needed, never stored and never logged.
// Where an issuer takes its own ids in place of tokens, Config.TokenSource.ID
// says so. Everything else is Impossible, with what the operator can do:
// grants, sessions and clients are ended by administration APIs that no
// standard describes.
//
// # What it promises
//
// "Gone" is said only when the issuer calls a token inactive which it called
// active before (Credential.Found remembers by hash which one), or when a
// signed token's own time is over. RFC 7009 answers 200 for unknown tokens,
// and RFC 7662 `active: false`, so by themselves both prove nothing.
//
// A token that the issuer signed works at every server that does not ask,
// until its exp: Proof.WorksUntil. Where the issuer can neither introspect nor
// revoke such a token (oidc-provider answers unsupported_token_type, RFC 7009,
// section 2.2.1) what ends is the refresh token kept beside it, so that no
// further one is given. Without that Revoke is Impossible and wraps
// target.ErrIssuerCannot: then only those who accept it can refuse it, and they
// are told (package ssf).
//
// # What blocks, and what it may lose
//
// Calls block for at most Config.Timeout a request and are not retried: an
// error does not say that nothing was done. The issuer's metadata and keys are
// kept in memory for an hour. Nothing is re-issued here: scopes of a client are
// set at the issuer.
package oauth
