package gcpaudit

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/valyala/fastjson"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// methodKind is what a call does besides being a call.
type methodKind int

const (
	plainCall methodKind = iota
	createsKey
	deletesKey
	changesKey
	mintsToken
	exchangesToken
	writesRole
	writesPolicy
)

// methodKind goes by the last part of the name: google.iam.admin.v1.CreateServiceAccountKey.
func (e *entry) methodKind() methodKind {
	name := e.method
	if at := bytes.LastIndexByte(name, '.'); at >= 0 {
		name = name[at+1:]
	}
	switch string(name) {
	case "CreateServiceAccountKey", "UploadServiceAccountKey":
		return createsKey
	case "DeleteServiceAccountKey":
		return deletesKey
	case "DisableServiceAccountKey", "EnableServiceAccountKey":
		return changesKey
	case "GenerateAccessToken", "GenerateIdToken", "SignJwt", "SignBlob":
		return mintsToken
	case "ExchangeToken":
		return exchangesToken
	case "CreateRole", "UpdateRole", "DeleteRole", "UndeleteRole":
		return writesRole
	case "SetIamPolicy", "SetIAMPolicy", "setIamPolicy", "setIamPermissions":
		return writesPolicy
	}
	return plainCall
}

// succeeded is whether the record says that the call went through: allowed, or answered, and not failed.
func (e *entry) succeeded() bool {
	return e.code == 0 && (e.checks.granted > 0 || e.checks.count == 0 && e.response != nil)
}

// subjectKey is the key that a call is about.
func (d *Decoder) subjectKey(e *entry) keyName {
	for _, name := range [...][]byte{e.request.GetStringBytes("name"), e.resourceName} {
		if k := d.serviceAccountKey(name); k.credential != "" {
			if k.owner == "" {
				k.owner = d.account(e.emailID)
			}
			return k
		}
	}
	return keyName{}
}

// keyIssued tells of a key that was made or uploaded. The private half, if the record has it, is not looked at.
func (d *Decoder) keyIssued(dst []*leastwisev1.Event, e *entry) []*leastwisev1.Event {
	name := e.response.GetStringBytes("name")
	k := d.serviceAccountKey(name)
	if e.code != 0 || k.credential == "" {
		return dst
	}
	if k.owner == "" {
		k.owner = d.account(e.emailID)
	}
	ev := d.event(e, indexIssued, leastwisev1.Event_ISSUED)
	ev.Credential, ev.Principal, ev.Actor = k.credential, k.owner, e.key.credential
	d.describe(ev, e)
	ev.Outcome = leastwisev1.Outcome_OUTCOME_SUCCESS
	ev.Lifetime = &leastwisev1.Lifetime{IssuedAt: timestamppb.New(e.at)}
	if before := either(e.response, "valid_before_time", "validBeforeTime"); before != nil {
		switch end := timeOf(before); {
		case end.Year() >= 9999:
			ev.Lifetime.NeverExpires = true
		case !end.IsZero():
			ev.Lifetime.ExpiresAt = timestamppb.New(end)
		}
	}
	ev.Labels = map[string]string{}
	d.createdBy(ev.Labels, e)
	label(ev.Labels, "project", e.projectID)
	if strings.Contains(ev.Action, "Upload") {
		ev.Labels["origin"] = "uploaded"
	}
	return append(dst, ev)
}

func (d *Decoder) createdBy(labels map[string]string, e *entry) {
	label(labels, "created_by", []byte(d.memberOf(e.member)))
}

func (d *Decoder) keyRevoked(dst []*leastwisev1.Event, e *entry) []*leastwisev1.Event {
	k := d.subjectKey(e)
	if k.credential == "" || !e.succeeded() {
		return dst
	}
	ev := d.event(e, indexRevoked, leastwisev1.Event_REVOKED)
	ev.Credential, ev.Principal = k.credential, k.owner
	if e.key.credential != k.credential {
		ev.Actor = e.key.credential
	}
	d.describe(ev, e)
	ev.Outcome = leastwisev1.Outcome_OUTCOME_SUCCESS
	ev.Labels = map[string]string{}
	label(ev.Labels, "revoked_by", []byte(d.memberOf(e.member)))
	return append(dst, ev)
}

// keyState tells of a key that was switched off or on: it can be switched on again, so it is not revoked.
func (d *Decoder) keyState(dst []*leastwisev1.Event, e *entry) []*leastwisev1.Event {
	k := d.subjectKey(e)
	if k.credential == "" || !e.succeeded() {
		return dst
	}
	ev := d.event(e, indexState, leastwisev1.Event_NOTED)
	ev.Credential, ev.Principal, ev.Actor = k.credential, k.owner, e.key.credential
	d.describe(ev, e)
	ev.Outcome = leastwisev1.Outcome_OUTCOME_SUCCESS
	state := "enabled"
	if strings.Contains(ev.Action, "Disable") {
		state = "disabled"
	}
	ev.Labels = map[string]string{"key_state": state}
	return append(dst, ev)
}

// minted tells of a token or signature that a service account was made to give. The log shows no id of it: it stands
// under the record's id, which no later record names, and what it is used for can only be inferred.
func (d *Decoder) minted(dst []*leastwisev1.Event, e *entry) []*leastwisev1.Event {
	if e.code != 0 || e.checks.count > e.checks.granted || e.tail() {
		return dst
	}
	kind, prefix, lasts := "", "", time.Duration(0)
	switch e.method[len(e.method)-3] { // ...AccessToken and ...IdToken; SignJwt; SignBlob
	case 'k':
		kind, prefix, lasts = "id_token", d.keys.idToken, time.Hour
		if bytes.HasSuffix(e.method, []byte("AccessToken")) {
			kind, prefix = "access_token", d.keys.accessToken
			if told := duration(e.request.Get("lifetime")); told > 0 {
				lasts = told
			}
		}
	case 'J':
		kind, prefix = "signed_jwt", d.keys.jwt
	default:
		kind, prefix = "signed_blob", d.keys.blob
	}
	ev := d.tokenIssued(e, prefix, kind)
	if ev.Principal = d.target(e); lasts > 0 {
		ev.Lifetime.ExpiresAt = timestamppb.New(e.at.Add(lasts))
	}
	scopes(ev.Labels, e.request)
	label(ev.Labels, "actor_subject", []byte(d.memberOf(e.member)))
	identityLabels(ev.Labels, d.memberOf(e.member))
	d.delegationLabels(ev.Labels, e)
	return append(dst, ev)
}

// exchanged tells of a token that the security token service gave for one of another issuer.
func (d *Decoder) exchanged(dst []*leastwisev1.Event, e *entry) []*leastwisev1.Event {
	if e.code != 0 || e.checks.count > e.checks.granted || e.tail() || !bytes.Contains(e.method, []byte("SecurityTokenService")) {
		return dst
	}
	ev := d.tokenIssued(e, d.keys.accessToken, "federated_token")
	ev.Principal = e.member
	if mapped := either(e.metadata, "mapped_principal", "mappedPrincipal"); len(stringOf(mapped)) > 0 {
		ev.Principal = d.principal(stringOf(mapped), nil)
	}
	label(ev.Labels, "web_identity_provider", e.resourceName)
	label(ev.Labels, "web_identity_subject", e.subject)
	return append(dst, ev)
}

func (d *Decoder) tokenIssued(e *entry, prefix, kind string) *leastwisev1.Event {
	ev := d.event(e, indexIssued, leastwisev1.Event_ISSUED)
	ev.Credential, ev.Parent, ev.Actor = prefix+e.id, e.key.credential, e.key.credential
	d.describe(ev, e)
	ev.Outcome = e.outcome()
	ev.Lifetime = &leastwisev1.Lifetime{IssuedAt: timestamppb.New(e.at)}
	ev.Labels = map[string]string{"confidence": "inferred", "ends_with_parent": "false", "token_kind": kind}
	d.createdBy(ev.Labels, e)
	return ev
}

// target is the service account that a call is about.
func (d *Decoder) target(e *entry) string {
	for _, name := range [...][]byte{e.emailID, e.request.GetStringBytes("name"), e.resourceName} {
		if at := bytes.LastIndex(name, []byte("/serviceAccounts/")); at >= 0 {
			name = name[at+len("/serviceAccounts/"):]
		}
		if account := d.account(name); account != "" {
			return account
		}
	}
	return ""
}

const scopePrefix = "https://www.googleapis.com/auth/"

// scopes of an access token, as far as they fit, without what they all begin with.
func scopes(labels map[string]string, request *fastjson.Value) {
	var text []byte
	for _, scope := range request.GetArray("scope") {
		name := bytes.TrimPrefix(stringOf(scope), []byte(scopePrefix))
		if len(text)+len(name)+1 > jsonrecord.MaxLabel {
			break
		}
		if len(text) > 0 {
			text = append(text, ' ')
		}
		text = append(text, name...)
	}
	label(labels, "scopes", text)
}

func either(v *fastjson.Value, names ...string) *fastjson.Value {
	for _, name := range names {
		if found := v.Get(name); found != nil {
			return found
		}
	}
	return nil
}

// timeOf a timestamp written as text, as {"seconds":N}, or as N. Years beyond 9998 give year 9999: that is no end.
func timeOf(v *fastjson.Value) time.Time {
	if t, ok := parseTime(stringOf(v)); ok {
		return t
	}
	if o := object(v); o != nil {
		v = o.Get("seconds")
	}
	seconds, ok := number(v)
	if !ok || seconds <= 0 {
		return time.Time{}
	}
	return time.Unix(min(seconds, 253402300799), 0).UTC()
}

// maxLifetime of a token that is believed: an organization may allow 12 hours.
const maxLifetime = 12 * time.Hour

// duration written as "3600s" or as {"seconds":3600}.
func duration(v *fastjson.Value) time.Duration {
	var seconds int64
	if text, ok := bytes.CutSuffix(stringOf(v), []byte("s")); ok {
		seconds, _ = strconv.ParseInt(string(text), 10, 64)
	} else if o := object(v); o != nil {
		seconds, _ = number(o.Get("seconds"))
	}
	if seconds <= 0 || seconds > int64(maxLifetime/time.Second) {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
