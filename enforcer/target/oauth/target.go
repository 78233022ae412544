package oauth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/leastwise/leastwise/enforcer/target"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// system of the keys: the collector jwtregistry makes them.
const system = "jwtregistry"

// liveMost bounds the tokens that are asked about to count the live ones.
const liveMost = 500

// Target is one authorization server. It is safe for concurrent use.
type Target struct {
	cfg    Config
	http   *http.Client
	source Source
	log    *slog.Logger
	now    func() time.Time
	server server
}

// Open prepares a target; it reads the CA's file and connects to nothing.
func Open(c Config, log *slog.Logger, now func() time.Time) (*Target, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c.Instance = c.InstanceName()
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if now == nil {
		now = time.Now
	}
	client, err := newHTTP(c)
	if err != nil {
		return nil, err
	}
	source, err := openSource(c.TokenSource, c.Timeout)
	if err != nil {
		return nil, err
	}
	return &Target{cfg: c, http: client, source: source, log: log, now: now}, nil
}

// Capabilities tells what the metadata and the clients lack, by asking about a
// token that nobody has.
func (t *Target) Capabilities(ctx context.Context) ([]target.Missing, error) {
	m, err := t.endpoints(ctx)
	if err != nil {
		return nil, err
	}
	var missing []target.Missing
	if m.Revocation == "" {
		missing = append(missing, target.Missing{Path: "revocation_endpoint", Capability: "RFC 7009", Step: stepRevoke})
	}
	if m.Introspection == "" {
		missing = append(missing, target.Missing{Path: "introspection_endpoint", Capability: "RFC 7662", Step: stepIntrospect})
		return missing, nil
	}
	for _, client := range append([]Client{t.cfg.Client}, t.cfg.Clients...) {
		_, err := t.introspect(ctx, client, rand.Text(), "")
		var e *target.Error
		switch {
		case errors.As(err, &e) && e.Kind == target.Permission:
			missing = append(missing, e.Missing)
		case err != nil:
			return nil, err
		}
	}
	return missing, nil
}

// subject is a credential with its tokens and what is known of them.
type subject struct {
	held
	id     string
	kind   string
	client Client
	own    *signed // its own token, where that is self-contained
}

// of finds the tokens of a credential.
func (t *Target) of(ctx context.Context, c target.Credential) (*subject, error) {
	key, err := schemas.ParseKey(c.Key)
	if err != nil {
		return nil, impossible("read the credential's key", err)
	}
	if key.System != system || key.Instance != t.cfg.Instance {
		return nil, impossible("read the credential's key", fmt.Errorf("%s is not of %s/%s", c.Key, system, t.cfg.Instance))
	}
	switch key.Type {
	case typeJWT, typeRefresh:
	case typeSession:
		return nil, impossible("revoke a session", fmt.Errorf("no standard ends a session at its issuer: end it by the issuer's administration API: %w", target.ErrIssuerCannot))
	default:
		return nil, impossible("revoke a "+key.Type, target.ErrUnsupported)
	}
	h, found, err := t.source.Find(ctx, key.Type, key.ID)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, impossible("find the token", fmt.Errorf("the issuer takes tokens and not ids, and the token source holds none for this id: "+
			"let the registry keep it there (token_source), or end the grant by the issuer's administration API: %w", target.ErrIssuerCannot))
	}
	s := &subject{held: h, id: key.ID, kind: key.Type, client: t.client(c.Labels["oauth_client"])}
	if s.own, err = t.signedToken(ctx, h.token); err != nil {
		return nil, err
	}
	if s.own != nil && s.own.JTI != "" && !s.named(s.own.JTI) {
		return nil, s.mistaken()
	}
	return s, nil
}

// named tells whether the id is that jti, or the hash of the token.
func (s *subject) named(jti string) bool {
	return s.id == jti || s.id == "sha256:"+hash(s.token)
}

func (s *subject) mistaken() error {
	return impossible("find the token", errors.New("the token source holds another token for this id: its jti is not the credential's"))
}

func hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// state of a credential at its issuer.
type state struct {
	target.Sighting
	until time.Time // a self-contained token works until then
}

// look asks the issuer. found is what an earlier look called the token.
func (t *Target) look(ctx context.Context, s *subject, found string) (state, error) {
	in, err := t.introspect(ctx, s.client, s.token, s.hint())
	if s.own != nil && says(err, "unsupported_token_type") {
		return t.lookSigned(ctx, s, found)
	}
	if err != nil {
		return state{}, err
	}
	until := s.own.until()
	switch {
	case in.Active && in.JTI != "" && in.JTI != s.token && !s.named(in.JTI):
		return state{}, s.mistaken()
	case in.Active:
		ends := time.Unix(in.Expires, 0).UTC()
		detail := "the issuer calls it active"
		if in.Expires > 0 {
			detail += "; it would end " + ends.Format(time.RFC3339)
		}
		return state{Sighting: target.Sighting{Status: target.Alive, Found: s.found(until), Detail: detail}, until: until}, nil
	}
	return t.inactive(s, found, "the issuer calls it inactive"), nil
}

func (s *subject) hint() string {
	if s.kind == typeRefresh {
		return "refresh_token"
	}
	return "access_token"
}

// inactive is gone if it was active before: an issuer says the same of tokens
// that it never issued (RFC 7662, section 2.2). What its own key signed, it
// issued.
func (t *Target) inactive(s *subject, found, detail string) state {
	until := s.own.until()
	known, seen := strings.CutPrefix(found, "sha256:")
	known, _, _ = strings.Cut(known, " ")
	switch {
	case seen && known == hash(s.token):
		return state{Sighting: target.Sighting{Status: target.Gone, Found: found, Detail: detail + ", which it called active before"}, until: until}
	case s.own != nil:
		return state{Sighting: target.Sighting{Status: target.Gone, Found: s.found(until), Detail: detail + ", and its signature shows that it issued it"}, until: until}
	default:
		return state{Sighting: target.Sighting{Detail: detail + ": it says the same of tokens it never issued, and nobody has seen this one active"}}
	}
}

// lookSigned is for issuers that do not introspect what they signed: it works
// until its time is over, and what can be ended is the refresh token.
func (t *Target) lookSigned(ctx context.Context, s *subject, found string) (state, error) {
	until := s.own.until()
	switch {
	case !until.IsZero() && !t.now().Before(until):
		return state{Sighting: target.Sighting{Status: target.Gone, Found: s.found(until), Detail: "its own time ended " + until.Format(time.RFC3339)}}, nil
	case s.refresh == "":
		return state{Sighting: target.Sighting{Status: target.Alive, Found: s.found(until), Detail: "signed by the issuer and valid until " + until.Format(time.RFC3339)}, until: until}, nil
	}
	in, err := t.introspect(ctx, s.client, s.refresh, "refresh_token")
	if err != nil {
		return state{}, err
	}
	if in.Active {
		return state{Sighting: target.Sighting{Status: target.Alive, Found: s.found(until), Detail: "signed by the issuer, and its refresh token is active"}, until: until}, nil
	}
	st := t.inactive(s, found, "the issuer calls its refresh token inactive")
	if found == "" {
		// A refresh token is not signed: that it is inactive says nothing.
		st.Status, st.Detail = target.Unknown, "the issuer calls its refresh token inactive: it says the same of tokens it never issued"
	}
	return st, nil
}

// found names the token by its hash, with its end.
func (s *subject) found(until time.Time) string {
	text := "sha256:" + hash(s.token)
	if !until.IsZero() {
		text += " exp=" + strconv.FormatInt(until.Unix(), 10)
	}
	return text
}

// Lookup tells whether the token is active. It changes nothing.
func (t *Target) Lookup(ctx context.Context, c target.Credential) (target.Sighting, error) {
	if client, ok := t.ownClient(c.Key); ok {
		if _, err := t.introspect(ctx, client, rand.Text(), ""); err != nil {
			return target.Sighting{}, err
		}
		return target.Sighting{Status: target.Alive, Found: client.ID, Detail: "the issuer lets this client in"}, nil
	}
	s, err := t.of(ctx, c)
	if err != nil {
		return target.Sighting{}, err
	}
	st, err := t.look(ctx, s, c.Found)
	return st.Sighting, err
}

// Revoke ends the token, and before it the refresh token that is kept beside
// it: else its holder had the next one a second later.
func (t *Target) Revoke(ctx context.Context, c target.Credential) error {
	if _, ok := t.ownClient(c.Key); ok {
		return impossible("revoke the client", target.ErrOwn)
	}
	s, err := t.of(ctx, c)
	if err != nil {
		return err
	}
	if s.refresh != "" {
		if err := t.revokeToken(ctx, s.client, s.refresh, "refresh_token"); err != nil {
			return err
		}
	}
	err = t.revokeToken(ctx, s.client, s.token, s.hint())
	switch {
	case s.own != nil && says(err, "unsupported_token_type") && s.refresh != "":
		return nil
	case s.own != nil && says(err, "unsupported_token_type"):
		return impossible(stepRevoke, fmt.Errorf("the issuer does not revoke tokens that it signed, and no refresh token is kept for it: it works until %s; end its grant or client by the issuer's administration API: %w",
			s.own.until().Format(time.RFC3339), target.ErrIssuerCannot))
	}
	return err
}

// Verify asks the issuer for its word that the token is not active any more.
func (t *Target) Verify(ctx context.Context, c target.Credential) (target.Proof, error) {
	s, err := t.of(ctx, c)
	if err != nil {
		return target.Proof{}, err
	}
	st, err := t.look(ctx, s, c.Found)
	if err != nil {
		return target.Proof{}, err
	}
	p := target.Proof{Gone: st.Status == target.Gone, Text: "introspection at " + t.cfg.Issuer + ": " + st.Detail}
	if p.Gone && st.until.After(t.now()) {
		p.WorksUntil = st.until
	}
	if p.Gone && s.refresh != "" {
		in, err := t.introspect(ctx, s.client, s.refresh, "refresh_token")
		if err != nil {
			return target.Proof{}, err
		}
		if in.Active {
			p.Gone, p.WorksUntil, p.Text = false, time.Time{}, p.Text+"; the refresh token kept beside it is active"
		}
	}
	return p, nil
}

// Collateral is what ends with the token and has no key here.
func (t *Target) Collateral(ctx context.Context, c target.Credential) ([]target.Hit, error) {
	s, err := t.of(ctx, c)
	if err != nil {
		return nil, err
	}
	switch {
	case s.refresh != "":
		return []target.Hit{{Text: "the refresh token that it was given with, and with it what the issuer gives up of the same grant (RFC 7009, section 2.1)"}}, nil
	case s.kind == typeRefresh:
		return []target.Hit{{Text: "the access tokens of the same grant that the issuer keeps (RFC 7009, section 2.1)"}}, nil
	}
	return nil, nil
}

func (t *Target) clientKey(id string) string {
	return schemas.Key{System: system, Instance: t.cfg.Instance, Type: typeClient, ID: id}.String()
}

// ownClient tells whether the key is that of a client as which the enforcer
// acts.
func (t *Target) ownClient(key string) (Client, bool) {
	for _, client := range append([]Client{t.cfg.Client}, t.cfg.Clients...) {
		if t.clientKey(client.ID) == key {
			return client, true
		}
	}
	return Client{}, false
}

// Protected are the clients as which the enforcer acts; it holds no token.
func (t *Target) Protected(context.Context) ([]string, error) {
	keys := []string{t.clientKey(t.cfg.Client.ID)}
	for _, client := range t.cfg.Clients {
		keys = append(keys, t.clientKey(client.ID))
	}
	return keys, nil
}

// Live counts the active tokens that the token source holds. An authorization
// server lists none.
func (t *Target) Live(ctx context.Context) (int, error) {
	n := 0
	for _, kind := range []string{typeJWT, typeRefresh} {
		list, more, err := t.source.All(ctx, kind, liveMost)
		switch {
		case errors.Is(err, target.ErrUnsupported):
			return 0, impossible("count live tokens", errors.New("an authorization server lists none, and neither does this token source: set enforcer.live_credentials"))
		case err != nil:
			return 0, err
		case more:
			return 0, impossible("count live tokens", fmt.Errorf("the token source holds more than %d: set enforcer.live_credentials", liveMost))
		}
		for _, h := range list {
			st, err := t.lookHeld(ctx, kind, h)
			if err != nil {
				return 0, err
			}
			if st.Status == target.Alive {
				n++
			}
		}
	}
	return n, nil
}

// lookHeld looks at a token whose id is not known.
func (t *Target) lookHeld(ctx context.Context, kind string, h held) (state, error) {
	s := &subject{held: h, id: "sha256:" + hash(h.token), kind: kind, client: t.cfg.Client}
	var err error
	if s.own, err = t.signedToken(ctx, h.token); target.KindOf(err) == target.Impossible {
		return state{}, nil // somebody else's token is not live here
	} else if err != nil {
		return state{}, err
	}
	return t.look(ctx, s, "")
}

const refusedReissue = "an OAuth token is not given back: narrow the scopes of its client at the issuer, and the client asks for the next one itself"

// Plan refuses: scopes belong to the client's registration at the issuer.
func (t *Target) Plan(context.Context, *pb.Decision) (*pb.Reissue, string, error) {
	return nil, refusedReissue, nil
}

// Reissue is not offered.
func (t *Target) Reissue(context.Context, string, *pb.Decision, *pb.Reissue) (*pb.Reissue, error) {
	return nil, impossible("re-issue", target.ErrUnsupported)
}

// Rollback is not offered.
func (t *Target) Rollback(context.Context, *pb.Reissue) error {
	return impossible("roll back", target.ErrUnsupported)
}
