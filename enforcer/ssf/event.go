package ssf

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/leastwise/leastwise/schemas"
)

// Event types of CAEP 1.0, sections 3.1 and 3.3.
const (
	SessionRevoked   = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
	CredentialChange = "https://schemas.openid.net/secevent/caep/event-type/credential-change"
)

var (
	shortNames = []string{"session-revoked", "credential-change"}
	longNames  = map[string]string{"session-revoked": SessionRevoked, "credential-change": CredentialChange}
)

// Event is a credential that was taken away.
type Event struct {
	// ID of the act: the ladder's. With the event's type it makes the jti.
	ID string
	// Credential is its key, system/instance/type/id.
	Credential string
	// Principal that held it, as a key; empty: not known.
	Principal string
	// Labels of the credential: `issuer` names a token's own issuer,
	// `spiffe_id` its holder.
	Labels map[string]string
	// At is when it was taken.
	At time.Time
	// Reason for an administrator, in English; holds no secret.
	Reason string
}

// sessions are the types of credentials that are a session at those who accept
// them; all others are told of as a change of a credential alone.
var sessions = map[string]bool{"jwt": true, "refresh_token": true, "session": true, "token": true, "sts_session": true, "access_token": true}

func (e Event) types() []string {
	if key, err := schemas.ParseKey(e.Credential); err == nil && sessions[key.Type] {
		return []string{SessionRevoked, CredentialChange}
	}
	return []string{CredentialChange}
}

// jti is the same for each telling of an act to anybody.
func (e Event) jti(kind string) string {
	sum := sha256.Sum256([]byte(e.ID + "\x00" + e.Credential + "\x00" + kind))
	return hex.EncodeToString(sum[:16])
}

// claims of the token (RFC 8417, section 2.2; SSF 1.0, section 4: one event a
// token, sub_id at the top, neither sub nor exp). iat is the act's own time, so
// that the same act always gives the same payload.
func (e Event) claims(issuer, audience, kind string) map[string]any {
	body := map[string]any{"event_timestamp": e.At.Unix(), "initiating_entity": "policy"}
	if e.Reason != "" {
		body["reason_admin"] = map[string]string{"en": e.Reason}
	}
	if kind == CredentialChange {
		body["change_type"] = "revoke"
		body["credential_type"] = e.credentialType()
	}
	return map[string]any{
		"iss": issuer, "aud": audience, "iat": e.At.Unix(), "jti": e.jti(kind), "txn": e.ID,
		"sub_id": e.subject(), "events": map[string]any{kind: body},
	}
}

// credentialType: CAEP has x509 for certificates; any other word is allowed
// where both sides know it (section 3.3.1).
func (e Event) credentialType() string {
	key, err := schemas.ParseKey(e.Credential)
	switch {
	case err != nil:
		return "unknown"
	case key.Type == "certificate" || key.Type == "x509_svid":
		return "x509"
	default:
		return key.Type
	}
}

// subject names whom or what the event is about: a JWT by its jti (SSF 1.0,
// section 3.5.1), else a SPIFFE ID, else whoever held it (RFC 9493, section
// 3.2), else the key of the credential.
func (e Event) subject() map[string]string {
	key, err := schemas.ParseKey(e.Credential)
	issuer := e.Labels["issuer"]
	if err == nil && key.Type == "jwt" && issuer != "" && !strings.HasPrefix(key.ID, "sha256:") {
		return map[string]string{"format": "jwt_id", "iss": issuer, "jti": key.ID}
	}
	if id := e.Labels["spiffe_id"]; id != "" {
		return map[string]string{"format": "uri", "uri": id}
	}
	if err == nil && key.System == "jwtregistry" && key.Type != "jwt" {
		if p, err := schemas.ParseKey(e.Principal); err == nil && p.Type == "subject" {
			if iss, sub, ok := strings.Cut(p.ID, "|"); ok {
				return map[string]string{"format": "iss_sub", "iss": iss, "sub": sub}
			}
		}
	}
	return map[string]string{"format": "opaque", "id": e.Credential}
}

// signer signs and shows its keys.
type signer struct {
	key  jose.Signer
	keys jose.JSONWebKeySet
}

func openSigner(file string, former []string) (*signer, error) {
	private, public, err := readKey(file)
	if err != nil {
		return nil, fmt.Errorf("key_file: %w", err)
	}
	if private == nil {
		return nil, errors.New("key_file: it holds a public key alone")
	}
	s := &signer{keys: jose.JSONWebKeySet{Keys: []jose.JSONWebKey{public}}}
	s.key, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(public.Algorithm), Key: jose.JSONWebKey{Key: private, KeyID: public.KeyID}},
		(&jose.SignerOptions{}).WithType("secevent+jwt"))
	if err != nil {
		return nil, fmt.Errorf("key_file: %w", err)
	}
	for _, f := range former {
		_, old, err := readKey(f)
		if err != nil {
			return nil, fmt.Errorf("former_key_files: %w", err)
		}
		s.keys.Keys = append(s.keys.Keys, old)
	}
	return s, nil
}

func (s *signer) sign(claims map[string]any) (string, error) {
	raw, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encode security event token: %w", err)
	}
	signed, err := s.key.Sign(raw)
	if err != nil {
		return "", fmt.Errorf("sign security event token: %w", err)
	}
	return signed.CompactSerialize()
}

// readKey gives the key with its JWK, named by its thumbprint (RFC 7638).
// Errors never hold what is in the file.
func readKey(file string) (crypto.Signer, jose.JSONWebKey, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, jose.JSONWebKey{}, err
	}
	for {
		var block *pem.Block
		if block, raw = pem.Decode(raw); block == nil {
			return nil, jose.JSONWebKey{}, fmt.Errorf("%s holds no PEM key", file)
		}
		key, ok := parse(block)
		if !ok {
			continue // such as EC PARAMETERS
		}
		private, _ := key.(crypto.Signer)
		var public crypto.PublicKey = key
		if private != nil {
			public = private.Public()
		}
		jwk := jose.JSONWebKey{Key: public, Use: "sig"}
		switch k := public.(type) {
		case *ecdsa.PublicKey:
			if k.Curve != elliptic.P256() {
				return nil, jwk, fmt.Errorf("%s: want the curve P-256", file)
			}
			jwk.Algorithm = string(jose.ES256)
		case *rsa.PublicKey:
			if k.N.BitLen() < 2048 {
				return nil, jwk, fmt.Errorf("%s: an RSA key needs 2048 bits or more", file)
			}
			jwk.Algorithm = string(jose.RS256)
		default:
			return nil, jwk, fmt.Errorf("%s: want a P-256 or an RSA key", file)
		}
		print, err := jwk.Thumbprint(crypto.SHA256)
		if err != nil {
			return nil, jwk, fmt.Errorf("%s: %w", file, err)
		}
		jwk.KeyID = base64.RawURLEncoding.EncodeToString(print)
		return private, jwk, nil
	}
}

func parse(block *pem.Block) (any, bool) {
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	default:
		return nil, false
	}
	return key, err == nil
}
