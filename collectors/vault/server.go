package vault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/leastwise/leastwise/collectors/collect"
)

// server is the Vault that the inventory asks, at a bounded rate.
type server struct {
	cfg    InventoryConfig
	client *api.Client
	every  time.Duration

	mu   sync.Mutex // guards last
	last time.Time
}

func newServer(cfg InventoryConfig) (*server, error) {
	config := api.DefaultConfig()
	if config.Error != nil {
		return nil, fmt.Errorf("prepare Vault client: %w", config.Error)
	}
	config.Address = cfg.Address
	config.Timeout = 30 * time.Second
	if cfg.CAFile != "" {
		if err := config.ConfigureTLS(&api.TLSConfig{CACert: cfg.CAFile}); err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
	}
	client, err := api.NewClient(config)
	if err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	client.ClearToken() // not what the environment holds
	if cfg.Namespace != "" {
		client.SetNamespace(cfg.Namespace)
	}
	return &server{cfg: cfg, client: client, every: time.Second / time.Duration(max(cfg.Rate, 1))}, nil
}

// login reads the token anew, or logs in if there is none yet or it has ended.
func (s *server) login(ctx context.Context) error {
	if s.cfg.TokenFile != "" {
		token, err := readSecret(s.cfg.TokenFile)
		if err != nil {
			return err
		}
		s.client.SetToken(token)
		return nil
	}
	if s.client.Token() != "" {
		if _, err := s.read(ctx, "auth/token/lookup-self"); err == nil {
			return nil
		}
		s.client.ClearToken()
	}
	role, err := readSecret(s.cfg.AppRole.RoleIDFile)
	if err != nil {
		return err
	}
	secret, err := readSecret(s.cfg.AppRole.SecretIDFile)
	if err != nil {
		return err
	}
	mount := strings.Trim(s.cfg.AppRole.Mount, "/")
	if mount == "" {
		mount = "approle"
	}
	answer, err := s.client.Logical().WriteWithContext(ctx, "auth/"+mount+"/login", map[string]any{"role_id": role, "secret_id": secret})
	if err != nil {
		return fmt.Errorf("log in to Vault with AppRole at auth/%s: %w", mount, plain(err))
	}
	if answer == nil || answer.Auth == nil {
		return fmt.Errorf("log in to Vault with AppRole at auth/%s: the answer holds no token", mount)
	}
	s.client.SetToken(answer.Auth.ClientToken)
	return nil
}

func readSecret(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	secret := strings.TrimSpace(string(text))
	if secret == "" {
		return "", fmt.Errorf("read secret: %s is empty", path)
	}
	return secret, nil
}

// turn waits for this call's turn.
func (s *server) turn(ctx context.Context) error {
	s.mu.Lock()
	at := s.last.Add(s.every)
	if now := time.Now(); at.Before(now) {
		at = now
	}
	s.last = at
	s.mu.Unlock()
	if wait := time.Until(at); wait > 0 && !collect.Pause(ctx, wait) {
		return ctx.Err()
	}
	return ctx.Err()
}

func (s *server) list(ctx context.Context, path string, sudo bool) ([]string, error) {
	if err := s.turn(ctx); err != nil {
		return nil, err
	}
	answer, err := s.client.Logical().ListWithContext(ctx, strings.TrimSuffix(path, "/"))
	if err != nil {
		needs := []string{"list"}
		if sudo {
			needs = append(needs, "sudo")
		}
		return nil, s.failed("list", path, err, needs...)
	}
	if answer == nil {
		return nil, nil
	}
	values, _ := answer.Data["keys"].([]any)
	names := make([]string, 0, len(values))
	for _, value := range values {
		if name := text(value); name != "" {
			names = append(names, name)
		}
	}
	return names, nil
}

// listInfo gives what a list says of each key.
func (s *server) listInfo(ctx context.Context, path string) (map[string]map[string]any, error) {
	if err := s.turn(ctx); err != nil {
		return nil, err
	}
	answer, err := s.client.Logical().ListWithContext(ctx, path)
	if err != nil {
		return nil, s.failed("list", path, err, "list")
	}
	if answer == nil { // there are none
		return nil, nil
	}
	of, _ := answer.Data["key_info"].(map[string]any)
	out := make(map[string]map[string]any, len(of))
	for key, v := range of {
		out[key], _ = v.(map[string]any)
	}
	return out, nil
}

// read gives nil without error if there is nothing.
func (s *server) read(ctx context.Context, path string) (map[string]any, error) {
	if err := s.turn(ctx); err != nil {
		return nil, err
	}
	answer, err := s.client.Logical().ReadWithContext(ctx, path)
	if err != nil {
		return nil, s.failed("read", path, err, "read")
	}
	if answer == nil {
		return nil, nil
	}
	return answer.Data, nil
}

func (s *server) write(ctx context.Context, path string, body map[string]any) (map[string]any, error) {
	if err := s.turn(ctx); err != nil {
		return nil, err
	}
	answer, err := s.client.Logical().WriteWithContext(ctx, path, body)
	if err != nil {
		return nil, s.failed("ask", path, err, "update")
	}
	if answer == nil {
		return map[string]any{}, nil
	}
	return answer.Data, nil
}

// failed tells what was refused, or what went wrong; never with a body, which may name a credential.
func (s *server) failed(verb, path string, err error, needs ...string) error {
	var answer *api.ResponseError
	if errors.As(err, &answer) && answer.StatusCode == http.StatusForbidden {
		for _, text := range answer.Errors {
			if strings.Contains(text, "invalid accessor") {
				return fmt.Errorf("%s %s: %w", verb, path, errGone)
			}
		}
		return missing(path, needs...)
	}
	return fmt.Errorf("%s %s in Vault: %w", verb, path, plain(err))
}

var errGone = errors.New("the credential is gone")

// notFound is whether the credential asked for is gone.
func notFound(err error) bool {
	var status *statusError
	return errors.Is(err, errGone) || errors.As(err, &status) && (status.code == http.StatusNotFound || status.code == http.StatusBadRequest)
}

// statusError is Vault's answer without its text.
type statusError struct{ code int }

func (e *statusError) Error() string { return fmt.Sprintf("Vault answered with status %d", e.code) }

func plain(err error) error {
	var answer *api.ResponseError
	if errors.As(err, &answer) {
		return &statusError{answer.StatusCode}
	}
	return err
}
