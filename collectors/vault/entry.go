package vault

import (
	"bytes"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/valyala/fastjson"
)

// entry is what one audit line says, as far as events need it. Its texts and JSON values die with the next line.
type entry struct {
	rec      source.Record
	response bool // the line's type
	unpaired bool // no request.id
	id       string
	at       time.Time

	kind, time, err []byte // fields of the line
	request         request
	auth            auth // who called; not known if nobody is, or if it is the token a login gives
	granted         auth // auth of a login's response line: the new token, also if it was wrapped
	reply           reply

	login      bool
	path       string // without the namespace, tokens blanked
	permission string // operation and path
	op         string
	caller     string // accessor
	callerKey  string
	failure    failure
	allowed    verdict
}

type verdict uint8

const (
	unsaid verdict = iota
	yes
	no
)

// know makes of the line's texts what they stand for. Everything that decides event 0 is taken from what both lines of a
// call have in common.
func (d *Decoder) know(e *entry) {
	e.op = operation(e.request.operation)
	path := e.request.path
	if space := e.request.namespace; len(space) > 0 {
		path = bytes.TrimPrefix(path, space)
	}
	if e.op != "" || len(path) > 0 { // the path is a part of the permission: one text
		d.scratch = append(append(append(d.scratch[:0], e.op...), ' '), safePath(path)...)
		e.permission = string(d.scratch)
		e.path = e.permission[len(e.op)+1:]
	}
	if string(e.request.mountType) == "pki" || strings.HasPrefix(e.path, "auth/token/") || strings.HasPrefix(e.path, "sys/") {
		e.request.data = d.inside(bodyPart, e.request.dataText)
		e.reply.data = object(d.inside(answerPart, e.reply.dataText))
	}
	e.login = isLogin(e)
	if e.login {
		e.granted, e.auth = e.auth, auth{}
		return
	}
	switch results := &e.auth.results; {
	case !results.known:
	case string(results.allowed) == "true":
		e.allowed = yes
	default:
		e.allowed = no
	}
	caller := e.auth.accessor
	if len(caller) == 0 {
		caller = e.request.clientAccessor
	}
	if e.callerKey = d.keyOf(keyToken, caller); e.callerKey != "" {
		e.caller = e.callerKey[len(d.prefixes[keyToken]):]
	}
}

// operation is a word of Vault's. The usual ones cost nothing.
func operation(text []byte) string {
	for _, known := range [...]string{"read", "update", "list", "create", "delete", "patch"} {
		if string(text) == known {
			return known
		}
	}
	return cleanName(text)
}

// isLogin tells a call that made the caller's token from nothing: the response line of a login has the new token as its
// top-level auth, without policy results. Paths tell it on the request line, where a token may have been sent along.
func isLogin(e *entry) bool {
	method := strings.HasPrefix(e.path, "auth/") && !strings.HasPrefix(e.path, "auth/token/")
	if method && (strings.Contains(e.path, "/login") || strings.HasSuffix(e.path, "/callback")) {
		return true
	}
	if e.path == "sys/mfa/validate" {
		return true
	}
	return e.reply.auth.known && !e.auth.results.known && !strings.HasPrefix(e.path, "auth/token/") &&
		bytes.Equal(e.reply.auth.accessor, e.auth.accessor)
}

// authenticated is whether a token was used, with or without an accessor.
func (e *entry) authenticated() bool {
	return e.caller != "" || len(e.request.clientToken) > 0 ||
		len(e.auth.clientToken) > 0
}

// namesCaller is whether the field of the request's body names the calling token.
func (e *entry) namesCaller(field string) bool {
	value := e.request.data.GetStringBytes(field)
	if len(value) == 0 {
		return false
	}
	if field == "accessor" {
		return string(value) == e.caller
	}
	// A client knows its token as request.client_token has it; auth.client_token is Vault's inner name of it.
	return bytes.Equal(value, e.request.clientToken) ||
		bytes.Equal(value, e.auth.clientToken)
}

// failure is the bounded category of an error text.
type failure string

const (
	failedNot       failure = ""
	failedDenied    failure = "permission denied"
	failedToken     failure = "invalid token"
	failedThrottled failure = "throttled"
	failedPath      failure = "unsupported path"
	failedOperation failure = "unsupported operation"
	failedRequest   failure = "invalid request"
	failedInternal  failure = "internal error"
	failedOther     failure = "other"
)

var failures = []struct {
	text string
	as   failure
}{
	{"invalid token", failedToken}, // "2 errors occurred: permission denied, invalid token"
	{"bad token", failedToken},
	{"permission denied", failedDenied},
	{"quota exceeded", failedThrottled},
	{"too many requests", failedThrottled},
	{"overloaded", failedThrottled},
	{"unsupported path", failedPath},
	{"no handler for route", failedPath},
	{"unsupported operation", failedOperation},
	{"invalid request", failedRequest},
	{"missing client token", failedRequest},
	{"internal error", failedInternal},
}

func classify(text []byte) failure {
	if len(text) == 0 {
		return failedNot
	}
	for _, f := range failures {
		if bytes.Contains(text, []byte(f.text)) {
			return f.as
		}
	}
	return failedOther
}

// denied is for want of permission: the policies did not allow it, or the token is none.
func (e *entry) denied() bool {
	return e.allowed != yes && (e.failure == failedDenied || e.failure == failedToken)
}

const (
	maxID    = 256
	maxLabel = 256
	maxPath  = 1024
)

const blanked = "(blanked)"

// urlToken are paths whose last part old clients use for a token.
var urlToken = []string{"auth/token/lookup/", "auth/token/renew/", "auth/token/revoke/", "auth/token/revoke-orphan/"}

// safePath blanks tokens in a path. It is the only free text that is copied.
func safePath(path []byte) []byte {
	for _, p := range urlToken {
		if len(path) > len(p) && string(path[:len(p)]) == p {
			return []byte(p + blanked)
		}
	}
	if !looksSecret(path) {
		return bounded(path, maxPath)
	}
	parts := strings.Split(string(path), "/")
	for i, part := range parts {
		if looksSecret([]byte(part)) {
			parts[i] = blanked
		}
	}
	return bounded([]byte(strings.Join(parts, "/")), maxPath)
}

// looksSecret knows the prefixes of Vault's tokens.
func looksSecret(text []byte) bool {
	if bytes.IndexByte(text, '.') < 0 {
		return false
	}
	return bytes.Contains(text, []byte("hvs.")) || bytes.Contains(text, []byte("hvb.")) || bytes.Contains(text, []byte("hvr.")) ||
		bytes.HasPrefix(text, []byte("s.")) || bytes.Contains(text, []byte("/s.")) ||
		bytes.HasPrefix(text, []byte("b.AAAA")) || bytes.Contains(text, []byte("/b.AAAA"))
}

const hashMark = "hmac-sha256:"

func isHash[T []byte | string](text T) bool {
	return len(text) > len(hashMark) && string(text[:len(hashMark)]) == hashMark
}

// Parts of the record that are parsed, each with a parser of its own.
const (
	bodyPart   = iota // of the request
	answerPart        // data of the response
	otherPart         // valid until the next
	parts
)

// inside parses a part of the record; nil if it is none.
func (d *Decoder) inside(part int, text []byte) *fastjson.Value {
	if len(text) == 0 {
		return nil
	}
	v, err := d.parsers[part].ParseBytes(text)
	if err != nil { // it was read before
		return nil
	}
	return v
}

// object is v if it is an object, else nil; the methods of a nil Value give zero values.
func object(v *fastjson.Value) *fastjson.Value {
	if v == nil || v.Type() != fastjson.TypeObject {
		return nil
	}
	return v
}

// bounded cuts a text to a length without cutting a character, and replaces what protobuf and ClickHouse can not hold.
func bounded(text []byte, limit int) []byte {
	if len(text) > limit {
		for limit > 0 && !utf8.RuneStart(text[limit]) {
			limit--
		}
		text = text[:limit]
	}
	if bytes.IndexByte(text, 0) >= 0 {
		text = bytes.ReplaceAll(text, []byte{0}, []byte("\uFFFD"))
	}
	if !utf8.Valid(text) {
		text = bytes.ToValidUTF8(text, []byte("\uFFFD"))
	}
	return text
}

func cleanText(text []byte, limit int) string { return string(bounded(text, limit)) }

func cleanName(text []byte) string { return cleanText(text, maxID) }

// cleanLabel gives nothing for what must not be shown.
func cleanLabel(text []byte) string {
	if isHash(text) || looksSecret(text) {
		return ""
	}
	return cleanText(text, maxLabel)
}
