package oauth

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/leastwise/leastwise/enforcer/notify"
	"github.com/leastwise/leastwise/enforcer/target"
)

// algorithms by which issuers sign; none and HMAC are not among them, as a
// server that does not ask could not check those.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512, jose.PS256, jose.PS384, jose.PS512, jose.EdDSA}

// signed is a self-contained token.
type signed struct {
	Issuer  string `json:"iss"`
	JTI     string `json:"jti"`
	Expires int64  `json:"exp"`
}

func (s *signed) until() time.Time {
	if s == nil || s.Expires == 0 {
		return time.Time{}
	}
	return time.Unix(s.Expires, 0).UTC()
}

// signedToken reads a token as those do who do not ask the issuer: by its
// signature. nil: it is no such token, or an opaque one.
func (t *Target) signedToken(ctx context.Context, token string) (*signed, error) {
	jws, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil || len(jws.Signatures) != 1 {
		return nil, nil
	}
	payload, err := t.verify(ctx, jws)
	if err != nil {
		return nil, err
	}
	s := &signed{}
	if json.Unmarshal(payload, s) != nil || s.Issuer != t.cfg.Issuer {
		return nil, impossible("read the signed token", errors.New("its iss is another's"))
	}
	return s, nil
}

func (t *Target) verify(ctx context.Context, jws *jose.JSONWebSignature) ([]byte, error) {
	step := "check the token's signature"
	for _, fresh := range []bool{false, true} {
		keys, err := t.jwks(ctx, fresh)
		if err != nil {
			return nil, err
		}
		candidates := keys.Key(jws.Signatures[0].Header.KeyID)
		if jws.Signatures[0].Header.KeyID == "" {
			candidates = keys.Keys
		}
		for _, key := range candidates {
			if payload, err := jws.Verify(key); err == nil {
				return payload, nil
			}
		}
	}
	return nil, impossible(step, errors.New("none of the issuer's keys made it: the token source holds a token of somebody else"))
}

// jwks are the issuer's keys; fresh asks again, as a key may be new, but not
// more often than once a minute.
func (t *Target) jwks(ctx context.Context, fresh bool) (jose.JSONWebKeySet, error) {
	step := "read the issuer's keys"
	m, err := t.endpoints(ctx)
	if err != nil {
		return jose.JSONWebKeySet{}, err
	}
	if m.JWKS == "" {
		return jose.JSONWebKeySet{}, impossible(step, errors.New("the issuer names none (jwks_uri)"))
	}
	t.server.mu.Lock()
	defer t.server.mu.Unlock()
	age := t.now().Sub(t.server.keysAt)
	if !t.server.keysAt.IsZero() && (age < time.Minute || !fresh && age < metadataFor) {
		return t.server.keys, nil
	}
	var keys jose.JSONWebKeySet
	if err := t.get(ctx, m.JWKS, step, &keys); err != nil {
		return keys, err
	}
	t.server.keys, t.server.keysAt = keys, t.now()
	return keys, nil
}

// openKey reads the key of a client that signs assertions.
func openKey(file, id string) (jose.Signer, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var key any
	for block, rest := pem.Decode(raw); block != nil && key == nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case "PRIVATE KEY":
			key, _ = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, _ = x509.ParseECPrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, _ = x509.ParsePKCS1PrivateKey(block.Bytes)
		}
	}
	var algorithm jose.SignatureAlgorithm
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		if k.Curve != elliptic.P256() {
			return nil, fmt.Errorf("%s: want the curve P-256", file)
		}
		algorithm = jose.ES256
	case *rsa.PrivateKey:
		algorithm = jose.RS256
	default:
		return nil, fmt.Errorf("%s: want the PEM of a P-256 or an RSA key", file)
	}
	return jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: key, KeyID: id}}, (&jose.SignerOptions{}).WithType("JWT"))
}

func impossible(op string, err error) error {
	return &target.Error{Kind: target.Impossible, Op: op, Err: err}
}

func clean(text string) string { return notify.Clean(text, 200) }
