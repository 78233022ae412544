package spire

import (
	"bytes"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
)

// fields are those of a log line that events need, as text; nil if the line has none of the name. They point into the
// line or into the decoder's scratch, and are valid inside one Decode.
type fields struct {
	time, level, msg, kind, subsystem              []byte
	service, method, requestID, status, statusCode []byte
	callerID, callerAddr, callerUID, callerGID     []byte
	callerPath, authorizedAs                       []byte
	spiffeID, entryID, parentID, selectors, csr    []byte
	serial, svidSerial, expiration, expiresAt, ttl []byte
	x509TTL, jwtTTL, admin, downstream, storeSVID  []byte
	federatesWith, dnsName, hint, audience         []byte
	agentID, attestor, trustDomain                 []byte
	authority, upstream, subjectKey, slot          []byte
	endpointURL, endpointProfile, endpointID       []byte
	newLevel, launchLevel, jwtKey                  []byte
}

// slotOf gives the place of a field; nil if no event needs it.
func (f *fields) slotOf(key []byte) *[]byte {
	switch string(key) {
	case "time":
		return &f.time
	case "level":
		return &f.level
	case "msg":
		return &f.msg
	case "type":
		return &f.kind
	case "subsystem_name":
		return &f.subsystem
	case "service":
		return &f.service
	case "method":
		return &f.method
	case "request_id":
		return &f.requestID
	case "status":
		return &f.status
	case "status_code":
		return &f.statusCode
	case "caller_id":
		return &f.callerID
	case "caller_addr":
		return &f.callerAddr
	case "caller_uid", "caller_user_sid":
		return &f.callerUID
	case "caller_gid":
		return &f.callerGID
	case "caller_path":
		return &f.callerPath
	case "authorized_as":
		return &f.authorizedAs
	case "spiffe_id":
		return &f.spiffeID
	case "entry_id":
		return &f.entryID
	case "parent_id":
		return &f.parentID
	case "selectors":
		return &f.selectors
	case "csr":
		return &f.csr
	case "serial_num":
		return &f.serial
	case "svid_serial_num":
		return &f.svidSerial
	case "expiration":
		return &f.expiration
	case "expires_at":
		return &f.expiresAt
	case "ttl":
		return &f.ttl
	case "x509_svid_ttl":
		return &f.x509TTL
	case "jwt_svid_ttl":
		return &f.jwtTTL
	case "admin":
		return &f.admin
	case "downstream":
		return &f.downstream
	case "store_svid":
		return &f.storeSVID
	case "federates_with":
		return &f.federatesWith
	case "dns_name":
		return &f.dnsName
	case "hint":
		return &f.hint
	case "audience":
		return &f.audience
	case "agent_id":
		return &f.agentID
	case "node_attestor_type":
		return &f.attestor
	case "trust_domain_id":
		return &f.trustDomain
	case "local_authority_id":
		return &f.authority
	case "upstream_authority_id":
		return &f.upstream
	case "subject_key_id":
		return &f.subjectKey
	case "slot":
		return &f.slot
	case "bundle_endpoint_url":
		return &f.endpointURL
	case "bundle_endpoint_profile":
		return &f.endpointProfile
	case "endpoint_spiffe_id":
		return &f.endpointID
	case "new_log_level":
		return &f.newLevel
	case "launch_log_level":
		return &f.launchLevel
	case "jwt_authority_key_id":
		return &f.jwtKey
	}
	return nil
}

// readJSON reads a line in JSON; false if it is none. Numbers and booleans are as they stand in the text forms; lists and
// objects are of no use here.
func (f *fields) readJSON(w *jsonrecord.Walk, text []byte) bool {
	w.Open(text)
	if !w.Object() {
		return false
	}
	for {
		key, more := w.Field()
		if !more {
			return w.Close()
		}
		place := f.slotOf(key)
		var value []byte
		switch {
		case place == nil:
			w.Skip()
		case telling(key):
			value = w.Plain()
		default:
			value = w.Value()
		}
		if value != nil {
			*place = value
		}
	}
}

// telling are the fields whose values tell what a line is; the others differ from line to line.
func telling(name []byte) bool {
	switch string(name) {
	case "level", "msg", "type", "subsystem_name", "service", "method", "status", "status_code", "authorized_as":
		return true
	}
	return false
}

// texts are all fields.
func (f *fields) texts() []*[]byte {
	return []*[]byte{&f.time, &f.level, &f.msg, &f.kind, &f.subsystem, &f.service, &f.method, &f.requestID, &f.status,
		&f.statusCode, &f.callerID, &f.callerAddr, &f.callerUID, &f.callerGID, &f.callerPath, &f.authorizedAs, &f.spiffeID,
		&f.entryID, &f.parentID, &f.selectors, &f.csr, &f.serial, &f.svidSerial, &f.expiration, &f.expiresAt, &f.ttl,
		&f.x509TTL, &f.jwtTTL, &f.admin, &f.downstream, &f.storeSVID, &f.federatesWith, &f.dnsName, &f.hint, &f.audience,
		&f.agentID, &f.attestor, &f.trustDomain, &f.authority, &f.upstream, &f.subjectKey, &f.slot, &f.endpointURL,
		&f.endpointProfile, &f.endpointID, &f.newLevel, &f.launchLevel, &f.jwtKey}
}

// isTrue is how a boolean stands in either form.
func isTrue(text []byte) bool { return string(text) == "true" }

// isZero is a number that says that the server's default holds, or nothing at all.
func isZero(text []byte) bool { return len(text) == 0 || string(text) == "0" }

// isDecimal is a serial as SPIRE writes it.
func isDecimal(text []byte) bool {
	if len(text) == 0 || len(text) > 64 {
		return false
	}
	for _, c := range text {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

func isSPIFFE(text []byte) bool {
	const scheme = "spiffe://"
	return len(text) > len(scheme) && len(text) <= 2048 && bytes.HasPrefix(text, []byte(scheme))
}
