package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"
	"golang.org/x/time/rate"

	"github.com/leastwise/leastwise/enforcer/target"
)

// Target is one Vault. It is safe for concurrent use.
type Target struct {
	cfg     Config
	client  *api.Client
	log     *slog.Logger
	now     func() time.Time
	hashes  *rate.Limiter
	deliver delivery

	auth     auth
	accessor accessors
	form     logForm
}

// Open prepares a target; it reads the files of delivery and CA and connects
// to nothing.
func Open(c Config, log *slog.Logger, now func() time.Time) (*Target, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if now == nil {
		now = time.Now
	}
	client, err := newClient(c)
	if err != nil {
		return nil, err
	}
	t := &Target{cfg: c, client: client, log: log, now: now, hashes: rate.NewLimiter(rate.Limit(c.HashesPerSecond), c.HashesPerSecond)}
	if t.deliver, err = openDelivery(c.Reissue); err != nil {
		return nil, err
	}
	return t, nil
}

func newClient(c Config) (*api.Client, error) {
	conf := api.DefaultConfig()
	if conf.Error != nil {
		return nil, errors.New("the environment's VAULT_* settings can not be read: unset them, they are not used")
	}
	// The library reads VAULT_* on its own; the configuration file alone counts.
	conf.Address, conf.AgentAddress = c.Address, ""
	conf.MaxRetries, conf.Limiter, conf.SRVLookup = 0, nil, false
	conf.Timeout = c.Timeout
	conf.DisableRedirects = true
	conf.HttpClient = &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone(), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if err := conf.ConfigureTLS(&api.TLSConfig{CACert: c.CAFile}); err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	client, err := api.NewClient(conf)
	if err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	inNamespace(client, c.Namespace)
	return client, nil
}

func inNamespace(client *api.Client, namespace string) {
	client.ClearNamespace()
	if namespace != "" {
		client.SetNamespace(namespace)
	}
}

// request is one call with the own token. capability is what a policy has to
// grant for it; an error carries it when Vault denies the call.
type request struct {
	method, path string
	body         any
	wrapTTL      string
	capability   string
	step         string // what the call is for, in words
}

// call sends a request. On an own token that Vault does not know any more it
// logs in anew, once. A 204 gives nil, a 404 an *answer error.
func (t *Target) call(ctx context.Context, r request) (*api.Secret, error) {
	token, err := t.auth.token(ctx, t)
	if err != nil {
		return nil, err
	}
	secret, err := t.send(ctx, token, r)
	if !unknownToken(err) {
		return secret, err
	}
	t.auth.drop(token)
	if token, err = t.auth.token(ctx, t); err != nil {
		return nil, err
	}
	return t.send(ctx, token, r)
}

func (t *Target) send(ctx context.Context, token string, r request) (*api.Secret, error) {
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	req := t.client.NewRequest(r.method, "/v1/"+r.path)
	// The library clones clients without their redirect setting; the token is
	// the request's own instead.
	req.ClientToken = token
	req.WrapTTL = r.wrapTTL
	if r.method == http.MethodPatch {
		req.Headers.Set("Content-Type", "application/merge-patch+json")
	}
	if r.body != nil {
		if err := req.SetJSONBody(r.body); err != nil {
			return nil, fmt.Errorf("%s: encode request: %w", r.step, err)
		}
	}
	//nolint:staticcheck // Logical() answers a 404 with nil and loses its text; this call keeps it.
	resp, err := t.client.RawRequestWithContext(ctx, req)
	if resp != nil {
		defer resp.Body.Close()
	}
	if err != nil {
		return nil, t.classify(r, withData(err, resp))
	}
	switch {
	case resp.StatusCode == http.StatusNoContent:
		return nil, nil
	case resp.StatusCode/100 != 2:
		// A redirect is an answer without error for the library. Following it
		// would carry the token to a host nobody configured.
		return nil, &target.Error{Op: r.step, Err: fmt.Errorf("Vault redirects (%d): set enforcer.vault.address to the active node or the load balancer", resp.StatusCode)}
	}
	secret, err := api.ParseSecret(resp.Body)
	if err != nil {
		return nil, &target.Error{Op: r.step, Err: errors.New("Vault's answer can not be read")}
	}
	return secret, nil
}

// answer is Vault's own refusal.
type answer struct {
	code int
	text string
}

func (a *answer) Error() string { return fmt.Sprintf("Vault answered %d: %s", a.code, a.text) }

// says tells whether err is Vault's refusal with that text.
func says(err error, text string) bool {
	var a *answer
	return errors.As(err, &a) && strings.Contains(a.text, text)
}

func status(err error, code int) bool {
	var a *answer
	return errors.As(err, &a) && a.code == code
}

func unknownToken(err error) bool {
	return status(err, http.StatusForbidden) && says(err, "invalid token")
}

// classify is the one place that says what is retried.
//
//   - 403 with "permission denied": somebody has to grant the capability.
//   - 403 with "invalid token": the own token ended; a new one may be had.
//   - 400 and other 4xx but 404, 412, 429: the request is wrong, the same one
//     stays wrong. Callers look at the text first.
//   - 404: an answer; callers know what it means for their path. Unless they
//     do, a mount may be missing for good.
//   - 412 (a replica is behind), 429, 472, 473 and 5xx (sealed, standby, broken
//     backend): pass by themselves.
//   - no answer: refused, reset, timed out. It may have been done.
func (t *Target) classify(r request, err error) error {
	var resp *api.ResponseError
	if !errors.As(err, &resp) {
		return &target.Error{Kind: target.Retryable, Op: r.step, Err: noAnswer(err)}
	}
	a := &answer{code: resp.StatusCode, text: answerText(resp)}
	e := &target.Error{Kind: target.Impossible, Op: r.step, Err: a}
	switch {
	case a.code == http.StatusForbidden && strings.Contains(a.text, "invalid token"):
		e.Kind = target.Retryable
	case a.code == http.StatusForbidden && !strings.Contains(a.text, "invalid accessor"):
		e.Kind = target.Permission
		e.Missing = target.Missing{Path: r.path, Capability: r.capability, Step: r.step}
	case a.code >= 500, a.code == http.StatusPreconditionFailed, a.code == http.StatusTooManyRequests, a.code == 472, a.code == 473:
		e.Kind = target.Retryable
	}
	return e
}

// withData gives an error the text that Vault put into data.error instead of
// errors, as AppRole does with its 404.
func withData(err error, resp *api.Response) error {
	var refused *api.ResponseError
	if resp == nil || !errors.As(err, &refused) || len(refused.Errors) > 0 {
		return err
	}
	var body struct {
		Data struct {
			Error string `json:"error"`
		} `json:"data"`
	}
	// The library gives the body back after it looked for errors in it.
	if json.NewDecoder(io.LimitReader(resp.Body, 1<<16)).Decode(&body) == nil && body.Data.Error != "" {
		refused.Errors = []string{body.Data.Error}
	}
	return err
}

func answerText(resp *api.ResponseError) string {
	if len(resp.Errors) == 0 {
		return http.StatusText(resp.StatusCode)
	}
	text := strings.Join(strings.Fields(strings.Join(resp.Errors, "; ")), " ")
	if resp.RawError && len(text) > 100 {
		// Not Vault's JSON but some proxy's page.
		text = text[:100]
	}
	return text
}

// noAnswer drops URLs, which hold accessors and serials at most, and keeps the
// cause.
func noAnswer(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		return errors.New("no answer in time: it may have been done")
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return fmt.Errorf("no answer: %w", err)
}

// auth holds the own token.
type auth struct {
	mu       sync.Mutex // guards what follows
	current  string
	renewAt  time.Time
	endsAt   time.Time // zero: never
	accessor string
	past     []string // accessors of former own tokens, newest last
	entity   string   // of the own token; empty: it has none
	role     string   // by which it logged in, if by one
	renew    bool
}

// keepPast is how many former own tokens stay protected.
const keepPast = 8

func (a *auth) drop(token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.current == token {
		a.current = ""
	}
}

// token gives the own token, logging in if there is none. Concurrent callers
// share one login.
func (a *auth) token(ctx context.Context, t *Target) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := t.now()
	if a.current != "" && (a.endsAt.IsZero() || now.Before(a.endsAt)) {
		return a.current, nil
	}
	return a.login(ctx, t)
}

// login is called with mu held.
func (a *auth) login(ctx context.Context, t *Target) (string, error) {
	token, err := t.obtain(ctx)
	if err != nil {
		return "", err
	}
	secret, err := t.send(ctx, token, request{method: http.MethodGet, path: "auth/token/lookup-self", capability: "read", step: "look up the enforcer's own token"})
	if err != nil {
		return "", err
	}
	accessor, _ := secret.Data["accessor"].(string)
	ttl, _ := secret.TokenTTL()
	renewable, _ := secret.TokenIsRenewable()
	if a.accessor != "" && a.accessor != accessor {
		a.past = append(a.past, a.accessor)
		a.past = a.past[max(0, len(a.past)-keepPast):]
	}
	a.current, a.accessor, a.renew = token, accessor, renewable
	a.entity, _ = secret.Data["entity_id"].(string)
	meta, _ := secret.Data["meta"].(map[string]any)
	a.role, _ = meta["role_name"].(string)
	a.schedule(t.now(), ttl)
	return token, nil
}

// schedule plans the renewal at two thirds of the TTL.
func (a *auth) schedule(now time.Time, ttl time.Duration) {
	a.renewAt, a.endsAt = time.Time{}, time.Time{}
	if ttl > 0 {
		a.renewAt, a.endsAt = now.Add(ttl*2/3), now.Add(ttl)
	}
}

func (t *Target) obtain(ctx context.Context) (string, error) {
	if t.cfg.TokenFile != "" {
		return readSecret("token_file", t.cfg.TokenFile)
	}
	role, err := readSecret("approle.role_id_file", t.cfg.AppRole.RoleIDFile)
	if err != nil {
		return "", err
	}
	secretID, err := readSecret("approle.secret_id_file", t.cfg.AppRole.SecretIDFile)
	if err != nil {
		return "", err
	}
	secret, err := t.send(ctx, "", request{method: http.MethodPost, path: "auth/" + strings.Trim(t.cfg.AppRole.Mount, "/") + "/login",
		body: map[string]string{"role_id": role, "secret_id": secretID}, capability: "update", step: "log in by AppRole"})
	if err != nil {
		return "", err
	}
	if secret == nil || secret.Auth == nil || secret.Auth.ClientToken == "" {
		return "", &target.Error{Op: "log in by AppRole", Err: errors.New("Vault gave no token")}
	}
	return secret.Auth.ClientToken, nil
}

func readSecret(key, path string) (string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", &target.Error{Op: "read " + key, Err: err}
	}
	text := strings.TrimSpace(string(raw))
	if text == "" {
		return "", &target.Error{Op: "read " + key, Err: fmt.Errorf("%s is empty", path)}
	}
	return text, nil
}

// Run renews the own token until ctx ends. A renewal that fails is tried again
// and becomes a login when the token has ended; the calls in between say why
// they fail.
func (t *Target) Run(ctx context.Context) error {
	wait := time.NewTicker(time.Second)
	defer wait.Stop()
	retryAt := time.Time{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-wait.C:
		}
		if now := t.now(); !now.Before(retryAt) {
			if err := t.auth.refresh(ctx, t); err != nil && ctx.Err() == nil {
				t.log.Warn("vault: the enforcer's own token could not be renewed", "instance", t.cfg.Instance, "error", err)
				retryAt = now.Add(10 * time.Second)
			}
		}
	}
}

func (a *auth) refresh(ctx context.Context, t *Target) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.current == "" || a.renewAt.IsZero() || t.now().Before(a.renewAt) {
		return nil
	}
	if a.renew {
		secret, err := t.send(ctx, a.current, request{method: http.MethodPost, path: "auth/token/renew-self", body: map[string]any{},
			capability: "update", step: "renew the enforcer's own token"})
		if err == nil && secret != nil && secret.Auth != nil {
			ttl := time.Duration(secret.Auth.LeaseDuration) * time.Second
			left := a.endsAt.Sub(t.now())
			a.schedule(t.now(), ttl)
			if ttl > left {
				return nil
			}
			// The maximum TTL is near: a new token is needed soon.
		} else if err != nil && target.KindOf(err) == target.Retryable {
			return err
		}
	}
	_, err := a.login(ctx, t)
	return err
}

// self is what the enforcer itself is at Vault.
type self struct {
	accessors []string // of the own tokens, present and past
	entity    string
	role      string
}

func (a *auth) self(ctx context.Context, t *Target) (self, error) {
	if _, err := a.token(ctx, t); err != nil {
		return self{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return self{append([]string{a.accessor}, a.past...), a.entity, a.role}, nil
}
