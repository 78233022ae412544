package jwtregistry

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/valyala/fastjson"
)

// form is how a record is written.
type form int

const (
	formNone form = iota
	formRegistry
	formKeycloak
	formVault
)

// record is one record as read, whatever its form. Texts point into the record and are copied where they are kept.
type record struct {
	raw  source.Record
	root *fastjson.Value
	id   string
	at   time.Time
	verb string // the source's own: issued, CODE_TO_TOKEN
	hash string // of the token, as sha256:...

	claims  claims
	token   []byte // signed form: a secret
	keyID   string // that the token names
	event   []byte
	version *fastjson.Value
	active  *fastjson.Value
	time    *fastjson.Value

	recordName, tokenHash, previous, parent, agent, owner []byte
	permission, resource                                  []byte
	endsWithParent                                        bool

	// Fields of the other forms.
	kind, realm, realmName, client, user, session, address, failure []byte
	requestID, operationType, resourceType                          []byte
	details, data                                                   *fastjson.Value
}

func (r *record) field(key []byte, v *fastjson.Value) {
	switch string(key) {
	case "version":
		r.version = v
	case "event":
		r.event = v.GetStringBytes()
	case "id":
		r.recordName = v.GetStringBytes()
	case "time":
		r.time = v
	case "token":
		r.token = v.GetStringBytes()
	case "token_sha256":
		r.tokenHash = v.GetStringBytes()
	case "active":
		r.active = v
	case "previous_jti":
		r.previous = v.GetStringBytes()
	case "parent_jti":
		r.parent = v.GetStringBytes()
	case "ends_with_parent":
		r.endsWithParent = v.Type() == fastjson.TypeTrue
	case "agent_id":
		r.agent = v.GetStringBytes()
	case "owner":
		r.owner = v.GetStringBytes()
	case "permission":
		r.permission = v.GetStringBytes()
	case "resource":
		r.resource = v.GetStringBytes()
	case "type":
		r.kind = v.GetStringBytes()
	case "realmId":
		r.realm = v.GetStringBytes()
	case "realmName":
		r.realmName = v.GetStringBytes()
	case "clientId":
		r.client = v.GetStringBytes()
	case "userId":
		r.user = v.GetStringBytes()
	case "sessionId":
		r.session = v.GetStringBytes()
	case "ipAddress":
		r.address = v.GetStringBytes()
	case "error":
		r.failure = v.GetStringBytes()
	case "details":
		r.details = v
	case "operationType":
		r.operationType = v.GetStringBytes()
	case "resourceType":
		r.resourceType = v.GetStringBytes()
	case "data":
		r.data = v
	case "request_id":
		r.requestID = v.GetStringBytes()
	default:
		r.claims.field(key, v)
	}
}

// form tells how the record is written.
func (r *record) form() form {
	switch {
	case len(r.realm) > 0 && (len(r.kind) > 0 || len(r.operationType) > 0 && len(r.resourceType) > 0):
		return formKeycloak
	case r.data.Exists("token") && r.data.Exists("client_id"):
		return formVault
	case len(r.event) > 0 && (r.version != nil || r.named()):
		return formRegistry
	case len(r.event) == 0 && r.version == nil && r.claimsAlone():
		return formRegistry
	}
	return formNone
}

// named is whether the record names a token.
func (r *record) named() bool {
	return len(r.claims.jti) > 0 || len(r.token) > 0 || len(r.tokenHash) > 0
}

// claimsAlone is whether the record is the claims of a token and nothing else: it was issued.
func (r *record) claimsAlone() bool {
	return len(r.claims.iss) > 0 && (len(r.claims.sub) > 0 || len(r.claims.jti) > 0) && (!r.claims.iat.IsZero() || !r.claims.exp.IsZero())
}

// recordID is the record's own id, or made of its content.
func (r *record) recordID() string {
	if r.id == "" {
		if len(r.recordName) > 0 {
			r.id = jsonrecord.ID(r.recordName)
		} else {
			r.id = jsonrecord.Hash(r.root)
		}
	}
	return r.id
}

// claims of a token, RFC 7519 and its companions.
type claims struct {
	jti, iss, sub, clientID, azp, kind []byte
	audience                           []string
	scopes                             []string
	act, cnf                           *fastjson.Value
	iat, nbf, exp                      time.Time
	badTime                            bool
}

func (c *claims) field(key []byte, v *fastjson.Value) {
	switch string(key) {
	case "jti":
		c.jti = textOf(v)
	case "iss":
		c.iss = v.GetStringBytes()
	case "sub":
		c.sub = textOf(v)
	case "client_id":
		c.clientID = v.GetStringBytes()
	case "azp":
		c.azp = v.GetStringBytes()
	case "token_type", "typ":
		c.kind = v.GetStringBytes()
	case "aud":
		c.audience = texts(v, false)
	case "scope", "scp":
		c.scopes = append(c.scopes, texts(v, true)...)
	case "act":
		c.act = v
	case "cnf":
		c.cnf = v
	case "iat":
		c.iat = c.time(v)
	case "nbf":
		c.nbf = c.time(v)
	case "exp":
		c.exp = c.time(v)
	}
}

func (c *claims) time(v *fastjson.Value) time.Time {
	t, ok := jsonrecord.Time(v)
	c.badTime = c.badTime || !ok && v.Type() != fastjson.TypeNull
	return t
}

// fill takes from other what c does not say.
func (c *claims) fill(other *claims) {
	for _, pair := range [...][2]*[]byte{{&c.jti, &other.jti}, {&c.iss, &other.iss}, {&c.sub, &other.sub},
		{&c.clientID, &other.clientID}, {&c.azp, &other.azp}, {&c.kind, &other.kind}} {
		if len(*pair[0]) == 0 {
			*pair[0] = *pair[1]
		}
	}
	if len(c.audience) == 0 {
		c.audience = other.audience
	}
	if len(c.scopes) == 0 {
		c.scopes = other.scopes
	}
	if c.act == nil {
		c.act = other.act
	}
	if c.cnf == nil {
		c.cnf = other.cnf
	}
	c.iat, c.nbf, c.exp = firstOf(c.iat, other.iat), firstOf(c.nbf, other.nbf), firstOf(c.exp, other.exp)
}

// client is the OAuth client that the token was issued through.
func (c *claims) client() []byte {
	if len(c.clientID) > 0 {
		return c.clientID
	}
	return c.azp
}

// granted are the scopes, each once, sorted.
func (c *claims) granted() []string {
	if len(c.scopes) == 0 {
		return nil
	}
	slices.Sort(c.scopes)
	return slices.Compact(c.scopes)
}

// textOf a value: some issuers write ids as numbers.
func textOf(v *fastjson.Value) []byte {
	if v.Type() == fastjson.TypeNumber {
		if n, err := v.Int64(); err == nil {
			return strconv.AppendInt(nil, n, 10)
		}
	}
	return v.GetStringBytes()
}

const maxList = 64

// texts are a list's, or those of one text, split at spaces if they may be (RFC 8693 section 4.2; scp may be either).
func texts(v *fastjson.Value, split bool) []string {
	var out []string
	add := func(text []byte) {
		if len(text) > 0 && len(out) < maxList && !jsonrecord.Secret(text) {
			out = append(out, jsonrecord.Text(text, jsonrecord.MaxLabel))
		}
	}
	switch v.Type() {
	case fastjson.TypeString:
		if !split {
			add(v.GetStringBytes())
			break
		}
		for part := range strings.FieldsSeq(string(v.GetStringBytes())) {
			add([]byte(part))
		}
	case fastjson.TypeArray:
		for _, item := range v.GetArray() {
			add(item.GetStringBytes())
		}
	}
	return out
}
