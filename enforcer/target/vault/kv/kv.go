// Package kv reads secrets of a KV version 2 engine of HashiCorp Vault or
// OpenBao at the time of an act. It keeps none of them, logs none, and puts
// none into errors.
//
// Its token comes from a file that something else keeps fresh, such as Vault
// Agent's sink; it is read before each request. The token needs `read` on
// MOUNT/data/PREFIX/* and, to be counted, `list` on MOUNT/metadata/PREFIX/*.
package kv

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/leastwise/leastwise/enforcer/target"
)

// Config of the engine.
type Config struct {
	// Address such as https://vault.example:8200.
	Address string `yaml:"address"`
	// Namespace of Vault Enterprise; empty: root.
	Namespace string `yaml:"namespace"`
	// CAFile is the PEM of the server's CA; empty: the system's roots.
	CAFile string `yaml:"ca_file"`
	// TokenFile holds a Vault token.
	TokenFile string `yaml:"token_file"`
	// Mount of the engine. Default secret.
	Mount string `yaml:"mount"`
	// Prefix of the paths within the engine.
	Prefix string `yaml:"prefix"`
}

// Validate says which key is wrong; it reads no files.
func (c Config) Validate() error {
	u, err := url.Parse(c.Address)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("address %q: want http://host:port or https://host:port", c.Address)
	case u.User != nil:
		return errors.New("address: no password belongs there")
	case c.TokenFile == "":
		return errors.New("token_file is missing")
	case c.Prefix == "":
		return errors.New("prefix is missing")
	}
	return nil
}

// Store reads one engine. It is safe for concurrent use.
type Store struct {
	cfg    Config
	client *api.Client
}

// Open prepares the store; it connects to nothing.
func Open(c Config, timeout time.Duration) (*Store, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Mount == "" {
		c.Mount = "secret"
	}
	c.Mount, c.Prefix = strings.Trim(c.Mount, "/"), strings.Trim(c.Prefix, "/")
	conf := api.DefaultConfig()
	if conf.Error != nil {
		return nil, errors.New("the environment's VAULT_* settings can not be read: unset them, they are not used")
	}
	conf.Address, conf.AgentAddress = c.Address, ""
	conf.MaxRetries, conf.Limiter, conf.SRVLookup = 0, nil, false
	conf.Timeout, conf.DisableRedirects = timeout, true
	if err := conf.ConfigureTLS(&api.TLSConfig{CACert: c.CAFile}); err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	client, err := api.NewClient(conf)
	if err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	client.ClearToken()
	client.ClearNamespace()
	if c.Namespace != "" {
		client.SetNamespace(c.Namespace)
	}
	return &Store{cfg: c, client: client}, nil
}

// Read gives the text fields of the newest version at Prefix/name; nil if
// there is none.
func (s *Store) Read(ctx context.Context, name string) (map[string]string, error) {
	secret, err := s.ask(ctx, http.MethodGet, "data", name, "read")
	if err != nil || secret == nil {
		return nil, err
	}
	data, _ := secret.Data["data"].(map[string]any) // null: the version was deleted
	fields := map[string]string{}
	for key, value := range data {
		if text, ok := value.(string); ok {
			fields[key] = text
		}
	}
	if len(fields) == 0 {
		return nil, nil
	}
	return fields, nil
}

// List gives the names below Prefix/name.
func (s *Store) List(ctx context.Context, name string) ([]string, error) {
	secret, err := s.ask(ctx, "LIST", "metadata", name, "list")
	if err != nil || secret == nil {
		return nil, err
	}
	keys, _ := secret.Data["keys"].([]any)
	var list []string
	for _, key := range keys {
		if text, ok := key.(string); ok && !strings.HasSuffix(text, "/") {
			list = append(list, text)
		}
	}
	return list, nil
}

func (s *Store) ask(ctx context.Context, method, half, name, capability string) (*api.Secret, error) {
	raw, err := os.ReadFile(s.cfg.TokenFile)
	if err != nil {
		return nil, &target.Error{Op: "read token_source.vault.token_file", Err: err}
	}
	path := s.cfg.Mount + "/" + half + "/" + s.cfg.Prefix + "/" + name
	step := capability + " a token of the token source"
	req := s.client.NewRequest(method, "/v1/"+path)
	req.ClientToken = strings.TrimSpace(string(raw))
	//nolint:staticcheck // Logical() has no context for LIST and loses the status.
	resp, err := s.client.RawRequestWithContext(ctx, req)
	if resp != nil {
		defer resp.Body.Close()
	}
	var refused *api.ResponseError
	switch {
	case errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound:
		return nil, nil
	case errors.As(err, &refused) && refused.StatusCode == http.StatusForbidden:
		return nil, &target.Error{Kind: target.Permission, Op: step, Missing: target.Missing{Path: path, Capability: capability, Step: step}}
	case errors.As(err, &refused):
		return nil, &target.Error{Op: step, Err: fmt.Errorf("Vault answered %d", refused.StatusCode)}
	case ctx.Err() != nil:
		return nil, &target.Error{Op: step, Err: ctx.Err()}
	case err != nil:
		return nil, &target.Error{Op: step, Err: errors.New("no answer from Vault")}
	case resp.StatusCode/100 != 2:
		return nil, &target.Error{Op: step, Err: fmt.Errorf("Vault answered %d", resp.StatusCode)}
	}
	secret, err := api.ParseSecret(resp.Body)
	if err != nil {
		return nil, &target.Error{Op: step, Err: errors.New("Vault's answer can not be read")}
	}
	return secret, nil
}
