package spire

import (
	"time"

	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// signed tells of a debug line: an SVID was signed.
func (d *Decoder) signed(e *entry) *leastwisev1.Event {
	expires, _ := parseTime(e.expiration)
	var ev *leastwisev1.Event
	switch {
	case string(e.msg) == "Signed X509 SVID" && isDecimal(e.serial):
		// A call may sign several SVIDs by one entry; a serial is given once.
		b := append(append(d.scratch[:0], "serial:"...), e.serial...)
		id := len(b)
		b = append(append(b, d.x509...), e.serial...)
		d.scratch = b
		both := string(b) // one allocation
		ev = d.issued(e, both[:id], indexSigned, expires)
		ev.Credential = both[id:]
	case string(e.msg) == "Server CA successfully signed JWT SVID" && cleanID(e.requestID):
		key := d.jwtKey(e)
		ev = d.issued(e, key[len(d.jwt):], indexSigned, expires)
		ev.Credential = key
	default: // the server's own SVID, a downstream authority: their serials are not in the log
		ev = d.issued(e, d.contentID(e), indexSigned, expires)
		ev.Kind = leastwisev1.Event_NOTED
	}
	if ev.Action == "" {
		ev.Action = d.name(e.msg)
	}
	return d.toSubject(ev, e)
}

// jwtIssued tells of the JWT-SVID that a call signed. The audit line of a call has no other event.
func (d *Decoder) jwtIssued(e *entry) *leastwisev1.Event {
	var expires time.Time
	if ttl := lifeSeconds(e.ttl); ttl > 0 && !e.at.IsZero() {
		expires = e.at.Truncate(time.Second).Add(ttl) // JWT times are whole seconds
	}
	key := d.jwtKey(e)
	ev := d.issued(e, key[len(d.jwt):], indexJWT, expires)
	ev.Credential = key
	d.put("audience", e.audience)
	return d.toSubject(ev, e)
}

// toSubject ends the event of an SVID: whom it was issued to, and the labels.
func (d *Decoder) toSubject(ev *leastwisev1.Event, e *entry) *leastwisev1.Event {
	d.issueLabels(e)
	told := d.told(e)
	ev.Principal, ev.Resource, ev.Labels = told.subject.key, told.subject.id, told.labels
	ev.Outcome = leastwisev1.Outcome_OUTCOME_SUCCESS
	return ev
}

// jwtKey names the JWT-SVID that a call signed: it ends in the call's record id.
func (d *Decoder) jwtKey(e *entry) string {
	b := append(append(d.scratch[:0], d.jwt...), e.requestID...)
	d.scratch = b
	return string(b)
}

// issueLabels tell whom an SVID was issued to, by which entry, and through which agent.
func (d *Decoder) issueLabels(e *entry) {
	if isSPIFFE(e.spiffeID) && len(e.spiffeID) <= maxLabel {
		d.put("spiffe_id", e.spiffeID) // or nothing: half a SPIFFE ID is another one
	}
	d.put("entry_id", e.entryID)
	if isSPIFFE(e.callerID) && len(e.callerID) <= maxLabel {
		d.put("spire_agent", e.callerID)
	}
	d.put("dns_names", e.dnsName)
	if len(e.callerID) == 0 { // minted over the admin socket
		d.put("caller_uid", e.callerUID)
		d.put("caller_path", e.callerPath)
	}
}

// refused tells of a call that the policy engine or the state of the caller's agent did not permit.
func (d *Decoder) refused(e *entry) *leastwisev1.Event {
	ev := d.event(e, d.callID(e), indexRefused, leastwisev1.Event_DENIED)
	ev.Principal = d.spiffe(e.callerID).key
	ev.Outcome, ev.Error = leastwisev1.Outcome_OUTCOME_FAILURE, denied
	return ev
}

// refusals are the lines that tell why, before the refusal itself.
var refusals = map[string]string{
	"Agent is banned":                     "agent banned",
	"Agent is not attested":               "agent not attested",
	"Agent SVID is expired":               "agent SVID expired",
	"Agent SVID is not active":            "agent SVID not active",
	"Authorization failure from OPA auth": "policy engine failed",
}

// reason is no denial: the refusal has a line of its own.
func (d *Decoder) reason(e *entry) *leastwisev1.Event {
	ev := d.event(e, d.callID(e), indexReason, leastwisev1.Event_NOTED)
	ev.Principal = d.spiffe(e.callerID).key
	ev.Outcome, ev.Error = leastwisev1.Outcome_OUTCOME_FAILURE, refusals[string(e.msg)]
	if isDecimal(e.svidSerial) { // the one that the caller showed
		ev.Credential = d.x509 + string(e.svidSerial)
	}
	return ev
}

// authority tells of the keys that SVIDs are signed with.
func (d *Decoder) authority(e *entry) *leastwisev1.Event {
	expires, _ := parseTime(e.expiration)
	ev := d.issued(e, d.contentID(e), indexAuthority, expires)
	ev.Kind = leastwisev1.Event_NOTED
	ev.Action, ev.Outcome = d.name(e.msg), leastwisev1.Outcome_OUTCOME_SUCCESS
	d.put("local_authority_id", e.authority)
	d.put("upstream_authority_id", e.upstream)
	d.put("subject_key_id", e.subjectKey)
	d.put("slot", e.slot)
	ev.Labels = d.told(e).labels
	return ev
}
