// Package jwtregistry reads registries of issued tokens, and tells what happened to each: a file, an HTTP API or a Kafka
// topic of records in the schema schemas/jsonschema/jwt-registry.schema.json, of bare claims, of Keycloak's events, or of
// Vault's answers to identity/oidc/token.
//
// # What a record becomes
//
// A token is jwtregistry/INSTANCE/jwt/JTI, or .../jwt/sha256:HASH where it has no jti. Its holder is
// jwtregistry/INSTANCE/subject/ISS|SUB. Scopes are its policies, sorted.
//
//	issued        ISSUED      event 0, with lifetime, scopes, audience, client, actor and binding
//	renewed       RENEWED     the same token lives longer; or ISSUED and, of the token it replaces, ROTATED (event 1)
//	revoked       REVOKED
//	introspected  OBSERVED    active; REVOKED if inactive before its end, NOTED if it had just expired
//	used, denied  USED, DENIED
//	other words   UNKNOWN     kept
//
// A token exchanged for another names it as its parent. It does not end with it unless the record says ends_with_parent:
// then it is LINKED under its parent, too (event 2).
//
// Keycloak: a login is a session, tokens are issued within it. A refresh token ends with the session; an access token does
// not, since a resource server that does not introspect takes it until it expires.
//
// # Signatures
//
// Where a record holds a token whole and keys are configured, its signature is verified, and the claims that the issuer
// signed win over what the record says. The label verified tells the result: true, false, unknown_key (the key that the
// token names is not in the issuer's set) or unchecked (no keys are configured). A token whose signature is wrong is told
// under its own hash, with outcome FAILURE, apart from the token whose jti it bears, and with no holder and no scopes:
// its claims stand in claimed_* labels, and the key that it names in key_id. One that was only used is OBSERVED as well
// (event 8), so that these are labels of the credential. The collector makes findings of such tokens, one for each issuer
// and key that they name. What a record becomes so depends on the keys at the time it is read; its ids do
// not.
//
// # What is never copied
//
// Of a token nothing but its claims that are known, and its hash. Of Keycloak's details nothing but ids, scopes, audience
// and the names of methods; of admin events not what was changed to.
//
// # The collector
//
// A file is followed by inode, an API by its cursor or by time, a topic by a consumer group's offsets; each is remembered
// after the events are published, so that a crash repeats some events with the same ids and loses none. While Kafka is
// away nothing is read: publishing blocks. A key that is not known makes the decoder ask the issuer for its keys, which
// blocks for five seconds at most, once a minute at most. An introspection's answer is an observation of its time: one
// that was not published when the process died is asked for again.
package jwtregistry
