package vault

import "github.com/valyala/fastjson"

// request and auth are the fields of these objects that events need, found in one pass: looking each up by its name
// would go through the object as often.
type request struct {
	id, operation, path, namespace, data *fastjson.Value
	remote, mountPoint, mountType        *fastjson.Value
	clientToken, clientAccessor          *fastjson.Value
}

func (r *request) read(v *fastjson.Value) { v.GetObject().Visit(r.field) }

func (r *request) field(key []byte, v *fastjson.Value) {
	switch string(key) {
	case "id":
		r.id = v
	case "operation":
		r.operation = v
	case "path":
		r.path = v
	case "namespace":
		r.namespace = v.Get("path")
	case "remote_address":
		r.remote = v
	case "mount_point":
		r.mountPoint = v
	case "mount_type":
		r.mountType = v
	case "client_token":
		r.clientToken = v
	case "client_token_accessor":
		r.clientAccessor = v
	case "data":
		r.data = v
	}
}

// reply is what an answer holds.
type reply struct{ auth, wrap, secret, data *fastjson.Value }

func (r *reply) read(v *fastjson.Value) { v.GetObject().Visit(r.field) }

func (r *reply) field(key []byte, v *fastjson.Value) {
	switch string(key) {
	case "auth":
		r.auth = object(v)
	case "wrap_info":
		r.wrap = object(v)
	case "secret":
		r.secret = object(v)
	case "data":
		r.data = object(v)
	}
}

// auth is a token as the log shows it: the caller's, or one that was given.
type auth struct {
	known                             bool // the record has the object
	accessor, clientToken, entityID   []byte
	displayName, tokenType, issueTime []byte
	policies                          []*fastjson.Value
	metadata, results, ttl, remaining *fastjson.Value
	numUses                           int64
}

func (a *auth) read(v *fastjson.Value) {
	if v = object(v); v != nil {
		a.known = true
		v.GetObject().Visit(a.field)
	}
}

func (a *auth) field(key []byte, v *fastjson.Value) {
	switch string(key) {
	case "accessor":
		a.accessor = stringOf(v)
	case "client_token":
		a.clientToken = stringOf(v)
	case "entity_id":
		a.entityID = stringOf(v)
	case "display_name":
		a.displayName = stringOf(v)
	case "token_type":
		a.tokenType = stringOf(v)
	case "token_issue_time":
		a.issueTime = stringOf(v)
	case "policies":
		a.policies = v.GetArray()
	case "metadata":
		a.metadata = v
	case "policy_results":
		a.results = v
	case "token_ttl":
		a.ttl = v
	case "remaining_uses":
		a.remaining = v
	case "num_uses":
		a.numUses = v.GetInt64()
	}
}

// lifetime is token_ttl in seconds; 0 if there is none, or it is beyond reason.
func (a *auth) lifetime() int64 { return seconds(a.ttl) }

// root: only a root token can live without a time to live.
func (a *auth) root() bool {
	for _, policy := range a.policies {
		if string(policy.GetStringBytes()) == "root" {
			return true
		}
	}
	return false
}

// stringOf a value is its text; nil if it is none.
func stringOf(v *fastjson.Value) []byte { return v.GetStringBytes() }
