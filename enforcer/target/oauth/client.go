package oauth

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/leastwise/leastwise/enforcer/target"
)

const (
	answerMost  = 256 << 10 // of one answer: keys are the longest
	metadataFor = time.Hour
	assertFor   = time.Minute
)

func newHTTP(c Config) (*http.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		raw, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(raw) {
			return nil, fmt.Errorf("ca_file: %s holds no certificate", c.CAFile)
		}
	}
	if c.CertFile != "" {
		// Read at each handshake, so that a renewed certificate is used.
		transport.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
			return &pair, err
		}
	}
	return &http.Client{
		Transport: transport,
		// A redirect would carry tokens to a host nobody configured.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// metadata of the server (RFC 8414, section 2).
type metadata struct {
	Issuer        string `json:"issuer"`
	Revocation    string `json:"revocation_endpoint"`
	Introspection string `json:"introspection_endpoint"`
	JWKS          string `json:"jwks_uri"`
	// Aliases are for clients that show a certificate (RFC 8705, section 5).
	Aliases struct {
		Revocation    string `json:"revocation_endpoint"`
		Introspection string `json:"introspection_endpoint"`
	} `json:"mtls_endpoint_aliases"`
}

// server is what is known of the authorization server.
type server struct {
	mu     sync.Mutex // guards what follows
	meta   metadata
	metaAt time.Time
	keys   jose.JSONWebKeySet
	keysAt time.Time
}

// endpoints gives the server's, configured or discovered.
func (t *Target) endpoints(ctx context.Context) (metadata, error) {
	m := metadata{Issuer: t.cfg.Issuer, Revocation: t.cfg.RevocationEndpoint, Introspection: t.cfg.IntrospectionEndpoint, JWKS: t.cfg.JWKSURI}
	if m.Revocation != "" && m.Introspection != "" && m.JWKS != "" {
		return m, nil
	}
	t.server.mu.Lock()
	defer t.server.mu.Unlock()
	if t.server.metaAt.IsZero() || t.now().Sub(t.server.metaAt) >= metadataFor {
		found, err := t.discover(ctx)
		if err != nil {
			return m, err
		}
		t.server.meta, t.server.metaAt = found, t.now()
	}
	found := t.server.meta
	if t.cfg.CertFile != "" {
		found.Revocation = or(found.Aliases.Revocation, found.Revocation)
		found.Introspection = or(found.Aliases.Introspection, found.Introspection)
	}
	m.Revocation, m.Introspection, m.JWKS = or(m.Revocation, found.Revocation), or(m.Introspection, found.Introspection), or(m.JWKS, found.JWKS)
	return m, nil
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// discover reads the metadata: RFC 8414 puts the well-known path before the
// issuer's own, OpenID Connect Discovery behind it.
func (t *Target) discover(ctx context.Context) (metadata, error) {
	step := "read the authorization server's metadata"
	u, err := url.Parse(t.cfg.Issuer)
	if err != nil {
		return metadata{}, impossible(step, err)
	}
	path := strings.TrimSuffix(u.Path, "/")
	var last error
	for _, at := range []string{"/.well-known/oauth-authorization-server" + path, path + "/.well-known/openid-configuration"} {
		place := *u
		place.Path = at
		var m metadata
		if last = t.get(ctx, place.String(), step, &m); last != nil {
			var a *answer
			if errors.As(last, &a) && a.status == http.StatusNotFound {
				continue
			}
			return m, last
		}
		if m.Issuer != t.cfg.Issuer {
			// RFC 8414, section 3.3: another's metadata must not be used.
			return m, impossible(step, fmt.Errorf("it is that of another issuer, %q", clean(m.Issuer)))
		}
		for _, endpoint := range []string{m.Revocation, m.Introspection, m.JWKS, m.Aliases.Revocation, m.Aliases.Introspection} {
			if err := secureURL(endpoint); endpoint != "" && err != nil {
				return m, impossible(step, fmt.Errorf("endpoint %w", err))
			}
		}
		return m, nil
	}
	return metadata{}, last
}

// client that asks about a token: the one it was issued to where that is
// known here, else the enforcer's own.
func (t *Target) client(oauthClient string) Client {
	for _, c := range t.cfg.Clients {
		if c.ID == oauthClient {
			return c
		}
	}
	return t.cfg.Client
}

// introspection is the part of RFC 7662, section 2.2 that is looked at.
type introspection struct {
	Active   bool   `json:"active"`
	Expires  int64  `json:"exp"`
	JTI      string `json:"jti"`
	ClientID string `json:"client_id"`
}

const stepIntrospect, stepRevoke = "ask the issuer about the token", "revoke the token"

func (t *Target) introspect(ctx context.Context, c Client, token, hint string) (introspection, error) {
	var in introspection
	m, err := t.endpoints(ctx)
	switch {
	case err != nil:
		return in, err
	case m.Introspection == "":
		return in, impossible(stepIntrospect, errors.New("the issuer has no introspection endpoint, so nothing it revokes could be proven (introspection_endpoint)"))
	}
	body, err := t.post(ctx, c, m, m.Introspection, stepIntrospect, token, hint)
	if err != nil {
		return in, err
	}
	if json.Unmarshal(body, &in) != nil || !strings.Contains(string(body), `"active"`) {
		return introspection{}, &target.Error{Op: stepIntrospect, Err: errors.New("the answer is none of RFC 7662")}
	}
	return in, nil
}

func (t *Target) revokeToken(ctx context.Context, c Client, token, hint string) error {
	m, err := t.endpoints(ctx)
	switch {
	case err != nil:
		return err
	case m.Revocation == "":
		return impossible(stepRevoke, fmt.Errorf("the issuer has no revocation endpoint (revocation_endpoint): %w", target.ErrUnsupported))
	}
	_, err = t.post(ctx, c, m, m.Revocation, stepRevoke, token, hint)
	return err
}

func (t *Target) post(ctx context.Context, c Client, m metadata, endpoint, step, token, hint string) ([]byte, error) {
	form := url.Values{"token": {token}}
	if hint != "" {
		form.Set("token_type_hint", hint)
	}
	basic := ""
	switch c.Auth {
	case "", authBasic:
		secret, err := readSecret(c.SecretFile)
		if err != nil {
			return nil, &target.Error{Op: "read client.secret_file", Err: err}
		}
		basic = secret
	case authJWT:
		assertion, err := t.assertion(c, m)
		if err != nil {
			return nil, &target.Error{Op: "sign with client.private_key_file", Err: err}
		}
		form.Set("client_id", c.ID)
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", assertion)
	case authTLS:
		form.Set("client_id", c.ID)
	}
	req, err := http.NewRequest(http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, impossible(step, errors.New("the endpoint's URL can not be asked"))
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if basic != "" {
		req.SetBasicAuth(url.QueryEscape(c.ID), url.QueryEscape(basic))
	}
	return t.do(ctx, req, step, c.ID)
}

// assertion is RFC 7523, section 3: for one use, soon over.
func (t *Target) assertion(c Client, m metadata) (string, error) {
	signer, err := openKey(c.PrivateKeyFile, c.KeyID)
	if err != nil {
		return "", err
	}
	now := t.now()
	raw, err := json.Marshal(map[string]any{
		"iss": c.ID, "sub": c.ID, "aud": or(c.AssertionAudience, m.Issuer), "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(assertFor).Unix(),
	})
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(raw)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

func (t *Target) get(ctx context.Context, place, step string, into any) error {
	req, err := http.NewRequest(http.MethodGet, place, nil)
	if err != nil {
		return impossible(step, errors.New("the URL can not be asked"))
	}
	body, err := t.do(ctx, req, step, "")
	if err != nil {
		return err
	}
	if json.Unmarshal(body, into) != nil {
		return &target.Error{Op: step, Err: errors.New("the answer is no JSON")}
	}
	return nil
}

func (t *Target) do(ctx context.Context, req *http.Request, step, client string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	req.Header.Set("Accept", "application/json")
	resp, err := t.http.Do(req.WithContext(ctx))
	if err != nil {
		return nil, &target.Error{Op: step, Err: noAnswer(err)}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, answerMost+1))
	switch {
	case err != nil:
		return nil, &target.Error{Op: step, Err: noAnswer(err)}
	case len(body) > answerMost:
		return nil, &target.Error{Op: step, Err: errors.New("the answer is too long")}
	case resp.StatusCode == http.StatusOK:
		return body, nil
	}
	a := &answer{status: resp.StatusCode}
	var told struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(body, &told) == nil {
		a.code, a.text = clean(told.Error), clean(told.Description)
	}
	return nil, classify(a, step, req.URL.Path, client, resp.Header.Get("Retry-After"))
}

// answer is the server's refusal (RFC 6749, section 5.2).
type answer struct {
	status     int
	code, text string
}

func (a *answer) Error() string {
	text := fmt.Sprintf("the issuer answered %d", a.status)
	for _, part := range []string{a.code, a.text} {
		if part != "" {
			text += ": " + part
		}
	}
	return text
}

func says(err error, code string) bool {
	var a *answer
	return errors.As(err, &a) && a.code == code
}

// classify is the one place that says what is retried.
//
//   - 429, 408 and 5xx pass by themselves (RFC 7009, section 2.2.1 has 503 with
//     Retry-After: the client must assume that the token still exists).
//   - 401 and 403, and the codes by which servers say that a client may not do
//     this with another's token: somebody has to change the client. RFC 7009
//     names no code for that; oidc-provider says invalid_request.
//   - Other 4xx: the same request stays wrong. Callers look at
//     unsupported_token_type first.
//   - A redirect is not followed.
func classify(a *answer, step, path, client, after string) error {
	e := &target.Error{Kind: target.Impossible, Op: step, Err: a}
	denied := a.code == "unauthorized_client" || a.code == "access_denied" || a.code == "invalid_client" ||
		a.code == "invalid_request" && strings.Contains(a.text, "not authorized")
	switch {
	case a.status == http.StatusTooManyRequests, a.status == http.StatusRequestTimeout, a.status >= 500:
		e.Kind = target.Retryable
		if n, err := strconv.Atoi(after); err == nil && n > 0 {
			e.RetryAfter = min(time.Duration(n)*time.Second, time.Hour)
		}
	case a.status/100 == 3:
		e.Kind, e.Err = target.Retryable, fmt.Errorf("%w: redirects are not followed, name the endpoint itself", a)
	case a.status == http.StatusUnauthorized, a.status == http.StatusForbidden, denied:
		e.Kind = target.Permission
		e.Missing = target.Missing{Path: path, Capability: fmt.Sprintf("leave for client %s, or the token's own client in `clients`", client), Step: step}
	}
	return e
}

// noAnswer drops the URL and keeps the cause.
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

func readSecret(path string) (string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(raw))
	if text == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return text, nil
}
