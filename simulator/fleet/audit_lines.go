package fleet

import (
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// The order of keys and the omission of empty ones are those of Vault's own audit entry types; the values are shaped as
// Vault 1.19 with a Kubernetes auth mount and a kv version 2 engine shows them.

const (
	flushAt = 1 << 20
	// The response follows the request.
	answerAfter = 180 * time.Microsecond
)

// hash is an HMAC of the audit device; random, since nobody can tell.
type hash [32]byte

const hashPrefix = "hmac-sha256:"

func (h hash) String() string { return hashPrefix + hex.EncodeToString(h[:]) }

// lineToken is what a line says of a token.
type lineToken struct {
	accessor hash
	// The token is hashed in two forms: as issued, and as clients send it.
	token, sent hash
	entity      [16]byte
	role        int32
	account     int32
	child       bool
	issuedAt    time.Time
	ttl         int64
}

func (t *lineToken) entityID() string { return string(appendUUID(nil, t.entity)) }

// childOf makes a token one that was made with another: of its entity and role.
func (t *lineToken) childOf(parent *lineToken) {
	t.child = true
	t.entity, t.role, t.account = parent.entity, parent.role, parent.account
}

// lineRole is a role's unchanging text.
type lineRole struct {
	name     string
	tree     string
	policies string // JSON
	granting string // JSON
}

const lineRoles = 50

type lineWriter struct {
	w     io.Writer
	rand  *rand.Rand
	roles [lineRoles]lineRole

	buf   []byte
	auth  []byte // scratch: the caller, the same on both lines
	req   []byte // scratch: the request after its mount_accessor
	last  int    // where the last line begins in buf
	lines int
	bytes int64
}

func newLineWriter(w io.Writer) *lineWriter {
	l := &lineWriter{w: w, buf: make([]byte, 0, flushAt+1<<16)}
	for i := range l.roles {
		name := fmt.Sprintf("agent-role-%02d", i)
		policies := []string{"agent-baseline", name + "-read", name + "-write", "default", "observability-metrics-push", "pki-workload-issue"}
		l.roles[i] = lineRole{
			name: name, tree: fmt.Sprintf("team-%02d", i),
			policies: `["` + strings.Join(policies, `","`) + `"]`,
			granting: `{"type":""},{"name":"` + policies[1] + `","namespace_id":"root","type":"acl"},{"name":"` + policies[0] + `","namespace_id":"root","type":"acl"}`,
		}
	}
	return l
}

func (l *lineWriter) newToken(account int, at time.Time, ttl int64) lineToken {
	t := lineToken{
		accessor: l.hash(), token: l.hash(), sent: l.hash(), role: int32(l.rand.IntN(lineRoles)), account: int32(account), issuedAt: at, ttl: ttl,
	}
	id := l.hash()
	copy(t.entity[:], id[:16])
	return t
}

func (l *lineWriter) hash() hash {
	var h hash
	for i := 0; i < len(h); i += 8 {
		v := l.rand.Uint64()
		for j := range 8 {
			h[i+j] = byte(v >> (8 * j))
		}
	}
	return h
}

func appendHash(b []byte, h hash) []byte {
	b = append(b, '"')
	b = append(b, hashPrefix...)
	b = hex.AppendEncode(b, h[:])
	return append(b, '"')
}

func appendUUID(b []byte, id [16]byte) []byte {
	for i, part := range [...][2]int{{0, 4}, {4, 6}, {6, 8}, {8, 10}, {10, 16}} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, id[part[0]:part[1]])
	}
	return b
}

// outcome is how Vault decided on a call: the middle of its auth.
type outcome uint8

const (
	allowed outcome = iota
	refused
	// fresh is the token that the call has just issued: no decision, no issue time yet.
	fresh
)

const deniedError = `"error":"1 error occurred:\n\t* permission denied\n\n",`

func (l *lineWriter) appendAuth(b []byte, t *lineToken, how outcome) []byte {
	role := &l.roles[t.role]
	b = append(b, `{"accessor":`...)
	b = appendHash(b, t.accessor)
	b = append(b, `,"client_token":`...)
	b = appendHash(b, t.token)
	if t.child {
		b = append(b, `,"display_name":"token","entity_id":"`...)
	} else {
		b = append(b, `,"display_name":"kubernetes-agents-`...)
		b = append(b, role.name...)
		b = append(b, `","entity_id":"`...)
	}
	b = appendUUID(b, t.entity)
	if !t.child {
		b = append(b, `","metadata":{"role":"`...)
		b = append(b, role.name...)
		b = append(b, `","service_account_name":"agent-`...)
		b = strconv.AppendInt(b, int64(t.account), 10)
		b = append(b, `","service_account_namespace":"agents-`...)
		b = append(b, role.tree...)
		b = append(b, `","service_account_secret_name":"","service_account_uid":"`...)
		b = appendUUID(b, [16]byte(t.accessor[:16]))
		b = append(b, `"}`...)
	} else {
		b = append(b, '"')
	}
	b = append(b, `,"policies":`...)
	b = append(b, role.policies...)
	switch how {
	case allowed:
		b = append(b, `,"policy_results":{"allowed":true,"granting_policies":[`...)
		b = append(b, role.granting...)
		b = append(b, `]}`...)
	case refused:
		b = append(b, `,"policy_results":{"allowed":false}`...)
	case fresh:
	}
	b = append(b, `,"token_policies":`...)
	b = append(b, role.policies...)
	if how != fresh {
		b = append(b, `,"token_issue_time":"`...)
		b = t.issuedAt.Truncate(time.Second).AppendFormat(b, time.RFC3339)
		b = append(b, '"')
	}
	b = append(b, `,"token_ttl":`...)
	b = strconv.AppendInt(b, t.ttl, 10)
	return append(b, `,"token_type":"service"}`...)
}

// mount is a mount's unchanging text.
type mount struct{ accessor, class, point, version, kind string }

var (
	kvMount         = mount{"kv_f7d01a04", "secret", "secret/", "v0.21.0+builtin", "kv"}
	tokenMount      = mount{"auth_token_b4222aab", "auth", "auth/token/", "v1.19.0+builtin.vault", "token"}
	kubernetesMount = mount{"auth_kubernetes_66e1219b", "auth", "auth/kubernetes/", "v0.21.0+builtin", "kubernetes"}
	systemMount     = mount{"system_062d2493", "secret", "sys/", "v1.19.0+builtin.vault", "system"}
)

func (l *lineWriter) flush(all bool) error {
	if len(l.buf) < flushAt && !all {
		return nil
	}
	n, err := l.w.Write(l.buf)
	l.bytes += int64(n)
	l.buf, l.last = l.buf[:0], 0
	return err
}

// cutOff repeats the last line up to its middle, as a log does that was truncated.
func (l *lineWriter) cutOff() {
	line := l.buf[l.last:]
	l.buf = append(l.buf, line[:len(line)/2]...)
	l.buf = append(l.buf, '\n')
	l.lines++
}
