package signin

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// OIDCOptions say where people sign in.
type OIDCOptions struct {
	Issuer, ClientID, ClientSecret string
	// Redirect is our own address with /auth/callback.
	Redirect string
	Scopes   []string
	// NameClaim and GroupsClaim are the claims that hold a person's name and groups.
	NameClaim, GroupsClaim string
	Grants                 []Grant
	Client                 *http.Client
	Log                    *slog.Logger
	Now                    func() time.Time
}

// OIDC signs people in at an OpenID provider: authorization code with PKCE, state bound to the browser, nonce.
type OIDC struct {
	opts  OIDCOptions
	guard *Guard

	mu       sync.Mutex
	provider *oidc.Provider     // found at the first sign-in, so that a provider that is away hinders no start; guarded by mu
	begun    map[string]attempt // by state; guarded by mu
}

type attempt struct {
	browser         [32]byte // hash of the cookie that the browser got
	verifier, nonce string
	to              string // the page that was asked for
	until           time.Time
}

const (
	attemptLives = 10 * time.Minute
	maxAttempts  = 1000
	browserName  = "leastwise-sign-in"
)

// NewOIDC makes one; nothing is asked of the provider yet.
func NewOIDC(opts OIDCOptions) *OIDC {
	if opts.Client == nil {
		opts.Client = &http.Client{Timeout: 15 * time.Second}
	}
	return &OIDC{opts: opts, begun: map[string]attempt{}}
}

func (o *OIDC) find(ctx context.Context) (*oidc.Provider, *oauth2.Config, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.provider == nil {
		p, err := oidc.NewProvider(ctx, o.opts.Issuer)
		if err != nil {
			return nil, nil, fmt.Errorf("find the provider %s: %w", o.opts.Issuer, err)
		}
		o.provider = p
	}
	return o.provider, &oauth2.Config{ClientID: o.opts.ClientID, ClientSecret: o.opts.ClientSecret, Endpoint: o.provider.Endpoint(),
		RedirectURL: o.opts.Redirect, Scopes: append([]string{oidc.ScopeOpenID}, o.opts.Scopes...)}, nil
}

// context outlives the request: the provider's keys are fetched by it later, too.
func (o *OIDC) context(r *http.Request) context.Context {
	return oidc.ClientContext(context.WithoutCancel(r.Context()), o.opts.Client)
}

func (o *OIDC) begin(w http.ResponseWriter, r *http.Request) {
	_, cfg, err := o.find(o.context(r))
	if err != nil {
		o.fail(w, err)
		return
	}
	state, browser := secret(), secret()
	a := attempt{browser: hashed(browser), verifier: oauth2.GenerateVerifier(), nonce: secret(), to: within(r.URL.Query().Get("return")), until: o.opts.Now().Add(attemptLives)}
	o.mu.Lock()
	for s, old := range o.begun {
		if !old.until.After(o.opts.Now()) {
			delete(o.begun, s)
		}
	}
	full := len(o.begun) >= maxAttempts
	if !full {
		o.begun[state] = a
	}
	o.mu.Unlock()
	if full {
		w.Header().Set("Retry-After", "60")
		o.guard.say(w, http.StatusServiceUnavailable, "Too many people sign in at once", "Try again in a minute.", "")
		return
	}
	// Lax: the browser comes back from the provider, which is another site.
	http.SetCookie(w, &http.Cookie{Name: browserName, Value: browser, Path: "/auth", HttpOnly: true, Secure: o.guard.TLS,
		SameSite: http.SameSiteLaxMode, MaxAge: int(attemptLives.Seconds())})
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, cfg.AuthCodeURL(state, oauth2.S256ChallengeOption(a.verifier), oidc.Nonce(a.nonce)), http.StatusFound)
}

// take gives the attempt that a callback belongs to, once.
func (o *OIDC) take(r *http.Request) (attempt, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	state := r.URL.Query().Get("state")
	a, ok := o.begun[state]
	if !ok || !a.until.After(o.opts.Now()) {
		return a, false
	}
	cookie, err := r.Cookie(browserName)
	if err != nil {
		return a, false
	}
	if got := hashed(cookie.Value); subtle.ConstantTimeCompare(got[:], a.browser[:]) != 1 {
		return a, false
	}
	delete(o.begun, state)
	return a, true
}

var errRefused = errors.New("the provider's answer is refused")

func (o *OIDC) finish(w http.ResponseWriter, r *http.Request) {
	a, ok := o.take(r)
	if !ok {
		o.guard.say(w, http.StatusForbidden, "This sign-in did not begin here", "It took too long, or began in another browser. Begin anew.", "/auth/login")
		return
	}
	if problem := r.URL.Query().Get("error"); problem != "" {
		o.opts.Log.Info("sign-in refused by the provider", "error", problem)
		o.guard.say(w, http.StatusForbidden, "Your organisation's sign-in refused", "It says: "+problem+".", "/auth/login")
		return
	}
	person, err := o.person(o.context(r), r.URL.Query().Get("code"), a)
	if err != nil {
		o.fail(w, err)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: browserName, Path: "/auth", HttpOnly: true, Secure: o.guard.TLS, SameSite: http.SameSiteLaxMode, MaxAge: -1})
	if len(person.Roles) == 0 {
		o.opts.Log.Warn("signed in, but no role is given", "name", person.Name, "groups", person.Groups)
		o.guard.say(w, http.StatusForbidden, "You have no role here", "You are "+person.Name+". Whoever writes Leastwise's configuration can give one of your groups a role.", "")
		return
	}
	o.opts.Log.Info("signed in", "name", person.Name, "roles", person.Roles)
	o.guard.enter(w, person, a.to)
}

func (o *OIDC) person(ctx context.Context, code string, a attempt) (Person, error) {
	p := Person{By: ByOIDC}
	provider, cfg, err := o.find(ctx)
	if err != nil {
		return p, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tokens, err := cfg.Exchange(ctx, code, oauth2.VerifierOption(a.verifier))
	if err != nil {
		return p, fmt.Errorf("%w: exchange the code: %w", errRefused, err)
	}
	raw, ok := tokens.Extra("id_token").(string)
	if !ok {
		return p, fmt.Errorf("%w: it holds no ID token", errRefused)
	}
	id, err := provider.VerifierContext(ctx, &oidc.Config{ClientID: o.opts.ClientID, Now: o.opts.Now}).Verify(ctx, raw)
	if err != nil {
		return p, fmt.Errorf("%w: %w", errRefused, err)
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(a.nonce)) != 1 {
		return p, fmt.Errorf("%w: its nonce is another sign-in's", errRefused)
	}
	claims := map[string]any{}
	if err := id.Claims(&claims); err != nil {
		return p, fmt.Errorf("%w: claims: %w", errRefused, err)
	}
	if claims[o.opts.GroupsClaim] == nil || claims[o.opts.NameClaim] == nil {
		// Many providers tell them at the userinfo endpoint alone.
		if info, err := provider.UserInfo(ctx, oauth2.StaticTokenSource(tokens)); err == nil && info.Subject == id.Subject {
			more := map[string]any{}
			if info.Claims(&more) == nil {
				for name, value := range more {
					if claims[name] == nil {
						claims[name] = value
					}
				}
			}
		}
	}
	return o.named(p, id.Subject, claims)
}

func (o *OIDC) named(p Person, subject string, claims map[string]any) (Person, error) {
	name, _ := claims[o.opts.NameClaim].(string)
	if o.opts.NameClaim == "email" && name != "" && claims["email_verified"] != true {
		name = "" // anybody could have written it
	}
	if p.Name = strings.TrimSpace(name); p.Name == "" {
		p.Name = subject
	}
	switch groups := claims[o.opts.GroupsClaim].(type) {
	case string:
		p.Groups = []string{groups}
	case []any:
		for _, g := range groups {
			if name, ok := g.(string); ok {
				p.Groups = append(p.Groups, name)
			}
		}
	}
	give(&p, o.opts.Grants, func(g Grant) bool {
		return g.Name != "" && g.Name == p.Name || g.Group != "" && slices.Contains(p.Groups, g.Group)
	})
	return p, nil
}

func (o *OIDC) fail(w http.ResponseWriter, err error) {
	o.opts.Log.Warn("sign-in failed", "error", err)
	if errors.Is(err, errRefused) {
		o.guard.say(w, http.StatusForbidden, "The sign-in failed", "Your organisation's sign-in gave an answer that is not accepted; Leastwise's log says why.", "/auth/login")
		return
	}
	o.guard.say(w, http.StatusBadGateway, "Your organisation's sign-in can not be reached", "Try again; Leastwise's log says why.", "/auth/login")
}
