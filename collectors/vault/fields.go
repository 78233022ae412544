package vault

import (
	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/valyala/fastjson"
	"github.com/valyala/fastjson/fastfloat"
)

// request holds the fields of this object that events need. Bodies are taken as they stand: few events need them.
type request struct {
	known                       bool // the record has the object
	id, operation, path         []byte
	namespace                   []byte // its path
	remote                      []byte
	mountPoint, mountType       []byte
	clientToken, clientAccessor []byte
	dataText                    []byte
	data                        *fastjson.Value // parsed if the call needs it
}

// reply is what an answer holds.
type reply struct {
	auth     auth
	wrap     wrapInfo
	secret   bool   // it holds a secret
	lease    []byte // of the secret
	dataText []byte
	data     *fastjson.Value // parsed if the call needs it
}

// wrapInfo is a wrapping token.
type wrapInfo struct {
	known                               bool
	accessor, token, wrapped, made, ttl []byte
}

// auth is a token as the log shows it: the caller's, or one that was given. Its policies and metadata are JSON.
type auth struct {
	known                             bool // the record has the object
	accessor, clientToken, entityID   []byte
	displayName, tokenType, issueTime []byte
	policies, metadata                []byte
	roleName, role                    []byte // of the metadata
	ttl, remaining                    []byte // numbers, if there are
	numUses                           int64
	results                           results
}

// results are what the policies said of a call.
type results struct {
	known             bool
	allowed, granting []byte // JSON
}

// read takes what the record says, in one pass, and tells whether the record is an object in JSON. Of a field that stands
// twice the last counts.
func (e *entry) read(w *jsonrecord.Walk, text []byte) bool {
	w.Open(text)
	if !w.Object() {
		return false
	}
	for {
		key, more := w.Field()
		if !more {
			return w.Close()
		}
		switch string(key) {
		case "type":
			e.kind = w.Text()
		case "time":
			e.time = w.Text()
		case "request":
			e.request = request{known: w.Object()}
			if e.request.known {
				e.request.read(w)
			}
		case "response":
			e.reply = reply{}
			if w.Object() {
				e.reply.read(w, text)
			}
		case "auth":
			e.auth.read(w, text)
		case "error":
			e.err = w.Text()
		default:
			w.Skip()
		}
	}
}

func (r *request) read(w *jsonrecord.Walk) {
	for key, more := w.Field(); more; key, more = w.Field() {
		switch string(key) {
		case "id":
			r.id = w.Text()
		case "operation":
			r.operation = w.Text()
		case "path":
			r.path = w.Text()
		case "namespace":
			r.namespace = nil
			for key, more := w.Within(w.Object()); more; key, more = w.Field() {
				if string(key) == "path" {
					r.namespace = first(r.namespace, w.Text())
				} else {
					w.Skip()
				}
			}
		case "remote_address":
			r.remote = w.Text()
		case "mount_point":
			r.mountPoint = w.Text()
		case "mount_type":
			r.mountType = w.Text()
		case "client_token":
			r.clientToken = w.Text()
		case "client_token_accessor":
			r.clientAccessor = w.Text()
		case "data":
			r.dataText = w.Raw()
		default:
			w.Skip()
		}
	}
}

func (r *reply) read(w *jsonrecord.Walk, text []byte) {
	for key, more := w.Field(); more; key, more = w.Field() {
		switch string(key) {
		case "auth":
			r.auth.read(w, text)
		case "wrap_info":
			r.wrap = wrapInfo{known: w.Object()}
			if r.wrap.known {
				r.wrap.read(w)
			}
		case "secret":
			r.lease, r.secret = nil, w.Object()
			for key, more := w.Within(r.secret); more; key, more = w.Field() {
				if string(key) == "lease_id" {
					r.lease = first(r.lease, w.Text())
				} else {
					w.Skip()
				}
			}
		case "data":
			r.dataText = w.Raw()
		default:
			w.Skip()
		}
	}
}

func (i *wrapInfo) read(w *jsonrecord.Walk) {
	for key, more := w.Field(); more; key, more = w.Field() {
		switch string(key) {
		case "accessor":
			i.accessor = first(i.accessor, w.Text())
		case "token":
			i.token = first(i.token, w.Text())
		case "wrapped_accessor":
			i.wrapped = first(i.wrapped, w.Text())
		case "creation_time":
			i.made = first(i.made, w.Text())
		case "ttl":
			i.ttl = first(i.ttl, w.Raw())
		default:
			w.Skip()
		}
	}
}

func (a *auth) read(w *jsonrecord.Walk, text []byte) {
	*a = auth{known: w.Object()}
	for key, more := w.Within(a.known); more; key, more = w.Field() {
		switch string(key) {
		case "accessor":
			a.accessor = w.Text()
		case "client_token":
			a.clientToken = w.Text()
		case "entity_id":
			a.entityID = w.Text()
		case "display_name":
			a.displayName = w.Text()
		case "token_type":
			a.tokenType = w.Text()
		case "token_issue_time":
			a.issueTime = w.Text()
		case "policies":
			a.policies = w.Raw()
		case "metadata":
			from := w.At()
			a.readMetadata(w)
			a.metadata = text[from:w.At()]
		case "policy_results":
			a.results = results{known: true}
			a.results.read(w)
		case "token_ttl":
			a.ttl = w.Raw()
		case "remaining_uses":
			a.remaining = w.Raw()
		case "num_uses":
			a.numUses = whole(w.Raw())
		default:
			w.Skip()
		}
	}
}

func (a *auth) readMetadata(w *jsonrecord.Walk) {
	a.roleName, a.role = nil, nil
	for key, more := w.Within(w.Object()); more; key, more = w.Field() {
		switch string(key) {
		case "role_name":
			a.roleName = first(a.roleName, w.Text())
		case "role":
			a.role = first(a.role, w.Text())
		default:
			w.Skip()
		}
	}
}

func (r *results) read(w *jsonrecord.Walk) {
	for key, more := w.Within(w.Object()); more; key, more = w.Field() {
		switch string(key) {
		case "allowed":
			r.allowed = first(r.allowed, w.Raw())
		case "granting_policies":
			r.granting = first(r.granting, w.Raw())
		default:
			w.Skip()
		}
	}
}

// first keeps what a field of an inner object held first, also if that was no text.
func first(kept, found []byte) []byte {
	switch {
	case kept != nil:
		return kept
	case found == nil:
		return []byte{}
	}
	return found
}

// roleOf a token is the role it was made through.
func (a *auth) roleOf() []byte {
	if len(a.roleName) > 0 {
		return a.roleName
	}
	return a.role
}

// whole is the whole number that JSON holds; 0 if it is none.
func whole(text []byte) int64 { return fastfloat.ParseInt64BestEffort(string(text)) }

// lifetime in seconds; 0 if there is none, or it is beyond reason.
func lifetime(ttl []byte) int64 {
	if n := whole(ttl); n > 0 && n <= maxSeconds {
		return n
	}
	return 0
}
