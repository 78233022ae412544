package spire

import (
	"strings"
	"time"

	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// effect is what a call does besides being a call.
type effect uint8

const (
	effectNone  effect = iota + 1
	effectX509         // signs an X509-SVID; the serial is in the debug line
	effectJWT          // signs a JWT-SVID
	effectAgent        // signs an agent's own SVID
	effectCA           // signs a downstream server's authority
	effectEntry        // the line describes a registration entry
)

// methods are those that the server audits, by service and method as its log writes them.
var methods = map[string]effect{
	"svid.v1.SVID/MintX509SVID":        effectX509,
	"svid.v1.SVID/BatchNewX509SVID":    effectX509,
	"svid.v1.SVID/MintJWTSVID":         effectJWT,
	"svid.v1.SVID/NewJWTSVID":          effectJWT,
	"svid.v1.SVID/NewDownstreamX509CA": effectCA,

	"entry.v1.Entry/CountEntries":          effectNone,
	"entry.v1.Entry/ListEntries":           effectNone,
	"entry.v1.Entry/GetEntry":              effectNone,
	"entry.v1.Entry/BatchCreateEntry":      effectEntry,
	"entry.v1.Entry/BatchUpdateEntry":      effectEntry,
	"entry.v1.Entry/BatchDeleteEntry":      effectEntry,
	"entry.v1.Entry/GetAuthorizedEntries":  effectNone,
	"entry.v1.Entry/SyncAuthorizedEntries": effectNone,

	"agent.v1.Agent/CountAgents":     effectNone,
	"agent.v1.Agent/ListAgents":      effectNone,
	"agent.v1.Agent/GetAgent":        effectNone,
	"agent.v1.Agent/DeleteAgent":     effectNone,
	"agent.v1.Agent/BanAgent":        effectNone,
	"agent.v1.Agent/AttestAgent":     effectAgent,
	"agent.v1.Agent/RenewAgent":      effectAgent,
	"agent.v1.Agent/PostStatus":      effectNone,
	"agent.v1.Agent/CreateJoinToken": effectNone,

	"bundle.v1.Bundle/GetBundle":                  effectNone,
	"bundle.v1.Bundle/AppendBundle":               effectNone,
	"bundle.v1.Bundle/PublishJWTAuthority":        effectNone,
	"bundle.v1.Bundle/CountBundles":               effectNone,
	"bundle.v1.Bundle/ListFederatedBundles":       effectNone,
	"bundle.v1.Bundle/GetFederatedBundle":         effectNone,
	"bundle.v1.Bundle/BatchCreateFederatedBundle": effectNone,
	"bundle.v1.Bundle/BatchUpdateFederatedBundle": effectNone,
	"bundle.v1.Bundle/BatchSetFederatedBundle":    effectNone,
	"bundle.v1.Bundle/BatchDeleteFederatedBundle": effectNone,

	"trustdomain.v1.TrustDomain/ListFederationRelationships":       effectNone,
	"trustdomain.v1.TrustDomain/GetFederationRelationship":         effectNone,
	"trustdomain.v1.TrustDomain/BatchCreateFederationRelationship": effectNone,
	"trustdomain.v1.TrustDomain/BatchUpdateFederationRelationship": effectNone,
	"trustdomain.v1.TrustDomain/BatchDeleteFederationRelationship": effectNone,
	"trustdomain.v1.TrustDomain/RefreshBundle":                     effectNone,

	"localauthority.v1.LocalAuthority/GetJWTAuthorityState":        effectNone,
	"localauthority.v1.LocalAuthority/PrepareJWTAuthority":         effectNone,
	"localauthority.v1.LocalAuthority/ActivateJWTAuthority":        effectNone,
	"localauthority.v1.LocalAuthority/TaintJWTAuthority":           effectNone,
	"localauthority.v1.LocalAuthority/RevokeJWTAuthority":          effectNone,
	"localauthority.v1.LocalAuthority/GetX509AuthorityState":       effectNone,
	"localauthority.v1.LocalAuthority/PrepareX509Authority":        effectNone,
	"localauthority.v1.LocalAuthority/ActivateX509Authority":       effectNone,
	"localauthority.v1.LocalAuthority/TaintX509Authority":          effectNone,
	"localauthority.v1.LocalAuthority/TaintX509UpstreamAuthority":  effectNone,
	"localauthority.v1.LocalAuthority/RevokeX509Authority":         effectNone,
	"localauthority.v1.LocalAuthority/RevokeX509UpstreamAuthority": effectNone,

	"Logger/GetLogger":       effectNone,
	"Logger/SetLogLevel":     effectNone,
	"Logger/ResetLogLevel":   effectNone,
	"debug.v1.Debug/GetInfo": effectNone,
	"Health/Check":           effectNone,
	"Health/List":            effectNone,
	"Health/Watch":           effectNone,
}

// call is a method as events tell of it.
type call struct {
	does               effect
	action, permission string
}

// newCalls gives the methods that are known, under the names that the log has.
func newCalls() map[string]call {
	calls := make(map[string]call, len(methods))
	for name, does := range methods {
		service, method, _ := strings.Cut(name, "/")
		calls[name] = call{does, method, fullMethod(service, method)}
	}
	return calls
}

// fullMethod is the full gRPC method, as SPIRE's own authorisation policy names it.
func fullMethod(service, method string) string {
	switch { // those that SPIRE shortens in its logs
	case service == "" || method == "":
		return ""
	case service == "Logger":
		service = "spire.api.server.logger.v1.Logger"
	case service == "Health":
		service = "grpc.health.v1.Health"
	case !strings.HasPrefix(service, "grpc."):
		service = "spire.api.server." + service
	}
	return "/" + service + "/" + method
}

// call gives the method that a line tells of.
func (d *Decoder) call(f *fields) call {
	if len(f.method) == 0 {
		return call{}
	}
	b := append(append(append(d.scratch[:0], f.service...), '/'), f.method...)
	d.scratch = b
	if known, ok := d.calls[string(b)]; ok {
		return known
	}
	service, method := cleanText(f.service, maxLabel), cleanText(f.method, maxLabel)
	return call{action: method, permission: fullMethod(service, method)}
}

// audited tells of an audit line: one call, or one item of a batch.
func (d *Decoder) audited(e *entry) *leastwisev1.Event {
	does := e.does
	if does == 0 || string(e.msg) != "API accessed" || string(e.subsystem) != "api" {
		return d.unknown(e)
	}
	if string(e.status) != "success" {
		ev := d.event(e, d.itemID(e), indexCall, leastwisev1.Event_USED)
		ev.Outcome = leastwisev1.Outcome_OUTCOME_FAILURE
		ev.Kind, ev.Error = failure(e.statusCode)
		d.callLabels(e)
		return d.about(ev, e)
	}
	var ev *leastwisev1.Event
	switch does {
	case effectX509:
		ev = d.noted(e)
		d.issueLabels(e)
	case effectJWT:
		if cleanID(e.requestID) {
			return d.jwtIssued(e)
		}
		ev = d.noted(e) // the call has no id to name the JWT-SVID by
		d.issueLabels(e)
	case effectCA:
		ev = d.noted(e)
		d.put("downstream", flagTrue)
		d.callLabels(e)
	case effectAgent:
		ev = d.event(e, d.itemID(e), indexCall, leastwisev1.Event_NOTED)
		d.put("node_attestor_type", e.attestor)
		d.callLabels(e)
	default:
		ev = d.event(e, d.itemID(e), indexCall, leastwisev1.Event_USED)
		if does == effectEntry {
			d.entryLabels(e)
		}
		d.callLabels(e)
	}
	ev.Outcome = leastwisev1.Outcome_OUTCOME_SUCCESS
	d.about(ev, e)
	switch does {
	case effectX509, effectJWT: // the one that it was issued to, not the one that asked
		ev.Principal = d.spiffe(e.spiffeID).key
	case effectAgent:
		if who := d.spiffe(e.agentID); who.key != "" {
			ev.Principal, ev.Resource = who.key, who.id
		}
	}
	return ev
}

// noted starts the event of something that was signed and that has no name: its times are told all the same.
func (d *Decoder) noted(e *entry) *leastwisev1.Event {
	expires, _ := parseTime(e.expiresAt)
	ev := d.issued(e, d.itemID(e), indexCall, expires)
	ev.Kind = leastwisev1.Event_NOTED
	return ev
}

// about ends the event of a call: who called, what about, and the labels.
func (d *Decoder) about(ev *leastwisev1.Event, e *entry) *leastwisev1.Event {
	told := d.told(e)
	ev.Principal, ev.Labels = told.caller.key, told.labels
	if ev.Resource = told.subject.id; ev.Resource == "" {
		ev.Resource = d.name(e.entryID)
	}
	return ev
}

func (d *Decoder) unknown(e *entry) *leastwisev1.Event {
	ev := d.event(e, d.contentID(e), indexUnknown, leastwisev1.Event_UNKNOWN)
	if ev.Action == "" {
		ev.Action = d.name(e.msg)
	}
	if string(e.status) == "success" {
		ev.Outcome = leastwisev1.Outcome_OUTCOME_SUCCESS
	} else if len(e.status) > 0 {
		ev.Outcome = leastwisev1.Outcome_OUTCOME_FAILURE
		_, ev.Error = failure(e.statusCode)
	}
	d.callLabels(e)
	return d.about(ev, e)
}

// statusCodes are gRPC's: a name in text, a number in JSON, because the type has a String method and no MarshalJSON.
var statusCodes = map[string]string{
	"Canceled": "canceled", "1": "canceled", "Unknown": "unknown", "2": "unknown",
	"InvalidArgument": "invalid argument", "3": "invalid argument", "DeadlineExceeded": "deadline exceeded", "4": "deadline exceeded",
	"NotFound": "not found", "5": "not found", "AlreadyExists": "already exists", "6": "already exists",
	"PermissionDenied": denied, "7": denied, "ResourceExhausted": throttled, "8": throttled,
	"FailedPrecondition": "failed precondition", "9": "failed precondition", "Aborted": "aborted", "10": "aborted",
	"OutOfRange": "out of range", "11": "out of range", "Unimplemented": "unimplemented", "12": "unimplemented",
	"Internal": "internal", "13": "internal", "Unavailable": "unavailable", "14": "unavailable",
	"DataLoss": "data loss", "15": "data loss", "Unauthenticated": "unauthenticated", "16": "unauthenticated",
}

const (
	denied    = "permission denied"
	throttled = "throttled"
)

// failure is what a status that is no success makes of a call. SPIRE answers "not found" for an entry that the agent is
// not authorised for as well: it does not say which, so it is no denial.
func failure(code []byte) (leastwisev1.Event_Kind, string) {
	switch category := statusCodes[string(code)]; category {
	case denied, "unauthenticated":
		return leastwisev1.Event_DENIED, category
	case throttled:
		return leastwisev1.Event_NOTED, category
	case "":
		return leastwisev1.Event_USED, "error"
	default:
		return leastwisev1.Event_USED, category
	}
}

// callLabels tell who called where the caller has no SPIFFE ID, and what about.
func (d *Decoder) callLabels(e *entry) {
	if len(e.callerID) == 0 {
		d.put("authorized_as", e.authorizedAs)
	}
	d.put("caller_uid", e.callerUID)
	d.put("caller_gid", e.callerGID)
	d.put("caller_path", e.callerPath)
	d.put("entry_id", e.entryID)
	d.put("trust_domain", e.trustDomain)
	d.put("local_authority_id", e.authority)
	d.put("subject_key_id", e.subjectKey)
	d.put("bundle_endpoint_url", e.endpointURL)
	d.put("bundle_endpoint_profile", e.endpointProfile)
	d.put("endpoint_spiffe_id", e.endpointID)
	d.put("log_level", e.newLevel)
	d.put("jwt_authority_key_id", e.jwtKey)
	if string(e.method) == "CreateJoinToken" && !isZero(e.ttl) {
		d.put("ttl", e.ttl)
	}
}

// entryLabels describe a registration entry: who may get which SVID.
func (d *Decoder) entryLabels(e *entry) {
	if len(e.parentID) > 0 {
		d.put("parent_id", withoutTokens(e.parentID))
	}
	if len(e.selectors) > 0 {
		d.put("selectors", safeSelectors(e.selectors))
	}
	if !isZero(e.x509TTL) {
		d.put("x509_svid_ttl", e.x509TTL)
	}
	if !isZero(e.jwtTTL) {
		d.put("jwt_svid_ttl", e.jwtTTL)
	}
	for _, flag := range [...]struct {
		name  string
		value []byte
	}{{"admin", e.admin}, {"downstream", e.downstream}, {"store_svid", e.storeSVID}} {
		if isTrue(flag.value) {
			d.put(flag.name, flagTrue)
		}
	}
	d.put("federates_with", e.federatesWith)
	d.put("dns_names", e.dnsName)
	d.put("hint", e.hint)
	if expires, err := parseTime(e.expiresAt); err == nil {
		d.put("expires_at", expires.AppendFormat(nil, time.RFC3339))
	}
}
