package jwtregistry

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/valyala/fastjson"
)

// registry reads a record of the registry's own schema, or bare claims: a token that was issued.
func (d *Decoder) registry(dst []*leastwisev1.Event, r *record) ([]*leastwisev1.Event, error) {
	r.hash = hashText(r.tokenHash)
	signed := d.open(r)
	r.verb = jsonrecord.Text(r.event, 64)
	if r.verb == "" {
		r.verb = "issued"
	}
	if r.time != nil {
		r.at, _ = jsonrecord.Time(r.time)
	} else if r.verb == "issued" {
		r.at = firstOf(r.claims.iat, r.claims.nbf)
	}
	if r.version != nil && r.version.GetInt() != SchemaVersion {
		return append(dst, d.unknown(r)), nil
	}
	kind, known := kindOf[r.verb]
	if !known {
		return append(dst, d.unknown(r)), nil
	}
	if r.at.IsZero() {
		return dst, jsonrecord.Malformed("the record has no time that can be read; give time, or iat where a token is issued")
	}
	if r.claims.badTime {
		return dst, jsonrecord.Malformed("a time claim of the record is no NumericDate")
	}
	if r.verb == "introspected" {
		if kind = introspected(r); kind == leastwisev1.Event_REVOKED && (signed == signatureUnchecked || signed == signatureNoKey) {
			// Anybody can make a token that bears another's jti, and the issuer rightly calls it inactive.
			kind = leastwisev1.Event_NOTED
		}
	}
	previous := ""
	if kind == leastwisev1.Event_RENEWED && len(r.previous) > 0 {
		if previous = jsonrecord.ID(r.previous); previous != jtiOf(r.claims.jti, r.hash) {
			kind = leastwisev1.Event_ISSUED // another token in place of the old one
		} else {
			previous = ""
		}
	}
	ev := d.token(r, kind, signed)
	if r.verb == "introspected" {
		ev.Labels["evidence"] = "introspection"
		if r.active != nil {
			ev.Labels["active"] = strconv.FormatBool(r.active.GetBool())
		}
	}
	dst = append(dst, ev)
	if signed == signatureWrong && !describes(kind) {
		dst = append(dst, d.forged(r, ev))
	}
	if previous != "" {
		old := d.event(r, indexPrevious, leastwisev1.Event_ROTATED)
		old.Credential, old.Outcome = d.key(typeJWT, previous), leastwisev1.Outcome_OUTCOME_SUCCESS
		if signed != signatureWrong {
			old.Labels["successor"] = ev.Credential
		}
		dst = append(dst, old)
	}
	if ev.Parent != "" && r.endsWithParent {
		dst = append(dst, d.link(r, indexLink, ev))
	}
	return dst, nil
}

var kindOf = map[string]leastwisev1.Event_Kind{
	"issued":       leastwisev1.Event_ISSUED,
	"renewed":      leastwisev1.Event_RENEWED,
	"revoked":      leastwisev1.Event_REVOKED,
	"introspected": leastwisev1.Event_OBSERVED,
	"used":         leastwisev1.Event_USED,
	"denied":       leastwisev1.Event_DENIED,
}

// introspected: an inactive token (RFC 7662 section 2.2) has expired, or was revoked if its time had not come.
func introspected(r *record) leastwisev1.Event_Kind {
	switch {
	case r.active.GetBool():
		return leastwisev1.Event_OBSERVED
	case r.active == nil || !r.claims.exp.IsZero() && !r.at.Before(r.claims.exp):
		return leastwisev1.Event_NOTED
	}
	return leastwisev1.Event_REVOKED
}

// token makes the event of the token that the record is about.
func (d *Decoder) token(r *record, kind leastwisev1.Event_Kind, signed signature) *leastwisev1.Event {
	ev := d.event(r, indexToken, kind)
	c := &r.claims
	ev.Outcome = leastwisev1.Outcome_OUTCOME_SUCCESS
	if kind == leastwisev1.Event_DENIED {
		ev.Outcome, ev.Error = leastwisev1.Outcome_OUTCOME_FAILURE, "permission denied"
	}
	if kind == leastwisev1.Event_USED || kind == leastwisev1.Event_DENIED {
		if !jsonrecord.Secret(r.permission) {
			ev.Permission = jsonrecord.Text(r.permission, jsonrecord.MaxText)
		}
		if !jsonrecord.Secret(r.resource) {
			ev.Resource = jsonrecord.Text(r.resource, jsonrecord.MaxText)
		}
	}
	if signed != signatureNone {
		ev.Labels["verified"] = string(signed)
	}
	if signed == signatureWrong {
		// Whoever made this token did not have the issuer's key: it is kept apart from the token whose jti it bears, and
		// nobody is said to hold it.
		ev.Credential = d.key(typeJWT, r.hash)
		ev.Outcome, ev.Error = leastwisev1.Outcome_OUTCOME_FAILURE, "invalid signature"
		jsonrecord.Label(ev.Labels, "claimed_jti", c.jti)
		jsonrecord.Label(ev.Labels, "claimed_subject", c.sub)
		jsonrecord.Label(ev.Labels, "claimed_issuer", []byte(d.issuer(c.iss)))
		jsonrecord.Label(ev.Labels, "key_id", []byte(r.keyID))
		ev.Lifetime = lifetime(c, false)
		return ev
	}
	ev.Credential = d.key(typeJWT, jtiOf(c.jti, r.hash))
	ev.Principal = d.subject(c.iss, c.sub)
	ev.Policies = c.granted()
	ev.Lifetime = lifetime(c, signed == signatureRight || len(r.event) == 0)
	if parent := d.key(typeJWT, idOf(r.parent)); parent != "" && parent != ev.Credential {
		ev.Parent = parent
		if !r.endsWithParent {
			ev.Labels["ends_with_parent"] = "false"
		}
	}
	d.claimLabels(ev.Labels, c)
	d.entity(ev, c)
	jsonrecord.Label(ev.Labels, "agent_id", r.agent)
	jsonrecord.Label(ev.Labels, "owner", r.owner)
	return ev
}

// describes is whether the labels of an event are those of its token, and not of one call.
func describes(kind leastwisev1.Event_Kind) bool {
	return kind == leastwisev1.Event_ISSUED || kind == leastwisev1.Event_RENEWED || kind == leastwisev1.Event_OBSERVED
}

// forged describes a token by whose use alone it is known, so that policies see what is wrong with it.
func (d *Decoder) forged(r *record, seen *leastwisev1.Event) *leastwisev1.Event {
	ev := d.event(r, indexForged, leastwisev1.Event_OBSERVED)
	ev.Credential, ev.Outcome, ev.Error = seen.Credential, seen.Outcome, seen.Error
	ev.Labels, ev.Lifetime = maps.Clone(seen.Labels), seen.Lifetime
	return ev
}

// idOf is an id fit for a key; empty if there is none.
func idOf(text []byte) string {
	if len(text) == 0 {
		return ""
	}
	return jsonrecord.ID(text)
}

// link tells the child under its parent's key, with which it ends.
func (d *Decoder) link(r *record, index uint32, child *leastwisev1.Event) *leastwisev1.Event {
	ev := d.event(r, index, leastwisev1.Event_LINKED)
	ev.Credential, ev.Child = child.Parent, child.Credential
	ev.Outcome = leastwisev1.Outcome_OUTCOME_SUCCESS
	return ev
}

// claimLabels are the facts of a token that tell who acts with it, where, and what binds it.
func (d *Decoder) claimLabels(labels map[string]string, c *claims) {
	jsonrecord.Label(labels, "issuer", []byte(d.issuer(c.iss)))
	jsonrecord.Label(labels, "oauth_client", c.client())
	jsonrecord.Label(labels, "audience", []byte(joined(c.audience)))
	jsonrecord.Label(labels, "token_type", c.kind)
	if strings.HasPrefix(string(c.sub), "spiffe://") {
		jsonrecord.Label(labels, "spiffe_id", c.sub)
	}
	if !c.nbf.IsZero() && c.nbf.After(c.iat) && !c.iat.IsZero() {
		labels["not_before"] = c.nbf.Format("2006-01-02T15:04:05Z")
	}
	if actor := actorOf(c.act); len(actor) > 0 {
		jsonrecord.Label(labels, "actor_subject", actor)
	}
	if bound := binding(c.cnf); bound != "" {
		jsonrecord.Label(labels, "cnf", []byte(bound))
	}
}

// actorOf is the current actor: of nested act claims the outermost; those inside are history (RFC 8693 section 4.1).
func actorOf(act *fastjson.Value) []byte {
	sub, iss := act.GetStringBytes("sub"), act.GetStringBytes("iss")
	if len(sub) == 0 {
		sub = act.GetStringBytes("client_id")
	}
	if len(sub) == 0 || len(iss) == 0 {
		return sub
	}
	return append(append(slices.Clone(iss), '|'), sub...)
}

// binding is what key the token is bound to: thumbprints, no key material (RFC 7800, RFC 8705, RFC 9449).
func binding(cnf *fastjson.Value) string {
	if cnf == nil || cnf.Type() != fastjson.TypeObject {
		return ""
	}
	var parts []string
	for _, name := range [...]string{"jkt", "x5t#S256", "kid"} {
		if print := cnf.GetStringBytes(name); len(print) > 0 && !jsonrecord.Secret(print) {
			parts = append(parts, name+"="+jsonrecord.Text(print, 64))
		}
	}
	for _, name := range [...]string{"jwk", "jwe", "jku"} {
		if cnf.Exists(name) {
			parts = append(parts, name)
		}
	}
	return strings.Join(parts, " ")
}

// joined is a set as one text.
func joined(set []string) string {
	sorted := slices.Clone(set)
	slices.Sort(sorted)
	return strings.Join(slices.Compact(sorted), " ")
}
