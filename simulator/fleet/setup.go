package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/leastwise/leastwise/enforcer/target/vault"
)

// Names of what Setup makes for the product.
const (
	AuditDevice   = "file"
	CollectorRole = "leastwise-collector"
	EnforcerRole  = "leastwise-enforcer"
	// ReissueRole is the token role through which the enforcer makes tokens; its default.
	ReissueRole = "leastwise"
	// The enforcer may write policies whose names begin as the product's roles do, so its own must not.
	collectorPolicyName = "collector"
	enforcerPolicyName  = "enforcer"
)

const (
	callTimeout = 10 * time.Second
	// The kv engine of a fresh development server answers 400 until it has upgraded itself.
	kvReadyWithin = 15 * time.Second
)

// SetupOptions say where the site is and what it is made of.
type SetupOptions struct {
	Addr      string
	RootToken string
	// AuditFile is where the file audit device writes.
	AuditFile string
	// Dir receives the product's AppRole files, mode 0600, in a directory of mode 0700.
	Dir string
	// Day is what stands for a day; 0: DefaultDay. It sets the agents' times to live and their pace.
	Day time.Duration
	// CollectorPolicy and EnforcerPolicy are the texts of the product's own Vault policies; empty: a read-only inventory, and
	// what the enforcer's doctor prints for its default settings.
	CollectorPolicy string
	EnforcerPolicy  string
}

// AppRoleFiles are the paths of a role's credentials.
type AppRoleFiles struct {
	RoleIDFile   string
	SecretIDFile string
}

// Site is a Vault that has been set up.
type Site struct {
	Addr      string
	AuditFile string
	Collector AppRoleFiles
	Enforcer  AppRoleFiles

	day   time.Duration
	root  *api.Client
	roles map[string]approle
}

type approle struct{ roleID, secretID string }

// Setup makes the site. It fails on a Vault that is already set up: a half-made site is thrown away, not mended.
func Setup(ctx context.Context, opts SetupOptions) (*Site, error) {
	if opts.Day == 0 {
		opts.Day = DefaultDay
	}
	if opts.CollectorPolicy == "" {
		opts.CollectorPolicy = collectorPolicy
	}
	if opts.EnforcerPolicy == "" {
		opts.EnforcerPolicy = vault.PolicyHCL()
	}
	root, err := newClient(opts.Addr)
	if err != nil {
		return nil, err
	}
	root.SetToken(opts.RootToken)
	s := &Site{Addr: opts.Addr, AuditFile: opts.AuditFile, day: opts.Day, root: root, roles: map[string]approle{}}
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"enable the audit device", s.enableAudit},
		{"mount and tune", s.mount},
		{"write the agents' data", s.seed},
		{"make the agents' roles", s.makeAgents},
		{"make the product's roles", func(ctx context.Context) error { return s.makeProduct(ctx, opts) }},
	} {
		if err := step.do(ctx); err != nil {
			return nil, fmt.Errorf("set up vault: %s: %w", step.name, err)
		}
	}
	return s, nil
}

func newClient(addr string) (*api.Client, error) {
	// Neither DefaultConfig nor what NewClient takes from VAULT_*: those are of the user's own Vault.
	client, err := api.NewClient(&api.Config{Address: addr, HttpClient: &http.Client{Timeout: callTimeout, Transport: newTransport()}, MaxRetries: 0})
	if err != nil {
		return nil, fmt.Errorf("vault client for %s: %w", addr, err)
	}
	client.ClearToken()
	client.ClearNamespace()
	return client, nil
}

func newTransport() *http.Transport {
	return &http.Transport{MaxIdleConnsPerHost: 32, IdleConnTimeout: 30 * time.Second}
}

func (s *Site) write(ctx context.Context, path string, data map[string]any) (*api.Secret, error) {
	secret, err := s.root.Logical().WriteWithContext(ctx, path, data)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	return secret, nil
}

func (s *Site) enableAudit(ctx context.Context) error {
	_, err := s.write(ctx, "sys/audit/"+AuditDevice, map[string]any{"type": "file", "options": map[string]any{"file_path": s.AuditFile}})
	return err
}

func (s *Site) mount(ctx context.Context) error {
	for _, w := range []struct {
		path string
		data map[string]any
	}{
		{"sys/auth/approle", map[string]any{"type": "approle"}},
		// So that revoke-accessor requests show whom they revoke.
		{"sys/auth/token/tune", map[string]any{"audit_non_hmac_request_keys": []string{"accessor"}}},
		{"sys/mounts/pki", map[string]any{"type": "pki"}},
		// So that issued certificates show their serial number and end.
		{"sys/mounts/pki/tune", map[string]any{"max_lease_ttl": "8760h", "audit_non_hmac_response_keys": []string{"serial_number", "expiration"}}},
		{"pki/root/generate/internal", map[string]any{"common_name": "fleet.example.org", "ttl": "8000h"}},
		{"pki/roles/admin", map[string]any{"allow_any_name": true, "max_ttl": "72h"}},
	} {
		if _, err := s.write(ctx, w.path, w.data); err != nil {
			return err
		}
	}
	return nil
}

func (s *Site) seed(ctx context.Context) error {
	ready, cancel := context.WithTimeout(ctx, kvReadyWithin)
	defer cancel()
	for _, tree := range []string{"config", "ingest", "diag", "archive", "legacy", "load"} {
		for i := range itemsPerTree {
			path := fmt.Sprintf("secret/data/%s/%d", tree, i)
			data := map[string]any{"data": map[string]any{"value": fmt.Sprintf("%s-%d", tree, i)}}
			for {
				_, err := s.write(ctx, path, data)
				if err == nil {
					break
				}
				if response := (*api.ResponseError)(nil); !errors.As(err, &response) || response.StatusCode != http.StatusBadRequest {
					return err
				}
				if waitErr := sleep(ready, 100*time.Millisecond); waitErr != nil {
					return errors.Join(err, waitErr)
				}
			}
		}
	}
	return nil
}

// makeAgents writes policy, role and entity of each agent. The roles leave out Vault's `default` policy, so that what
// an agent may do is what its own policy says.
func (s *Site) makeAgents(ctx context.Context) error {
	for _, a := range agentSites(s.day) {
		for name, text := range a.policies {
			if _, err := s.write(ctx, "sys/policies/acl/"+name, map[string]any{"policy": text}); err != nil {
				return err
			}
		}
		role := map[string]any{
			"token_policies": a.tokenPolicies, "token_no_default_policy": true,
			"token_ttl": seconds(a.ttl), "token_max_ttl": seconds(a.maxTTL),
		}
		meta := map[string]string{}
		if a.name == Steady {
			meta["agent_id"] = SteadyID
		}
		if err := s.makeRole(ctx, a.name, role, meta); err != nil {
			return err
		}
	}
	return nil
}

func (s *Site) makeProduct(ctx context.Context, opts SetupOptions) error {
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return fmt.Errorf("directory of the product's credentials: %w", err)
	}
	// Without the `default` policy, as the agents' own roles: what is given back is what was used.
	if _, err := s.write(ctx, "auth/token/roles/"+ReissueRole, map[string]any{
		"allowed_policies_glob": vault.PolicyPrefix + "*", "orphan": true, "renewable": true,
		"token_explicit_max_ttl": "24h", "token_no_default_policy": true,
	}); err != nil {
		return err
	}
	for _, p := range []struct {
		name, policyName, policy string
		files                    *AppRoleFiles
	}{
		{CollectorRole, collectorPolicyName, opts.CollectorPolicy, &s.Collector},
		{EnforcerRole, enforcerPolicyName, opts.EnforcerPolicy, &s.Enforcer},
	} {
		if _, err := s.write(ctx, "sys/policies/acl/"+p.policyName, map[string]any{"policy": p.policy}); err != nil {
			return err
		}
		if err := s.makeRole(ctx, p.name, map[string]any{"token_policies": []string{p.policyName}, "token_ttl": "1h", "token_max_ttl": "24h"}, map[string]string{}); err != nil {
			return err
		}
		*p.files = AppRoleFiles{
			RoleIDFile:   filepath.Join(opts.Dir, p.name+".role_id"),
			SecretIDFile: filepath.Join(opts.Dir, p.name+".secret_id"),
		}
		role := s.roles[p.name]
		delete(s.roles, p.name) // the agents must not be able to take it
		if err := errors.Join(
			os.WriteFile(p.files.RoleIDFile, []byte(role.roleID), 0o600),
			os.WriteFile(p.files.SecretIDFile, []byte(role.secretID), 0o600),
		); err != nil {
			return fmt.Errorf("write the credentials of %s: %w", p.name, err)
		}
	}
	return nil
}

// makeRole makes an AppRole and the entity its logins belong to, both of that name, and keeps the role's credentials.
// Vault keeps meta with the secret id, and says it of every token that is taken with it.
func (s *Site) makeRole(ctx context.Context, name string, role map[string]any, meta map[string]string) error {
	if _, err := s.write(ctx, "auth/approle/role/"+name, role); err != nil {
		return err
	}
	id, err := s.root.Logical().ReadWithContext(ctx, "auth/approle/role/"+name+"/role-id")
	if err != nil {
		return fmt.Errorf("read the role id of %s: %w", name, err)
	}
	kept, err := json.Marshal(meta)
	if err != nil {
		return fmt.Errorf("role %s: %w", name, err)
	}
	secret, err := s.write(ctx, "auth/approle/role/"+name+"/secret-id", map[string]any{"metadata": string(kept)})
	if err != nil {
		return err
	}
	roleID, secretID := text(id, "role_id"), text(secret, "secret_id")
	if roleID == "" || secretID == "" {
		return fmt.Errorf("role %s: vault gave no role_id or secret_id", name)
	}
	s.roles[name] = approle{roleID, secretID}

	mounts, err := s.root.Sys().ListAuthWithContext(ctx)
	if err != nil {
		return fmt.Errorf("list auth mounts: %w", err)
	}
	mount := mounts["approle/"]
	if mount == nil {
		return errors.New("auth/approle is not mounted")
	}
	entity, err := s.write(ctx, "identity/entity", map[string]any{"name": name, "metadata": map[string]any{"agent": name}})
	if err != nil {
		return err
	}
	_, err = s.write(ctx, "identity/entity-alias", map[string]any{
		"name": roleID, "canonical_id": text(entity, "id"), "mount_accessor": mount.Accessor,
	})
	return err
}

// Hashed returns a value as the site's audit device shows it: the id by which the product knows an accessor.
func (s *Site) Hashed(ctx context.Context, value string) (string, error) {
	secret, err := s.write(ctx, "sys/audit-hash/"+AuditDevice, map[string]any{"input": value})
	if err != nil {
		return "", err
	}
	return text(secret, "hash"), nil
}

// TokenAlive asks Vault whether a token still exists, by its accessor in clear. It is for checking what the product
// claims, and errs rather than guess.
func (s *Site) TokenAlive(ctx context.Context, accessor string) (bool, error) {
	_, err := s.root.Logical().WriteWithContext(ctx, "auth/token/lookup-accessor", map[string]any{"accessor": accessor})
	if err == nil {
		return true, nil
	}
	if response := (*api.ResponseError)(nil); errors.As(err, &response) && gone(response) {
		return false, nil
	}
	return false, fmt.Errorf("look up an accessor: %w", err)
}

func text(secret *api.Secret, key string) string {
	if secret == nil {
		return ""
	}
	value, _ := secret.Data[key].(string)
	return value
}

// seconds rounds up to what Vault takes as a time to live: whole seconds, at least one.
func seconds(d time.Duration) int {
	return max(1, int((d+time.Second-1)/time.Second))
}

// sleep waits, or returns the context's error if that ends first.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
