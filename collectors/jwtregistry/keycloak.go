package jwtregistry

import (
	"strings"
	"time"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/valyala/fastjson"
)

// keycloak reads an event as Keycloak's admin API (GET /admin/realms/REALM/events), its webhooks and JSON event listeners
// give it: org.keycloak.representations.idm.EventRepresentation. Details are a map of texts.
//
// A login makes a session; tokens are issued within it. A refresh token ends with its session. An access token does not:
// a resource server that does not introspect takes it until it expires.
func (d *Decoder) keycloak(dst []*leastwisev1.Event, r *record) ([]*leastwisev1.Event, error) {
	var ok bool
	if r.at, ok = jsonrecord.Time(r.root.Get("time")); !ok {
		return dst, jsonrecord.Malformed("the Keycloak event has no time that can be read")
	}
	if len(r.kind) == 0 {
		return append(dst, d.keycloakAdmin(r)), nil
	}
	r.verb = jsonrecord.Text(r.kind, 64)
	k := &keycloakEvent{record: r, d: d}
	k.read()
	base, failed := strings.CutSuffix(r.verb, "_ERROR")
	switch {
	case !keycloakTypes[base]:
		return append(dst, k.event(indexUnknown, leastwisev1.Event_UNKNOWN, "")), nil
	case failed || len(r.failure) > 0:
		return append(dst, k.refused(base)), nil
	}
	switch base {
	case "LOGIN":
		ev := k.event(indexSession, leastwisev1.Event_ISSUED, d.key(typeSession, k.session))
		if ev.Credential == "" {
			ev.Kind = leastwisev1.Event_NOTED
		}
		return append(dst, ev), nil
	case "LOGOUT":
		ev := k.event(indexSession, leastwisev1.Event_REVOKED, d.key(typeSession, k.session))
		if ev.Credential == "" {
			ev.Kind = leastwisev1.Event_NOTED
		}
		return append(dst, ev), nil
	case "CODE_TO_TOKEN", "CLIENT_LOGIN", "TOKEN_EXCHANGE", "OAUTH2_DEVICE_CODE_TO_TOKEN", "AUTHREQID_TO_TOKEN",
		"OAUTH2_EXTENSION_GRANT", "JWT_BEARER", "PERMISSION_TOKEN":
		return k.issued(dst), nil
	case "REFRESH_TOKEN":
		return k.refreshed(dst), nil
	case "REVOKE_GRANT":
		if refresh := d.key(typeRefresh, k.refresh); refresh != "" {
			return append(dst, k.event(indexRefresh, leastwisev1.Event_REVOKED, refresh)), nil
		}
		if token := d.key(typeJWT, k.token); token != "" {
			return append(dst, k.event(indexToken, leastwisev1.Event_REVOKED, token)), nil
		}
	case "INTROSPECT_TOKEN":
		if token := d.key(typeJWT, k.token); token != "" {
			ev := k.event(indexToken, leastwisev1.Event_OBSERVED, token)
			ev.Principal = "" // who asked is not who holds the token
			return append(dst, ev), nil
		}
	case "USER_INFO_REQUEST":
		if token := d.key(typeJWT, k.token); token != "" {
			ev := k.event(indexToken, leastwisev1.Event_USED, token)
			ev.Permission = "userinfo"
			return append(dst, ev), nil
		}
	}
	return append(dst, k.event(indexToken, leastwisev1.Event_NOTED, d.key(typeJWT, k.token))), nil
}

// keycloakEvent is what an event tells, as ids fit for keys.
type keycloakEvent struct {
	*record
	d                                     *Decoder
	iss                                   string
	session, token, refresh, newerRefresh string
	grant, auth, scope, audience, actor   []byte
	subjectClient                         []byte
	seconds                               int64
}

func (k *keycloakEvent) read() {
	realm := k.realmName
	if len(realm) == 0 {
		realm = k.realm
	}
	k.iss = "keycloak:" + jsonrecord.Text(realm, jsonrecord.MaxID)
	if k.d.opts.KeycloakURL != "" {
		k.iss = k.d.opts.KeycloakURL + "/realms/" + jsonrecord.Text(realm, jsonrecord.MaxID)
	}
	k.record.session = keycloakText(k.record.session)
	k.session = idOf(k.record.session)
	if k.details != nil && k.details.Type() == fastjson.TypeObject {
		k.details.GetObject().Visit(k.detail)
	}
}

func (k *keycloakEvent) detail(key []byte, v *fastjson.Value) {
	text := v.GetStringBytes()
	switch string(key) {
	case "token_id":
		k.token = idOf(text)
	case "refresh_token_id":
		k.refresh = idOf(text)
	case "updated_refresh_token_id":
		k.newerRefresh = idOf(text)
	case "grant_type":
		k.grant = text
	case "client_auth_method":
		k.auth = text
	case "scope":
		k.scope = text
	case "audience":
		k.audience = text
	case "actor_id":
		k.actor = text
	case "impersonator":
		if len(k.actor) == 0 {
			k.actor = text
		}
	case "subject_token_client_id":
		k.subjectClient = text
	case "access_token_expiration_time": // of a token that was refreshed: how long it lives
		if n, ok := jsonrecord.ParseTime(text); ok && n.Unix() < 100*365*24*3600 {
			k.seconds = n.Unix()
		}
	}
}

// keycloakText drops the text "null", which some listeners write.
func keycloakText(text []byte) []byte {
	if string(text) == "null" {
		return nil
	}
	return text
}

// event starts an event with what all of this record have in common.
func (k *keycloakEvent) event(index uint32, kind leastwisev1.Event_Kind, credential string) *leastwisev1.Event {
	ev := k.d.event(k.record, index, kind)
	ev.Credential = credential
	ev.Outcome = leastwisev1.Outcome_OUTCOME_SUCCESS
	ev.Principal = k.d.subject([]byte(k.iss), keycloakText(k.user))
	ev.RemoteAddress = jsonrecord.Text(k.address, 64)
	jsonrecord.Label(ev.Labels, "issuer", []byte(k.iss))
	jsonrecord.Label(ev.Labels, k.clientLabel(), keycloakText(k.client))
	jsonrecord.Label(ev.Labels, "grant_type", k.grant)
	jsonrecord.Label(ev.Labels, "client_auth_method", k.auth)
	jsonrecord.Label(ev.Labels, "actor_subject", k.actor)
	return ev
}

// clientLabel: the event's client is the one that tokens are issued to, or merely the one that called.
func (k *keycloakEvent) clientLabel() string {
	switch k.verb {
	case "LOGIN", "LOGOUT", "INTROSPECT_TOKEN", "REVOKE_GRANT", "USER_INFO_REQUEST":
		return "caller_client" // a session serves several clients
	}
	return "oauth_client"
}

// issued tells of the access token, and of the refresh token given with it.
func (k *keycloakEvent) issued(dst []*leastwisev1.Event) []*leastwisev1.Event {
	dst = append(dst, k.access())
	if k.refresh != "" {
		dst = k.refreshIssued(dst, k.refresh)
	}
	return dst
}

func (k *keycloakEvent) access() *leastwisev1.Event {
	ev := k.event(indexToken, leastwisev1.Event_ISSUED, k.d.key(typeJWT, k.token))
	c := claims{scopes: splitScope(k.scope)}
	ev.Policies = c.granted()
	ev.Lifetime = &leastwisev1.Lifetime{IssuedAt: jsonrecord.Stamp(k.at)}
	if k.seconds > 0 {
		ev.Lifetime.ExpiresAt = jsonrecord.Stamp(k.at.Add(time.Duration(k.seconds) * time.Second))
	}
	if len(k.audience) > 0 {
		jsonrecord.Label(ev.Labels, "audience", []byte(joined(splitScope(k.audience))))
	}
	jsonrecord.Label(ev.Labels, "subject_token_client", k.subjectClient)
	if ev.Parent = k.d.key(typeSession, k.session); ev.Parent != "" {
		ev.Labels["ends_with_parent"] = "false"
	}
	return ev
}

func (k *keycloakEvent) refreshIssued(dst []*leastwisev1.Event, id string) []*leastwisev1.Event {
	ev := k.event(indexRefresh, leastwisev1.Event_ISSUED, k.d.key(typeRefresh, id))
	c := claims{scopes: splitScope(k.scope)}
	ev.Policies = c.granted()
	ev.Lifetime = &leastwisev1.Lifetime{IssuedAt: jsonrecord.Stamp(k.at)}
	dst = append(dst, ev)
	if ev.Parent = k.d.key(typeSession, k.session); ev.Parent != "" {
		dst = append(dst, k.d.link(k.record, indexRefreshLink, ev))
	}
	return dst
}

// refreshed: the refresh token was used; it gave an access token and, where rotation is on, another of its kind.
func (k *keycloakEvent) refreshed(dst []*leastwisev1.Event) []*leastwisev1.Event {
	old := k.d.key(typeRefresh, k.refresh)
	if old != "" {
		use := k.event(indexRefreshUse, leastwisev1.Event_USED, old)
		use.Permission = "token"
		dst = append(dst, use)
	}
	dst = append(dst, k.access())
	if k.newerRefresh != "" && k.newerRefresh != k.refresh {
		dst = k.refreshIssued(dst, k.newerRefresh)
		if old != "" {
			dst = append(dst, k.event(indexRefreshOld, leastwisev1.Event_ROTATED, old))
		}
	}
	return dst
}

// keycloakDenials are the errors that say that somebody known lacked a permission; the others are mistakes, expiry and
// wrong passwords.
var keycloakDenials = map[string]bool{"access_denied": true, "not_allowed": true, "unauthorized_client": true,
	"client_not_allowed_to_exchange": true, "permission_denied": true, "insufficient_scope": true}

func (k *keycloakEvent) refused(base string) *leastwisev1.Event {
	credential := k.d.key(typeJWT, k.token)
	if base == "REFRESH_TOKEN" {
		credential = k.d.key(typeRefresh, k.refresh)
	}
	kind := leastwisev1.Event_NOTED
	if keycloakDenials[string(k.failure)] {
		kind = leastwisev1.Event_DENIED
	}
	ev := k.event(indexToken, kind, credential)
	ev.Outcome = leastwisev1.Outcome_OUTCOME_FAILURE
	if ev.Error = jsonrecord.Word(k.failure); ev.Error == "" {
		ev.Error = "failed"
	}
	if kind == leastwisev1.Event_DENIED {
		ev.Permission = strings.ToLower(base)
	}
	return ev
}

// keycloakAdmin notes a change of the configuration. What was changed to may hold secrets, and is not read.
func (d *Decoder) keycloakAdmin(r *record) *leastwisev1.Event {
	r.verb = jsonrecord.Word(r.operationType) + " " + jsonrecord.Word(r.resourceType)
	ev := d.event(r, indexToken, leastwisev1.Event_NOTED)
	jsonrecord.Label(ev.Labels, "realm", r.realm)
	ev.Outcome = leastwisev1.Outcome_OUTCOME_SUCCESS
	if len(r.failure) > 0 {
		ev.Outcome, ev.Error = leastwisev1.Outcome_OUTCOME_FAILURE, "failed"
	}
	return ev
}

func splitScope(text []byte) []string {
	var out []string
	for part := range strings.FieldsSeq(string(text)) {
		if len(out) < maxList && !jsonrecord.Secret([]byte(part)) {
			out = append(out, jsonrecord.Text([]byte(part), jsonrecord.MaxLabel))
		}
	}
	return out
}

// keycloakTypes are the event types of org.keycloak.events.EventType, without those that end in _ERROR.
var keycloakTypes = func() map[string]bool {
	types := map[string]bool{}
	for name := range strings.FieldsSeq(`LOGIN REGISTER LOGOUT CODE_TO_TOKEN CLIENT_LOGIN REFRESH_TOKEN VALIDATE_ACCESS_TOKEN
		INTROSPECT_TOKEN FEDERATED_IDENTITY_LINK REMOVE_FEDERATED_IDENTITY UPDATE_EMAIL UPDATE_PROFILE UPDATE_PASSWORD
		UPDATE_TOTP VERIFY_EMAIL VERIFY_PROFILE REMOVE_TOTP GRANT_CONSENT UPDATE_CONSENT REVOKE_GRANT SEND_VERIFY_EMAIL
		SEND_RESET_PASSWORD SEND_IDENTITY_PROVIDER_LINK RESET_PASSWORD RESTART_AUTHENTICATION INVALID_SIGNATURE REGISTER_NODE
		UNREGISTER_NODE USER_INFO_REQUEST IDENTITY_PROVIDER_LINK_ACCOUNT IDENTITY_PROVIDER_LOGIN IDENTITY_PROVIDER_FIRST_LOGIN
		IDENTITY_PROVIDER_POST_LOGIN IDENTITY_PROVIDER_RESPONSE IDENTITY_PROVIDER_RETRIEVE_TOKEN IMPERSONATE
		CUSTOM_REQUIRED_ACTION EXECUTE_ACTIONS EXECUTE_ACTION_TOKEN CLIENT_INFO CLIENT_REGISTER CLIENT_UPDATE CLIENT_DELETE
		CLIENT_INITIATED_ACCOUNT_LINKING TOKEN_EXCHANGE OAUTH2_DEVICE_AUTH OAUTH2_DEVICE_VERIFY_USER_CODE
		OAUTH2_DEVICE_CODE_TO_TOKEN AUTHREQID_TO_TOKEN PERMISSION_TOKEN DELETE_ACCOUNT PUSHED_AUTHORIZATION_REQUEST
		USER_DISABLED_BY_PERMANENT_LOCKOUT USER_DISABLED_BY_TEMPORARY_LOCKOUT OAUTH2_EXTENSION_GRANT JWT_BEARER
		UPDATE_CREDENTIAL REMOVE_CREDENTIAL INVITE_ORG USER_SESSION_DELETED`) {
		types[name] = true
	}
	return types
}()
