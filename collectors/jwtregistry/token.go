package jwtregistry

import (
	"bytes"
	"encoding/base64"

	"github.com/go-jose/go-jose/v4"
	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/valyala/fastjson"
)

// signature is what is known of a token's signature: the value of the label verified.
type signature string

const (
	signatureNone      signature = ""            // no token was given, or it is opaque
	signatureRight     signature = "true"        //
	signatureWrong     signature = "false"       // made by another key, damaged, or by an algorithm that is not allowed
	signatureUnchecked signature = "unchecked"   // no keys are configured
	signatureNoKey     signature = "unknown_key" // the issuer's keys do not hold the one that the token names
)

// open takes the signed form out of a record: its claims are verified if keys are known, and only its hash is kept.
// The claims of a verified token win over what the record says of it; otherwise they fill what the record leaves out.
func (d *Decoder) open(r *record) signature {
	if len(r.token) == 0 {
		return signatureNone
	}
	r.hash = jsonrecord.HashOf(r.token)
	parts := bytes.Split(r.token, []byte{'.'})
	if len(parts) != 3 {
		return signatureNone // opaque, or encrypted: only the issuer can read it
	}
	r.keyID = d.keyID(parts[0])
	signed, payload := signatureWrong, []byte(nil)
	if len(parts[2]) > 0 { // else alg is none, whatever the keys
		signed, payload = d.opts.Keys.verify(r.token)
	}
	if payload == nil {
		var err error
		if payload, err = base64.RawURLEncoding.AppendDecode(nil, parts[1]); err != nil {
			return signatureWrong
		}
	}
	v, err := d.payload.ParseBytes(payload)
	if err != nil || v.Type() != fastjson.TypeObject {
		return signatureWrong
	}
	told := claims{}
	v.GetObject().Visit(told.field)
	if signed == signatureRight {
		outer := r.claims
		r.claims = told
		r.claims.fill(&outer)
	} else {
		r.claims.fill(&told)
	}
	return signed
}

// keyID is the key that a token's header names; empty if it names none.
func (d *Decoder) keyID(header []byte) string {
	text, err := base64.RawURLEncoding.AppendDecode(nil, header)
	if err != nil || len(text) > maxHeader || jsonrecord.Refuse(text, maxHeader) != nil {
		return ""
	}
	v, err := d.payload.ParseBytes(text)
	if err != nil {
		return ""
	}
	if id := v.GetStringBytes("kid"); len(id) > 0 {
		return jsonrecord.ID(id)
	}
	return ""
}

const maxHeader = 8 << 10

// verify checks a token in its compact form. payload is what was signed; nil if that is not known.
func (k *KeySet) verify(token []byte) (signature, []byte) {
	if k == nil {
		return signatureUnchecked, nil
	}
	parsed, err := jose.ParseSignedCompact(string(token), k.algorithms)
	if err != nil || len(parsed.Signatures) != 1 {
		return signatureWrong, nil
	}
	keys := k.lookup(parsed.Signatures[0].Header.KeyID)
	if len(keys) == 0 {
		return signatureNoKey, nil
	}
	for _, key := range keys {
		if payload, err := parsed.Verify(key.Key); err == nil {
			return signatureRight, payload
		}
	}
	return signatureWrong, nil
}
