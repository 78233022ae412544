// Package signin says who asks, and lets nobody else in: sessions that begin with a one-time link, with OpenID Connect, or
// with a client certificate that carries a SPIFFE ID, and the guard before every request.
//
// It is closed by default: without a role nobody reads anything. Sessions live in memory: they end with the process, after
// their time, when their owner signs out, and when somebody ends all of a person's.
package signin

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Roles, and what they allow beyond reading: nothing; asking for exceptions for what they own; approving exceptions; the
// kill switch; all of it, and the mode.
const (
	Viewer   = "viewer"
	Owner    = "owner"
	Approver = "approver"
	Security = "security"
	Admin    = "admin"
)

// Roles that there are.
var Roles = []string{Viewer, Owner, Approver, Security, Admin}

// Ways to sign in.
const (
	ByLink = "link"
	ByOIDC = "oidc"
	ByMTLS = "mtls"
)

// Person is somebody, or a machine, who was proven to be who they say.
type Person struct {
	Name   string
	Roles  []string
	Owners []string // of the catalog; theirs are what these own
	Groups []string
	By     string
}

// Is tells whether the person has one of the roles. An admin has all.
func (p *Person) Is(roles ...string) bool {
	return slices.ContainsFunc(p.Roles, func(r string) bool { return r == Admin || slices.Contains(roles, r) })
}

// OnlyOwner tells whether what others own is not theirs to look at first.
func (p *Person) OnlyOwner() bool {
	return slices.Contains(p.Roles, Owner) && !p.Is(Viewer, Security, Approver)
}

// Grant gives roles to whoever fits it.
type Grant struct {
	// One of the three: a group of the provider, a name, or a SPIFFE ID (with * at its end: all that begin so).
	Group, Name, SPIFFEID string
	Roles, Owners         []string
}

// give adds what grants give to a person.
func give(p *Person, grants []Grant, fits func(Grant) bool) {
	for _, g := range grants {
		if !fits(g) {
			continue
		}
		p.Roles, p.Owners = union(p.Roles, g.Roles), union(p.Owners, g.Owners)
	}
	if !slices.Contains(p.Roles, Owner) {
		p.Owners = nil
	}
}

func union(a, b []string) []string {
	for _, s := range b {
		if !slices.Contains(a, s) {
			a = append(a, s)
		}
	}
	return a
}

// Session is one signed-in browser.
type Session struct {
	Person
	CSRF string

	until   time.Time
	id      [32]byte
	limiter *rate.Limiter
	ended   chan struct{} // closed when it ends
}

// Ended is closed when the session has ended before its time.
func (s *Session) Ended() <-chan struct{} { return s.ended }

// Until is when it ends by itself.
func (s *Session) Until() time.Time { return s.until }

const (
	// maxSessions bounds memory; beyond, the one that ends first has to go.
	maxSessions = 10_000
	// linkLives is how long a one-time link can be used.
	linkLives = 15 * time.Minute
)

// Sessions are those that live. It is safe for concurrent use.
type Sessions struct {
	now   func() time.Time
	lives time.Duration
	rate  rate.Limit
	burst int

	mu    sync.Mutex
	byID  map[[32]byte]*Session // by the hash of the cookie; guarded by mu
	links map[[32]byte]link     // by the hash of the token; guarded by mu
	certs map[string]*Session   // of client certificates, by name; guarded by mu
}

type link struct {
	person Person
	until  time.Time
}

// NewSessions makes none. Each lives that long and may ask that often a second.
func NewSessions(lives time.Duration, perSecond int, now func() time.Time) *Sessions {
	return &Sessions{now: now, lives: lives, rate: rate.Limit(perSecond), burst: 4 * perSecond,
		byID: map[[32]byte]*Session{}, links: map[[32]byte]link{}, certs: map[string]*Session{}}
}

// secret is 256 random bits as text.
func secret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // crypto/rand never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func hashed(token string) [32]byte { return sha256.Sum256([]byte(token)) }

// Start begins a session and gives the cookie's value, which is kept nowhere here.
func (s *Sessions) Start(p Person) (token string, session *Session) {
	token = secret()
	session = s.session(p)
	session.id = hashed(token)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tidy()
	s.byID[session.id] = session
	return token, session
}

func (s *Sessions) session(p Person) *Session {
	return &Session{Person: p, CSRF: secret(), until: s.now().Add(s.lives), limiter: rate.NewLimiter(s.rate, s.burst), ended: make(chan struct{})}
}

// tidy forgets what is over, and if there are still too many, what ends first.
func (s *Sessions) tidy() {
	now := s.now()
	var first *Session
	for _, one := range s.byID {
		if !one.until.After(now) {
			s.drop(one)
		} else if first == nil || one.until.Before(first.until) {
			first = one
		}
	}
	if len(s.byID) >= maxSessions {
		s.drop(first)
	}
	for id, l := range s.links {
		if !l.until.After(now) {
			delete(s.links, id)
		}
	}
	for name, one := range s.certs {
		if !one.until.After(now) {
			delete(s.certs, name)
		}
	}
}

func (s *Sessions) drop(one *Session) {
	if s.byID[one.id] == one {
		delete(s.byID, one.id)
		close(one.ended)
	}
}

// Find gives the session of a cookie; nil if there is none (any more).
func (s *Sessions) Find(token string) *Session {
	if token == "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.byID[hashed(token)]
	if one == nil {
		return nil
	}
	if !one.until.After(s.now()) {
		s.drop(one)
		return nil
	}
	return one
}

// End ends a session.
func (s *Sessions) End(one *Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(one)
}

// EndAll ends all sessions of a person, and the links that would begin one, and tells how many sessions there were.
func (s *Sessions) EndAll(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, one := range s.byID {
		if one.Name == name {
			s.drop(one)
			n++
		}
	}
	for id, l := range s.links {
		if l.person.Name == name {
			delete(s.links, id)
		}
	}
	return n
}

// Link makes a token that begins one session of a person, once, within a quarter of an hour.
func (s *Sessions) Link(p Person) (token string) {
	token = secret()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tidy()
	p.By = ByLink
	s.links[hashed(token)] = link{person: p, until: s.now().Add(linkLives)}
	return token
}

// Redeem takes a link's token. It works once.
func (s *Sessions) Redeem(token string) (Person, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := hashed(token)
	l, ok := s.links[id]
	delete(s.links, id)
	return l.person, ok && l.until.After(s.now())
}

// Certificate gives the session of who showed a client certificate; the certificate was verified.
func (s *Sessions) Certificate(p Person) *Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.certs[p.Name]
	if one == nil || !one.until.After(s.now()) {
		if len(s.certs) >= maxSessions {
			clear(s.certs) // they come back with the next request
		}
		one = s.session(p)
		s.certs[p.Name] = one
	}
	return one
}
