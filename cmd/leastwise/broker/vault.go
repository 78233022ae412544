package broker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leastwise/leastwise/collectors/vault"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// issuer speaks to Vault. Errors name the step and Vault's status, never its answer.
type issuer struct {
	cfg    VaultConfig
	client *http.Client
}

// callTimeout of one request to Vault.
const callTimeout = 15 * time.Second

func newIssuer(cfg VaultConfig) (*issuer, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if cfg.CAFile != "" {
		text, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("vault.ca_file: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(text) {
			return nil, errors.New("vault.ca_file: holds no certificate")
		}
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	}
	// Following a redirect would carry the token to a host nobody configured.
	return &issuer{cfg: cfg, client: &http.Client{Transport: transport, Timeout: callTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}, nil
}

// statusError is Vault's refusal.
type statusError struct {
	step string
	code int
}

func (e *statusError) Error() string { return fmt.Sprintf("%s: Vault answered %d", e.step, e.code) }

func isStatus(err error, code int) bool {
	var s *statusError
	return errors.As(err, &s) && s.code == code
}

// answer is what the broker reads of Vault's.
type vaultAnswer struct {
	Data map[string]any `json:"data"`
	Wrap *struct {
		Token    string `json:"token"`
		TTL      int    `json:"ttl"`
		Wrapped  string `json:"wrapped_accessor"`
		Accessor string `json:"accessor"`
	} `json:"wrap_info"`
}

func (i *issuer) call(ctx context.Context, step, method, path string, body any, wrap time.Duration) (*vaultAnswer, error) {
	token, err := os.ReadFile(i.cfg.TokenFile)
	if err != nil {
		return nil, fmt.Errorf("%s: read vault.token_file: %w", step, err)
	}
	var in io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", step, err)
		}
		in = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(i.cfg.Address, "/")+"/v1/"+path, in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", step, err)
	}
	req.Header.Set("X-Vault-Token", strings.TrimSpace(string(token)))
	req.Header.Set("X-Vault-Request", "true")
	if i.cfg.Namespace != "" {
		req.Header.Set("X-Vault-Namespace", i.cfg.Namespace)
	}
	if wrap > 0 {
		req.Header.Set("X-Vault-Wrap-TTL", strconv.Itoa(int(wrap.Seconds()))+"s")
	}
	resp, err := i.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s: Vault does not answer", step) // the library's text holds the URL
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return nil, &statusError{step, resp.StatusCode}
	}
	out := &vaultAnswer{}
	if resp.StatusCode == http.StatusNoContent {
		return out, nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 4<<20)).Decode(out); err != nil {
		return nil, fmt.Errorf("%s: Vault's answer can not be read", step)
	}
	return out, nil
}

// grant reads what a policy grants, so that its scope is measured as it stands in Vault now; nil if there is none.
func (i *issuer) grant(ctx context.Context, name string) (*pb.Grant, error) {
	got, err := i.call(ctx, "read policy "+name, http.MethodGet, "sys/policies/acl/"+name, nil, 0)
	if isStatus(err, http.StatusNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	text, _ := got.Data["policy"].(string)
	rules, incomplete, err := vault.ParsePolicy(text)
	if err != nil {
		return nil, fmt.Errorf("read policy %s: %w", name, err)
	}
	return &pb.Grant{Rules: rules, Incomplete: incomplete}, nil
}

// write makes the policy of a wish's rules; its name says its content, so that it is written once.
func (i *issuer) write(ctx context.Context, agent string, rules []Rule) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "# Written by Leastwise's broker for agent %s.\n", agent)
	for _, r := range rules {
		capabilities := slices.Sorted(slices.Values(r.Capabilities))
		list, err := json.Marshal(slices.Compact(capabilities))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "path %q {\n  capabilities = %s\n}\n", r.Path, list)
	}
	sum := sha256.Sum256([]byte(b.String()))
	name := "leastwise-issue-" + hex.EncodeToString(sum[:8])
	_, err := i.call(ctx, "write the policy", http.MethodPut, "sys/policies/acl/"+name, map[string]string{"policy": b.String()}, 0)
	return name, err
}

// issued is what was made. Wrapping is a secret.
type issued struct {
	Wrapping string
	WrapTTL  int
	Accessor string
	Ends     time.Time
	Policies []string
}

// token makes a token, and proves before anybody gets it that it is no more than was asked
// (https://developer.hashicorp.com/vault/api-docs/auth/token#create-token; a role's period or maximum would win over the
// request's).
func (i *issuer) token(ctx context.Context, request, agent string, policies []string, life, wrap time.Duration, now time.Time) (*issued, error) {
	ttl := strconv.Itoa(int(life.Seconds())) + "s"
	got, err := i.call(ctx, "make the token", http.MethodPost, "auth/token/create/"+i.cfg.TokenRole, map[string]any{"policies": policies, "ttl": ttl,
		"explicit_max_ttl": ttl, "renewable": false, "no_default_policy": true, "display_name": "leastwise-" + agent,
		"meta": map[string]string{"leastwise_request": request, "leastwise_agent": agent}}, wrap)
	if err != nil {
		return nil, err
	}
	if got.Wrap == nil || got.Wrap.Token == "" || got.Wrap.Wrapped == "" {
		return nil, errors.New("make the token: Vault did not wrap it")
	}
	out := &issued{Wrapping: got.Wrap.Token, WrapTTL: got.Wrap.TTL, Accessor: got.Wrap.Wrapped}
	if out.Policies, out.Ends, err = i.prove(ctx, out.Accessor, policies, life, now); err != nil {
		// It is taken back even if who asked has gone.
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer cancel()
		if _, back := i.call(undo, "take the token back", http.MethodPost, "auth/token/revoke-accessor", map[string]string{"accessor": out.Accessor}, 0); back != nil {
			return nil, errors.Join(err, back)
		}
		return nil, err
	}
	return out, nil
}

func (i *issuer) prove(ctx context.Context, accessor string, policies []string, life time.Duration, now time.Time) ([]string, time.Time, error) {
	got, err := i.call(ctx, "look the token up", http.MethodPost, "auth/token/lookup-accessor", map[string]string{"accessor": accessor}, 0)
	if err != nil {
		return nil, time.Time{}, err
	}
	ttl, _ := got.Data["ttl"].(float64)
	period, _ := got.Data["period"].(float64)
	renewable, _ := got.Data["renewable"].(bool)
	longest, _ := got.Data["explicit_max_ttl"].(float64)
	if ttl <= 0 || ttl > life.Seconds() || period > 0 || renewable && (longest <= 0 || longest > life.Seconds()) {
		return nil, time.Time{}, fmt.Errorf("the token would live longer than was asked: the role %s sets a period or a TTL of its own", i.cfg.TokenRole)
	}
	var has []string
	list, _ := got.Data["policies"].([]any)
	for _, p := range list {
		name, _ := p.(string)
		if !slices.Contains(policies, name) {
			return nil, time.Time{}, fmt.Errorf("the token would hold policy %s, which nobody asked for: the role %s adds it", name, i.cfg.TokenRole)
		}
		has = append(has, name)
	}
	return has, now.Add(time.Duration(ttl) * time.Second), nil
}

// certificate issues one, key and all, wrapped.
func (i *issuer) certificate(ctx context.Context, w *Wish, life, wrap time.Duration, now time.Time) (*issued, error) {
	got, err := i.call(ctx, "issue the certificate", http.MethodPost, i.cfg.PKIMount+"/issue/"+w.Role,
		map[string]any{"common_name": w.Name, "ttl": strconv.Itoa(int(life.Seconds())) + "s"}, wrap)
	if err != nil {
		return nil, err
	}
	if got.Wrap == nil || got.Wrap.Token == "" {
		return nil, errors.New("issue the certificate: Vault did not wrap it")
	}
	return &issued{Wrapping: got.Wrap.Token, WrapTTL: got.Wrap.TTL, Ends: now.Add(life)}, nil
}
