package jwtregistry

import (
	"encoding/hex"
	"strings"
	"time"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/valyala/fastjson"
)

// System is the first part of every key and the source of every event of this package.
const System = "jwtregistry"

// SchemaVersion is the version of the registry's own schema that this release reads.
const SchemaVersion = 1

// Indexes of the events of one record. Fixed for ever: event ids are made of them.
const (
	indexToken    = 0 // what happened to the token that the record is about
	indexPrevious = 1 // the token that it takes the place of
	indexLink     = 2 // told under its parent
	// Keycloak's events tell of a session and a refresh token too.
	indexSession     = 3
	indexRefreshUse  = 4
	indexRefresh     = 5
	indexRefreshLink = 6
	indexRefreshOld  = 7
	indexForged      = 8 // a token whose signature is wrong, described
	indexUnknown     = 15
)

// Types of credentials in keys.
const (
	typeJWT     = "jwt"
	typeRefresh = "refresh_token"
	typeSession = "session"
	typeSubject = "subject"
)

// Options of a Decoder. The zero value reads all forms of records and verifies no signature.
type Options struct {
	// Instance names this registry in keys; "default" if empty.
	Instance string
	// Issuer is `iss` where a record names none: the issuer's URL.
	Issuer string
	// KeycloakURL is the base URL of Keycloak, such as https://sso.example.org: its events name the realm alone, and
	// `iss` is URL/realms/NAME. Empty: keycloak:NAME.
	KeycloakURL string
	// VaultInstance is the instance of the vault source whose entities Vault's identity tokens are issued to. Empty:
	// "default".
	VaultInstance string
	// Keys verify the signature of tokens given whole. Nil: signatures are not checked, and events say so.
	Keys *KeySet
	// MaxBytes of a record; 0 is source.DefaultMaxLine.
	MaxBytes int
}

// Decoder turns registry records into events. It is not safe for concurrent use.
type Decoder struct {
	opts    Options
	parser  fastjson.Parser
	payload fastjson.Parser // of a token's claims, while the record is still read
}

// NewDecoder returns a decoder for one registry.
func NewDecoder(opts Options) *Decoder {
	if opts.Instance == "" {
		opts.Instance = "default"
	}
	if opts.VaultInstance == "" {
		opts.VaultInstance = "default"
	}
	opts.KeycloakURL = strings.TrimSuffix(opts.KeycloakURL, "/")
	return &Decoder{opts: opts}
}

// Decode implements source.Decoder.
func (d *Decoder) Decode(dst []*leastwisev1.Event, rec source.Record) ([]*leastwisev1.Event, error) {
	root, err := jsonrecord.Parse(&d.parser, rec.Bytes, d.opts.MaxBytes)
	if err != nil {
		return dst, err
	}
	r := &record{raw: rec, root: root}
	root.GetObject().Visit(r.field)
	switch r.form() {
	case formKeycloak:
		return d.keycloak(dst, r)
	case formVault:
		return d.vault(dst, r)
	case formRegistry:
		return d.registry(dst, r)
	}
	return dst, jsonrecord.Malformed("the record is none of the forms known: the registry schema, claims, a Keycloak event, an answer of Vault's identity/oidc/token")
}

// event starts an event of the record.
func (d *Decoder) event(r *record, index uint32, kind leastwisev1.Event_Kind) *leastwisev1.Event {
	ev := jsonrecord.Event(System, d.opts.Instance, r.recordID(), index, kind, r.at, r.raw)
	ev.Action = r.verb
	ev.Labels = map[string]string{}
	return ev
}

func (d *Decoder) unknown(r *record) *leastwisev1.Event {
	ev := d.event(r, indexUnknown, leastwisev1.Event_UNKNOWN)
	ev.Credential = d.key(typeJWT, jtiOf(r.claims.jti, r.hash))
	return ev
}

// key of a credential or identity; empty if there is no id.
func (d *Decoder) key(kind, id string) string {
	if id == "" {
		return ""
	}
	return schemas.Key{System: System, Instance: d.opts.Instance, Type: kind, ID: id}.String()
}

// jtiOf names a token: by jti, or by the hash of the whole token where there is none.
func jtiOf(jti []byte, hash string) string {
	if len(jti) > 0 {
		return jsonrecord.ID(jti)
	}
	return hash
}

// hashText reads a SHA-256 given in hexadecimal, with or without its name before it; empty if it is none.
func hashText(text []byte) string {
	hexed := strings.ToLower(strings.TrimPrefix(string(text), "sha256:"))
	if raw, err := hex.DecodeString(hexed); err != nil || len(raw) != 32 {
		return ""
	}
	return "sha256:" + hexed
}

// subject is the key of whom a token is issued to. A subject is unique at its issuer alone.
func (d *Decoder) subject(iss, sub []byte) string {
	if len(sub) == 0 {
		return ""
	}
	id := d.issuer(iss) + "|" + jsonrecord.ID(sub)
	return d.key(typeSubject, id)
}

func (d *Decoder) issuer(iss []byte) string {
	if len(iss) == 0 {
		return d.opts.Issuer
	}
	return jsonrecord.Text(iss, jsonrecord.MaxLabel)
}

// lifetime of a token: what its claims say.
func lifetime(c *claims, whole bool) *leastwisev1.Lifetime {
	if c.iat.IsZero() && c.exp.IsZero() && !whole {
		return nil
	}
	issued := c.iat
	if issued.IsZero() {
		issued = c.nbf
	}
	// A whole set of claims without exp is a token that never expires; a record may just not say.
	return &leastwisev1.Lifetime{IssuedAt: jsonrecord.Stamp(issued), ExpiresAt: jsonrecord.Stamp(c.exp),
		NeverExpires: whole && c.exp.IsZero()}
}

// firstOf gives the first time that is known.
func firstOf(times ...time.Time) time.Time {
	for _, t := range times {
		if !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}
