package broker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/leastwise/leastwise/schemas"
)

// errCaller: nobody that is known asks.
var errCaller = errors.New("give a client certificate with a SPIFFE ID of the trust domain, or a bearer token of the configured issuer")

// Caller is who asks, as proved.
type Caller struct {
	// Principal is its key, Name how people read it.
	Principal, Name string
	Labels          map[string]string
}

// callers tell who asks.
type callers struct {
	cfg Config

	mu       sync.Mutex
	verifier *oidc.IDTokenVerifier // nil until the issuer answered
}

// tls is the listener's configuration: a certificate that is shown has to be good, none may be shown.
func (c Config) tls() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("cert_file, key_file: %w", err)
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if c.TrustBundleFile == "" {
		return out, nil
	}
	text, err := os.ReadFile(c.TrustBundleFile)
	if err != nil {
		return nil, fmt.Errorf("trust_bundle_file: %w", err)
	}
	out.ClientCAs, out.ClientAuth = x509.NewCertPool(), tls.VerifyClientCertIfGiven
	if !out.ClientCAs.AppendCertsFromPEM(text) {
		return nil, errors.New("trust_bundle_file: holds no certificate")
	}
	return out, nil
}

func (c *callers) of(r *http.Request) (Caller, error) {
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return c.svid(r.TLS.VerifiedChains[0][0])
	}
	raw, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if c.cfg.OIDC == nil || !bearer {
		return Caller{}, errCaller
	}
	return c.bearer(r.Context(), raw)
}

// svid: exactly one URI, of the trust domain, with a path; no authority
// (https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md, sections 2 and 5.2).
func (c *callers) svid(cert *x509.Certificate) (Caller, error) {
	if len(cert.URIs) != 1 || cert.IsCA {
		return Caller{}, errCaller
	}
	u := cert.URIs[0]
	if u.Scheme != "spiffe" || u.Host != c.cfg.TrustDomain || u.Path == "" || u.RawQuery != "" || u.User != nil || u.Fragment != "" {
		return Caller{}, errCaller
	}
	id := u.String()
	return Caller{Principal: schemas.Key{System: "spire", Instance: "default", Type: "spiffe_id", ID: id}.String(), Name: id,
		Labels: map[string]string{"spiffe_id": id}}, nil
}

func (c *callers) bearer(ctx context.Context, raw string) (Caller, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.verifier == nil {
		// The provider's keys are fetched again later, without this request's end.
		provider, err := oidc.NewProvider(context.WithoutCancel(ctx), c.cfg.OIDC.Issuer)
		if err != nil {
			return Caller{}, errors.New("the OIDC issuer does not answer")
		}
		c.verifier = provider.Verifier(&oidc.Config{ClientID: c.cfg.OIDC.Audience})
	}
	token, err := c.verifier.Verify(ctx, raw)
	if err != nil {
		return Caller{}, errCaller // the library's text may quote the token
	}
	claims := map[string]any{}
	if err := token.Claims(&claims); err != nil {
		return Caller{}, errCaller
	}
	name, _ := claims[c.cfg.OIDC.Claim].(string)
	if name == "" {
		return Caller{}, errCaller
	}
	return Caller{Principal: schemas.Key{System: "jwt", Instance: strings.TrimPrefix(c.cfg.OIDC.Issuer, "https://"), Type: "client", ID: name}.String(),
		Name: name, Labels: map[string]string{"agent_id": name}}, nil
}
