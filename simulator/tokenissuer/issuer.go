// Package tokenissuer is an issuer of JWTs with a registry of what it issued, for the demo.
//
// It promises tokens that are really signed (Ed25519), the public key at /jwks, and at /registry every record in the
// order of issuance, in the schema schemas/jsonschema/jwt-registry.schema.json, paged by cursor for a reader that bears
// the token in TokenFile. It serves on loopback alone. Records and key live in memory and end with Stop.
package tokenissuer

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Name is the issuer's name in its tokens, as sites and catalogs know it. It is served elsewhere: on loopback.
const Name = "https://tokens.example.org"

const (
	keyID = "demo-1"
	// pageSize is small, so that a reader has to turn pages.
	pageSize = 20
)

// Issuer is a running issuer.
type Issuer struct {
	// URL it is served at, without a path.
	URL string
	// TokenFile holds what a reader of the registry has to show.
	TokenFile string

	key    ed25519.PrivateKey
	reader string
	server *http.Server
	ended  chan struct{}

	mu      sync.Mutex
	records []map[string]any // under mu; of the registry, the oldest first
}

// Start serves until Stop. The token that readers have to show is written to tokenFile.
func Start(tokenFile string) (*Issuer, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the issuer's key: %w", err)
	}
	i := &Issuer{TokenFile: tokenFile, key: key, reader: newID(), ended: make(chan struct{})}
	if err := os.WriteFile(tokenFile, []byte(i.reader), 0o600); err != nil {
		return nil, fmt.Errorf("write the token for the registry's readers: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("serve the registry: %w", err)
	}
	i.URL = "http://" + listener.Addr().String()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /jwks", i.jwks)
	mux.HandleFunc("GET /registry", i.registry)
	i.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(i.ended)
		_ = i.server.Serve(listener) // ends with Stop
	}()
	return i, nil
}

// Stop ends the server.
func (i *Issuer) Stop() error {
	err := i.server.Close()
	<-i.ended
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("end the registry: %w", err)
	}
	return nil
}

// Grant is what a token is made for.
type Grant struct {
	// Subject is a client that the token is for itself, AgentID the id under which the issuer keeps the agent behind it.
	Subject, AgentID string
	Audience, Scope  string
	Life             time.Duration
}

// Issue makes a token, and records it with its signed form, so that a reader can prove it.
func (i *Issuer) Issue(g Grant) (token, jti string, err error) {
	now := time.Now().UTC().Truncate(time.Second)
	jti = newID()
	claims := map[string]any{"iss": Name, "sub": g.Subject, "client_id": g.Subject, "aud": g.Audience, "scope": g.Scope, "jti": jti,
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(g.Life).Unix()}
	if token, err = i.sign(claims); err != nil {
		return "", "", err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.records = append(i.records, map[string]any{"version": 1, "event": "issued", "id": "issue-" + jti, "time": now.Format(time.RFC3339),
		"jti": jti, "token": token, "agent_id": g.AgentID})
	return token, jti, nil
}

// sign gives the compact form (RFC 7515, section 7.1), signed as RFC 8037 has it.
func (i *Issuer) sign(claims map[string]any) (string, error) {
	header, err := json.Marshal(map[string]string{"alg": "EdDSA", "typ": "at+jwt", "kid": keyID})
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	text := encode(header) + "." + encode(payload)
	return text + "." + encode(ed25519.Sign(i.key, []byte(text))), nil
}

func (i *Issuer) jwks(w http.ResponseWriter, _ *http.Request) {
	public, _ := i.key.Public().(ed25519.PublicKey)
	answer(w, map[string]any{"keys": []map[string]string{{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": keyID,
		"x": encode(public)}}})
}

// registry answers with a page. The cursor is the number of records that came before it.
func (i *Issuer) registry(w http.ResponseWriter, r *http.Request) {
	shown := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if subtle.ConstantTimeCompare([]byte(shown), []byte(i.reader)) != 1 {
		http.Error(w, "show the reader's token", http.StatusUnauthorized)
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	from := 0
	if cursor := r.URL.Query().Get("cursor"); cursor != "" {
		var err error
		if from, err = strconv.Atoi(cursor); err != nil || from < 0 || from > len(i.records) {
			http.Error(w, "there is no such cursor", http.StatusGone)
			return
		}
	}
	to := min(from+pageSize, len(i.records))
	answer(w, map[string]any{"records": i.records[from:to], "next_cursor": strconv.Itoa(to)})
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body) // a reader that has gone asks again
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(b[:])
}
