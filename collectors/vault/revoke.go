package vault

import (
	"strings"
	"time"

	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/valyala/fastjson"
)

// revocation tells what a call took away. revoke-force is no revocation: Vault forgets the lease even if the backend
// could not revoke it.
func (d *Decoder) revocation(dst []*leastwisev1.Event, e *entry) []*leastwisev1.Event {
	if e.op != "update" && e.op != "create" {
		return dst
	}
	body := e.request.data
	if method, ok := strings.CutPrefix(e.path, "auth/token/"); ok {
		switch {
		case method == "revoke-self":
			return append(dst, d.revoked(e, e.callerKey, nil))
		case method == "revoke-accessor":
			accessor := body.GetStringBytes("accessor")
			return append(dst, d.revoked(e, d.accessorKey(e, accessor), accessor))
		case method == "revoke" || method == "revoke-orphan":
			return d.revokedByToken(dst, e, body.GetStringBytes("token"), method == "revoke-orphan")
		case strings.HasPrefix(method, "revoke/") || strings.HasPrefix(method, "revoke-orphan/"):
			return append(dst, d.revoked(e, "", []byte(blanked)))
		}
		return dst
	}
	if method, ok := strings.CutPrefix(e.path, "sys/"); ok {
		method = strings.TrimPrefix(method, "leases/")
		switch {
		case method == "wrapping/unwrap" || method == "wrapping/rewrap":
			if d.callerWraps(e) { // its last use: see spent
				return dst
			}
			return d.revokedByToken(dst, e, body.GetStringBytes("token"), false)
		case method == "revoke":
			return append(dst, d.revokedLease(e, body.GetStringBytes("lease_id")))
		case strings.HasPrefix(method, "revoke/"):
			return append(dst, d.revokedLease(e, []byte(strings.TrimPrefix(method, "revoke/"))))
		case strings.HasPrefix(method, "revoke-prefix/"):
			ev := d.revoked(e, "", nil)
			label(ev.Labels, "lease_prefix", []byte(strings.TrimPrefix(method, "revoke-prefix/")))
			return append(dst, ev)
		}
		return dst
	}
	if string(e.request.mountType) == "pki" {
		below := strings.TrimPrefix(e.path, string(e.request.mountPoint))
		if below == "revoke" || below == "revoke-with-key" {
			serial := body.GetStringBytes("serial_number")
			return append(dst, d.revoked(e, d.key(keyCertificate, d.clear(serial)), serial))
		}
	}
	return dst
}

// revoked makes the event; target is what the record calls the credential, shown if its key is not known.
func (d *Decoder) revoked(e *entry, credential string, target []byte) *leastwisev1.Event {
	ev := d.event(e, indexRevoked, leastwisev1.Event_REVOKED)
	ev.Credential = credential
	if caller := e.callerKey; caller != credential {
		ev.Actor = caller
	}
	d.describe(ev, e)
	if credential == "" && len(target) > 0 {
		ev.Labels[labelTarget] = cleanText(target, maxLabel)
		if looksSecret(target) || !isHash(target) && string(target) != blanked {
			ev.Labels[labelTarget] = blanked
		}
	}
	return ev
}

// lastUse is whether Vault revokes the calling token after this call, allowed or not: its uses are limited, and this was
// the last. A wrapping token has one.
func (d *Decoder) lastUse(e *entry) bool {
	if e.auth.remaining != nil {
		return whole(e.auth.remaining) == 1
	}
	return e.path == "sys/wrapping/unwrap" && e.failure == failedNot && d.callerWraps(e)
}

func (d *Decoder) spent(e *entry) *leastwisev1.Event {
	ev := d.event(e, indexSpent, leastwisev1.Event_REVOKED)
	ev.Credential = e.callerKey
	d.describe(ev, e)
	ev.Labels["how"] = "last use"
	return ev
}

// revokedByToken tells of a token named by itself. Its hash stands for an accessor if both were seen side by side;
// if not yet, the event is given again, complete, when they are.
func (d *Decoder) revokedByToken(dst []*leastwisev1.Event, e *entry, token []byte, orphans bool) []*leastwisev1.Event {
	if len(token) == 0 {
		return dst
	}
	credential := ""
	if e.namesCaller("token") {
		credential = e.callerKey
	} else if accessor, ok := d.tokens.accessors.get(token); ok {
		credential = d.key(keyToken, accessor)
	}
	ev := d.revoked(e, credential, token)
	if orphans { // the children live on
		ev.Labels["children"] = "orphaned"
	}
	if credential == "" && isHash(token) {
		d.tokens.wait(string(token), ev)
	}
	return append(dst, ev)
}

func (d *Decoder) revokedLease(e *entry, lease []byte) *leastwisev1.Event {
	ev := d.revoked(e, d.key(keyLease, d.clear(lease)), lease)
	if !e.request.data.GetBool("sync") {
		ev.Labels["queued"] = "true"
	}
	return ev
}

// clear is a text in clear, also if it was hashed and Options.Resolve knows it; empty if not known.
func (d *Decoder) clear(text []byte) string {
	if !isHash(text) {
		return cleanText(text, maxPath)
	}
	if d.opts.Resolve != nil {
		if clear, ok := d.opts.Resolve(string(text)); ok {
			return clear
		}
	}
	return ""
}

// accessorKey is the key of an accessor named in a body. Keys hold accessors as the device writes them beside a call;
// in a body they are hashed by default even where the device logs them in clear, and in clear where the mount says so.
func (d *Decoder) accessorKey(e *entry, accessor []byte) string {
	if len(accessor) == 0 {
		return ""
	}
	if e.caller == "" || isHash(e.caller) == isHash(accessor) {
		return d.key(keyToken, cleanText(accessor, maxID))
	}
	if d.opts.Resolve != nil {
		if other, ok := d.opts.Resolve(string(accessor)); ok {
			return d.key(keyToken, other)
		}
	}
	return ""
}

// lookup tells what a look-up showed: numbers, booleans and times are in clear.
func (d *Decoder) lookup(dst []*leastwisev1.Event, e *entry) []*leastwisev1.Event {
	data := e.reply.data
	if data == nil {
		return dst
	}
	credential := ""
	life := &leastwisev1.Lifetime{Renewable: data.GetBool("renewable")}
	switch {
	case e.path == "auth/token/lookup-self":
		credential = e.callerKey
	case e.path == "auth/token/lookup-accessor", e.path == "auth/token/lookup", e.path == "auth/token/lookup/"+blanked:
		credential = d.accessorKey(e, data.GetStringBytes("accessor"))
	case e.path == "sys/leases/lookup" || e.path == "sys/leases/lookup/":
		credential = d.key(keyLease, d.clear(e.request.data.GetStringBytes("lease_id")))
	}
	if credential == "" {
		return dst
	}
	ev := d.event(e, indexLookup, leastwisev1.Event_OBSERVED)
	ev.Credential = credential
	if caller := e.callerKey; caller != credential {
		ev.Actor = caller
	}
	if life.IssuedAt = timestamp(clearTime(data.Get("issue_time"))); life.IssuedAt == nil {
		life.IssuedAt = timestamp(unix(data.Get("creation_time")))
	}
	life.PeriodSeconds = seconds(data.Get("period"))
	life.MaxTtlSeconds = seconds(data.Get("explicit_max_ttl"))
	switch end, ttl := clearTime(data.Get("expire_time")), seconds(data.Get("ttl")); {
	case !end.IsZero():
		life.ExpiresAt = timestamp(end)
	case ttl > 0:
		life.ExpiresAt = timestamp(e.at.Add(time.Duration(ttl) * time.Second))
	case isNull(data.Get("expire_time")) && data.Exists("creation_ttl") && seconds(data.Get("creation_ttl")) == 0:
		life.NeverExpires = true
	}
	ev.Lifetime, ev.Orphan = life, data.GetBool("orphan")
	d.describe(ev, e)
	return append(dst, ev)
}

func clearTime(v *fastjson.Value) time.Time {
	t, err := parseTime(v.GetStringBytes())
	if err != nil {
		return time.Time{}
	}
	return t
}

func isNull(v *fastjson.Value) bool { return v != nil && v.Type() == fastjson.TypeNull }
