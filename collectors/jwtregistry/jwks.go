package jwtregistry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/leastwise/leastwise/collectors/source"
)

// JWKSConfig says where an issuer's public keys are, and which algorithms it signs with.
type JWKSConfig struct {
	// URL of the JWK set, such as https://sso.example.org/realms/prod/protocol/openid-connect/certs or
	// https://vault.example.org:8200/v1/identity/oidc/.well-known/keys. Or File.
	URL  string `yaml:"url"`
	File string `yaml:"file"`
	// Cache keeps the last set that was read from URL, so that a start without the issuer verifies too. Optional.
	Cache string `yaml:"cache"`
	// Algorithms that are accepted. Default RS256, PS256, ES256, ES384, EdDSA. `none` and shared secrets (HS256) never
	// are: who can verify with a shared secret can also sign.
	Algorithms []string `yaml:"algorithms"`
	// CAFile verifies the server of URL; default the system's.
	CAFile string `yaml:"ca_file"`
	// Refresh is how often the set is read again. A key that is not in it is looked for at once, but not more often than
	// once a minute. Default 1h.
	Refresh time.Duration `yaml:"refresh"`
}

var defaultAlgorithms = []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256, jose.ES384, jose.EdDSA}

var allAlgorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
	jose.ES256, jose.ES384, jose.ES512, jose.EdDSA}

// Validate refuses a configuration that can not verify, or would verify too much.
func (c JWKSConfig) Validate() error {
	if (c.URL == "") == (c.File == "") {
		return errors.New("set url or file of the JWK set, and not both")
	}
	if c.URL != "" {
		if err := checkURL(c.URL); err != nil {
			return fmt.Errorf("url: %w", err)
		}
	}
	for _, name := range c.Algorithms {
		if !slices.Contains(allAlgorithms, jose.SignatureAlgorithm(name)) {
			return fmt.Errorf("algorithms: %q is not accepted; choose from %v", name, allAlgorithms)
		}
	}
	return nil
}

// KeySet holds an issuer's public keys. It is safe for concurrent use. Looking up a key that it does not hold reads the
// set again and blocks for as long as that takes, five seconds at most and once a minute at most.
type KeySet struct {
	cfg        JWKSConfig
	algorithms []jose.SignatureAlgorithm
	client     *http.Client
	now        func() time.Time
	log        *slog.Logger

	mu     sync.Mutex // guards what follows
	keys   []jose.JSONWebKey
	readAt time.Time
	tried  time.Time
}

const (
	lookupTimeout = 5 * time.Second
	lookupEvery   = time.Minute
	maxKeySet     = 1 << 20
)

// NewKeySet reads the set from its file, or from the cache of its URL. It does not touch the network.
func NewKeySet(cfg JWKSConfig, now func() time.Time, log *slog.Logger) (*KeySet, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	client, err := httpClient(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	if now == nil {
		now = time.Now
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if cfg.Refresh <= 0 {
		cfg.Refresh = time.Hour
	}
	k := &KeySet{cfg: cfg, algorithms: defaultAlgorithms, client: client, now: now, log: log}
	if len(cfg.Algorithms) > 0 {
		k.algorithms = nil
		for _, name := range cfg.Algorithms {
			k.algorithms = append(k.algorithms, jose.SignatureAlgorithm(name))
		}
	}
	path := cfg.File
	if path == "" {
		path = cfg.Cache
	}
	if path == "" {
		return k, nil
	}
	text, err := os.ReadFile(path)
	if err == nil {
		err = k.take(text)
	}
	if err != nil && cfg.File == "" { // the cache is a help, no need
		if !errors.Is(err, os.ErrNotExist) {
			log.Warn("the cache of the JWK set can not be read; it will be written anew", "file", path, "error", err)
		}
		return k, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read JWK set %s: %w", path, err)
	}
	return k, nil
}

// take replaces the keys. Keys that can not be read, and those that are not public, are left out.
func (k *KeySet) take(text []byte) error {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil || set.Keys == nil {
		return errors.New("it is no JWK set: want an object with the array keys")
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) == nil && key.Valid() && key.IsPublic() && key.Use != "enc" {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return errors.New("it holds no public key for signatures")
	}
	k.mu.Lock()
	k.keys = keys
	k.mu.Unlock()
	return nil
}

// lookup gives the keys of an id; all of them for a token that names none.
func (k *KeySet) lookup(id string) []jose.JSONWebKey {
	if keys := k.find(id); len(keys) > 0 || k.cfg.URL == "" {
		return keys
	}
	k.mu.Lock()
	now := k.now()
	soon := !k.tried.IsZero() && now.Sub(k.tried) < lookupEvery
	if !soon {
		k.tried = now
	}
	k.mu.Unlock()
	if soon {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	if err := k.Refresh(ctx); err != nil {
		k.log.Warn("the JWK set can not be read", "url", k.cfg.URL, "error", err)
	}
	return k.find(id)
}

func (k *KeySet) find(id string) []jose.JSONWebKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	if id == "" {
		return k.keys
	}
	var found []jose.JSONWebKey
	for _, key := range k.keys {
		if key.KeyID == id {
			found = append(found, key)
		}
	}
	return found
}

// Refresh reads the set again. After an error the keys stay as they were.
func (k *KeySet) Refresh(ctx context.Context) error {
	if k.cfg.URL == "" {
		return nil
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, k.cfg.URL, nil)
	if err != nil {
		return fmt.Errorf("read JWK set: %w", err)
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	answer, err := k.client.Do(request)
	if err != nil {
		return fmt.Errorf("read JWK set: %w", hideQuery(err))
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxKeySet+1))
	switch {
	case err != nil:
		return fmt.Errorf("read JWK set: %w", err)
	case answer.StatusCode != http.StatusOK:
		return fmt.Errorf("read JWK set: %s answered with status %d", k.cfg.URL, answer.StatusCode)
	case len(text) > maxKeySet:
		return fmt.Errorf("read JWK set: %s answered with more than %d bytes", k.cfg.URL, maxKeySet)
	}
	if err := k.take(text); err != nil {
		return fmt.Errorf("read JWK set from %s: %w", k.cfg.URL, err)
	}
	k.mu.Lock()
	k.readAt = k.now()
	k.mu.Unlock()
	if k.cfg.Cache != "" {
		if err := source.ReplaceFile(k.cfg.Cache, text); err != nil {
			return fmt.Errorf("keep JWK set: %w", err)
		}
	}
	return nil
}
