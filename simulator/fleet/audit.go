package fleet

import (
	"fmt"
	"io"
	"math/bits"
	"math/rand/v2"
	"time"
)

// AuditOptions say what log WriteAudit writes. A share that is zero means: none of it.
type AuditOptions struct {
	Seed uint64
	// Credentials is how many tokens are issued, most by a login, ChildShare of them with another token.
	Credentials int
	// Calls is how many calls are made with them, besides those that issue.
	Calls int
	// Start and Span are when: the records are spread evenly, credentials are issued during the first half. Start zero:
	// a fixed day, so that the log does not depend on when it is written. Span zero: an hour.
	Start time.Time
	Span  time.Duration
	// DeniedShare of the calls are refused, RenewShare of them renew the caller's token, RevokeShare of them end it.
	DeniedShare float64
	RenewShare  float64
	RevokeShare float64
	ChildShare  float64
	// Malformed is how many lines, besides, are cut off in their middle.
	Malformed int
}

// AuditTruth is what WriteAudit wrote.
type AuditTruth struct {
	// Lines and Bytes of the log, malformed lines too; Records are calls: a request and a response line of one id.
	Lines, Records, Malformed int
	Bytes                     int64
	First, Last               time.Time
	// Credentials in order of issue.
	Credentials []AuditCredential
}

// AuditCredential is the truth about one token of the log. A use is an allowed call that is neither the token's own
// renewal nor its own revocation.
type AuditCredential struct {
	// Accessor as the log shows it.
	Accessor string
	EntityID string
	// Parent is the index of the token it was made with; -1 if a login issued it.
	Parent   int
	IssuedAt time.Time
	// ExpiresAt is after the last renewal.
	ExpiresAt  time.Time
	LastUsedAt time.Time
	Uses       uint64
	Renewals   uint64
	Denied     uint64
	// Distinct pairs of operation and path.
	UsedPermissions, DeniedPermissions int
	// Ended is "revoked", "parent" (it died with its parent, which no line says), or "".
	Ended string
}

// WriteAudit writes an audit log as Vault 1.19 writes it, with every string value hashed, and returns the truth about
// it. The same options give the same bytes. It holds a few hundred bytes a credential in memory, and nothing a line.
func WriteAudit(w io.Writer, opts AuditOptions) (AuditTruth, error) {
	if opts.Credentials < 1 || opts.Calls < 0 {
		return AuditTruth{}, fmt.Errorf("write an audit log of %d credentials and %d calls: at least one credential is needed", opts.Credentials, opts.Calls)
	}
	if opts.Start.IsZero() {
		opts.Start = time.Date(2026, time.January, 5, 8, 0, 0, 0, time.UTC)
	}
	if opts.Span == 0 {
		opts.Span = time.Hour
	}
	opts.Start = opts.Start.UTC()
	g := &generator{
		opts: opts, rand: rand.New(rand.NewPCG(opts.Seed, 0x1ea57)),
		line: newLineWriter(w), tokens: make([]token, 0, opts.Credentials),
		live: make([]int32, 0, opts.Credentials),
	}
	g.line.rand = g.rand
	return g.run()
}

// A token's permissions are bits: which it used, and which it was denied.
const (
	readItems   = 40
	updateItems = 20
	listBit     = readItems + updateItems
	createBit   = listBit + 1
	deniedPaths = 12
)

type token struct {
	line     lineToken
	parent   int32
	children []int32
	slot     int32 // in generator.live; -1 once ended
	expires  time.Time
	lastUsed time.Time
	ended    string
	uses     uint64
	denied   uint64
	renewals uint64
	used     uint64
	refused  uint16
}

type generator struct {
	opts    AuditOptions
	rand    *rand.Rand
	line    *lineWriter
	tokens  []token
	live    []int32 // indices of tokens that have not ended
	records int
	broken  int
}

func (g *generator) run() (AuditTruth, error) {
	total := g.opts.Credentials + g.opts.Calls
	for k := range total {
		at := g.at(k, total)
		// Issued at twice the pace at which the log passes, until all are.
		if len(g.tokens) < g.opts.Credentials && len(g.tokens)*total <= 2*k*g.opts.Credentials {
			g.issue(at)
		} else {
			g.call(at)
		}
		g.records++
		for g.broken < g.opts.Malformed && (g.broken+1)*total <= (k+1)*g.opts.Malformed {
			g.line.cutOff()
			g.broken++
		}
		if err := g.line.flush(false); err != nil {
			return AuditTruth{}, fmt.Errorf("write the audit log: %w", err)
		}
	}
	if err := g.line.flush(true); err != nil {
		return AuditTruth{}, fmt.Errorf("write the audit log: %w", err)
	}
	return g.truth(g.at(total-1, total)), nil
}

func (g *generator) at(k, total int) time.Time {
	return g.opts.Start.Add(time.Duration(float64(g.opts.Span) * float64(k) / float64(total)))
}

func (g *generator) issue(at time.Time) {
	index := int32(len(g.tokens))
	parent := int32(-1)
	if g.opts.ChildShare > 0 && len(g.live) > 0 && g.rand.Float64() < g.opts.ChildShare {
		parent = g.live[g.rand.IntN(len(g.live))]
		if up := g.tokens[parent].parent; up >= 0 {
			parent = up // children of children would die with their grandparent, unseen as well
		}
	}
	g.tokens = append(g.tokens, token{parent: parent, slot: int32(len(g.live))})
	g.live = append(g.live, index)
	t := &g.tokens[index]
	// Long enough that no token expires within the log: whatever is called with lives.
	hours := []int64{1, 4, 24, 720}[g.rand.IntN(4)]
	ttl := hours * max(3600, int64(2*g.opts.Span/time.Second))
	t.line = g.line.newToken(int(index), at, ttl)
	t.expires = at.Add(time.Duration(ttl) * time.Second)
	if parent < 0 {
		g.line.login(at, &t.line)
		return
	}
	by := &g.tokens[parent]
	t.line.childOf(&by.line)
	by.children = append(by.children, index)
	by.use(at, createBit)
	g.line.create(at, &by.line, &t.line)
}

func (g *generator) call(at time.Time) {
	t := &g.tokens[g.live[g.rand.IntN(len(g.live))]]
	switch chance := g.rand.Float64(); {
	case chance < g.opts.DeniedShare:
		path := g.rand.IntN(deniedPaths)
		t.denied++
		t.refused |= 1 << path
		g.line.refused(at, &t.line, path)
	case chance < g.opts.DeniedShare+g.opts.RenewShare:
		t.renewals++
		t.expires = at.Add(time.Duration(t.line.ttl) * time.Second)
		g.line.renew(at, &t.line)
	case chance < g.opts.DeniedShare+g.opts.RenewShare+g.opts.RevokeShare && len(g.live) > 1+len(t.children):
		g.line.revoke(at, &t.line)
		g.end(t, "revoked")
	default:
		g.use(at, t)
	}
}

func (g *generator) use(at time.Time, t *token) {
	switch g.rand.IntN(16) {
	case 0:
		t.use(at, listBit)
		g.line.list(at, &t.line)
	case 1, 2, 3:
		item := g.rand.IntN(updateItems)
		t.use(at, readItems+item)
		g.line.update(at, &t.line, item)
	default:
		item := g.rand.IntN(readItems)
		t.use(at, item)
		g.line.read(at, &t.line, item)
	}
}

func (t *token) use(at time.Time, permission int) {
	t.uses++
	t.used |= 1 << permission
	t.lastUsed = at
}

func (g *generator) end(t *token, how string) {
	if t.slot < 0 {
		return
	}
	last := g.live[len(g.live)-1]
	g.live[t.slot] = last
	g.tokens[last].slot = t.slot
	g.live = g.live[:len(g.live)-1]
	t.slot, t.ended = -1, how
	for _, child := range t.children {
		g.end(&g.tokens[child], "parent")
	}
}

func (g *generator) truth(last time.Time) AuditTruth {
	truth := AuditTruth{
		Lines: g.line.lines, Records: g.records, Malformed: g.broken, Bytes: g.line.bytes,
		First: g.opts.Start, Last: last, Credentials: make([]AuditCredential, len(g.tokens)),
	}
	for i := range g.tokens {
		t := &g.tokens[i]
		truth.Credentials[i] = AuditCredential{
			Accessor: t.line.accessor.String(), EntityID: t.line.entityID(), Parent: int(t.parent),
			IssuedAt: t.line.issuedAt, ExpiresAt: t.expires, LastUsedAt: t.lastUsed,
			Uses: t.uses, Renewals: t.renewals, Denied: t.denied,
			UsedPermissions: bits.OnesCount64(t.used), DeniedPermissions: bits.OnesCount16(t.refused), Ended: t.ended,
		}
	}
	return truth
}
