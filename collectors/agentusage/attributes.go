package agentusage

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/valyala/fastjson"
)

// attributes are what events need of a span's or a log record's attributes: those of the semantic conventions for GenAI,
// HTTP and RPC, and those that name agents and credentials. Attributes that hold prompts, answers, bodies, headers or
// queries are not among them.
type attributes struct {
	agent, credential                []byte
	kind, impliedKind                []byte // as the log names it; as the attribute's name tells
	operation, provider, model, tool []byte
	method, host, route, path        []byte
	rpcSystem, rpcService, rpcMethod []byte
	errorType, requestID, service    []byte
	agentRank, credentialRank        int
	httpStatus, rpcStatus            int64
}

// credentialAttributes name a credential by themselves; those that hold one whole are not here.
var credentialAttributes = map[string]string{
	"leastwise.credential.id": "",
	"vault.token.accessor":    "vault_accessor",
	"vault.accessor":          "vault_accessor",
	"aws.access_key_id":       "aws_access_key",
	"spiffe.svid.serial":      "svid_serial",
	"oauth.token.jti":         "jti",
	"oauth.token.sha256":      "token_hash",
}

// set takes one attribute. Of several that name the agent, the most exact wins; a span's wins over its resource's.
func (a *attributes) set(key string, value []byte, ofResource bool) {
	if len(value) == 0 {
		return
	}
	rank := 2
	if ofResource {
		rank = 1
	}
	if kind, ok := credentialAttributes[key]; ok {
		if kind == "" {
			rank += 2
		}
		if rank > a.credentialRank {
			a.credential, a.credentialRank, a.impliedKind = value, rank, []byte(kind)
		}
		return
	}
	switch key {
	case "leastwise.agent.id":
		a.setAgent(value, rank+4)
	case "gen_ai.agent.id":
		a.setAgent(value, rank+2)
	case "agent.id":
		a.setAgent(value, rank)
	case "leastwise.credential.kind":
		a.kind = value
	case "gen_ai.operation.name":
		a.operation = value
	case "gen_ai.provider.name", "gen_ai.system":
		a.provider = value
	case "gen_ai.request.model":
		a.model = value
	case "gen_ai.tool.name":
		a.tool = value
	case "http.request.method", "http.method":
		a.method = value
	case "server.address", "net.peer.name", "http.host":
		a.host = value
	case "http.route", "url.template":
		a.route = value
	case "url.path", "http.target":
		a.path, _, _ = bytes.Cut(value, []byte{'?'})
	case "http.response.status_code", "http.status_code":
		a.httpStatus = number(value)
	case "rpc.system", "rpc.system.name":
		a.rpcSystem = value
	case "rpc.service":
		a.rpcService = value
	case "rpc.method":
		a.rpcMethod = value
	case "rpc.grpc.status_code":
		a.rpcStatus = number(value)
	case "error.type":
		a.errorType = value
	case "aws.request_id":
		a.requestID = value
	case "service.name":
		a.service = value
	}
}

func (a *attributes) setAgent(value []byte, rank int) {
	if rank > a.agentRank {
		a.agent, a.agentRank = value, rank
	}
}

func number(text []byte) int64 {
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// json takes attributes as OTLP's JSON form writes them.
func (a *attributes) json(list *fastjson.Value, ofResource bool) {
	for _, item := range list.GetArray() {
		value := item.Get("value")
		text := value.GetStringBytes("stringValue")
		if n := value.Get("intValue"); text == nil && n != nil { // 64 bits are a text, but some write a number
			if text = n.GetStringBytes(); text == nil {
				text = n.MarshalTo(nil)
			}
		}
		a.set(string(item.GetStringBytes("key")), text, ofResource)
	}
}

// tells is whether they tell of an agent's use: a span of any other HTTP call does not.
func (a *attributes) tells() bool {
	return len(a.agent) > 0 || len(a.credential) > 0 || len(a.operation) > 0
}

// usage tells what a span or log record says, without its id and time. failed is the span's own status.
func (a *attributes) usage(form string, failed, completed bool) usage {
	u := usage{form: form, agent: a.agent, kind: a.impliedKind, credential: a.credential, failure: a.errorType, outcome: unknownOutcome}
	if len(u.kind) == 0 {
		u.kind = a.kind
	}
	switch {
	case len(a.operation) > 0:
		u.action, u.resource = a.operation, a.model
		if len(a.tool) > 0 {
			u.resource = a.tool
		}
		if len(a.provider) > 0 {
			u.permission = join(a.provider, ':', a.operation)
		}
	case len(a.rpcMethod) > 0:
		u.action, u.resource = a.rpcMethod, a.host
		if u.permission = join(a.rpcService, '/', a.rpcMethod); string(a.rpcSystem) == "aws-api" {
			u.permission = []byte(strings.ToLower(strings.ReplaceAll(string(a.rpcService), " ", "")) + ":" + string(a.rpcMethod))
		}
	case len(a.method) > 0:
		u.action = a.method
		u.resource = append(bytes.Clone(a.host), a.where()...)
		u.permission = join(u.action, ' ', u.resource)
	}
	switch {
	case a.httpStatus == 401, a.httpStatus == 403, a.rpcStatus == 7, a.rpcStatus == 16, deniedType(a.errorType):
		u.outcome = denied
	case failed, a.httpStatus >= 400, a.rpcStatus != 0, len(a.errorType) > 0:
		u.outcome = failure
	case completed || a.httpStatus > 0:
		u.outcome = success
	}
	for _, f := range [...]fact{{"model", a.model}, {"tool", a.tool}, {"provider", a.provider}, {"service", a.service},
		{"aws_request_id", a.requestID}} {
		if len(f.value) > 0 {
			u.labels = append(u.labels, f)
		}
	}
	return u
}

// deniedType are error types that say that a permission was missing.
func deniedType(kind []byte) bool {
	switch string(kind) {
	case "401", "403", "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "PERMISSION_DENIED", "permission_denied", "permission denied":
		return true
	}
	return false
}

// where is the route, which is the same for one kind of call, or else the path, with what may be a secret blanked.
func (a *attributes) where() []byte {
	if len(a.route) > 0 {
		return a.route
	}
	if !jsonrecord.Secret(a.path) {
		return a.path
	}
	parts := bytes.Split(a.path, []byte{'/'})
	for i, part := range parts {
		if jsonrecord.Secret(part) {
			parts[i] = []byte("*")
		}
	}
	return bytes.Join(parts, []byte{'/'})
}

func join(a []byte, between byte, b []byte) []byte {
	if len(a) == 0 {
		return b
	}
	return append(append(bytes.Clone(a), between), b...)
}

// stamp reads OTLP's nanoseconds.
func stamp(nanos uint64) time.Time {
	if nanos == 0 || nanos > 1<<62 {
		return time.Time{}
	}
	return time.Unix(0, int64(nanos)).UTC()
}
