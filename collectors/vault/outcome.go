package vault

import (
	"strings"
	"time"

	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/valyala/fastjson"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// outcomes appends what only the response line of a call that did not fail tells.
func (d *Decoder) outcomes(dst []*leastwisev1.Event, e *entry) []*leastwisev1.Event {
	dst = d.token(dst, e)
	dst = d.wrapping(dst, e)
	dst = d.leaseAndCertificate(dst, e)
	dst = d.revocation(dst, e)
	return d.lookup(dst, e)
}

// token tells of the token that response.auth gives. A batch token has no accessor, so there is nothing to tell.
func (d *Decoder) token(dst []*leastwisev1.Event, e *entry) []*leastwisev1.Event {
	accessor := cleanName(e.reply.auth.accessor)
	if accessor == "" {
		return dst
	}
	dst = d.learn(dst, e.reply.auth.clientToken, e.reply.auth.accessor)
	method, store := strings.CutPrefix(e.path, "auth/token/")
	caller := e.callerKey
	ev := d.event(e, indexToken, leastwisev1.Event_OBSERVED)
	ev.Credential = d.key(keyToken, accessor)
	life := &leastwisev1.Lifetime{}
	ttl := lifetime(e.reply.auth.ttl)
	switch {
	case store && strings.HasPrefix(method, "create"): // period and explicit_max_ttl are hashed, as numbers too
		ev.Kind, ev.Actor = leastwisev1.Event_ISSUED, caller
		ev.Parent, ev.Orphan = d.parentage(e)
		life.IssuedAt = timestamp(e.at)
	case store && strings.HasPrefix(method, "renew"):
		ev.Kind = leastwisev1.Event_RENEWED
		if caller != ev.Credential {
			ev.Actor = caller
		}
		if issued, err := parseTime(e.reply.auth.issueTime); err == nil {
			life.IssuedAt = timestamp(issued)
		}
		life.Renewable = true
	case e.login:
		ev.Kind, ev.Orphan = leastwisev1.Event_ISSUED, true
		life.IssuedAt = timestamp(e.at)
	default: // sys/wrapping/unwrap: the token is as old as the token that wrapped it
		if d.callerWraps(e) {
			if issued, err := parseTime(e.auth.issueTime); err == nil {
				life.IssuedAt = timestamp(issued)
			}
		}
	}
	switch {
	case ttl > 0 && ev.Kind != leastwisev1.Event_OBSERVED:
		life.ExpiresAt = timestamp(e.at.Add(time.Duration(ttl) * time.Second))
	case ttl > 0 && life.IssuedAt != nil:
		life.ExpiresAt = timestamp(life.IssuedAt.AsTime().Add(time.Duration(ttl) * time.Second))
	case ttl == 0 && d.root(&e.reply.auth):
		life.NeverExpires = true
	}
	ev.Lifetime = life
	ev.Principal = d.keyOf(keyEntity, e.reply.auth.entityID)
	ev.Policies = d.texts(e.reply.auth.policies)
	d.describe(ev, e)
	d.authLabels(ev.Labels, &e.reply.auth)
	if role, ok := strings.CutPrefix(method, "create/"); store && ok {
		label(ev.Labels, "role_name", []byte(role))
	}
	if e.reply.auth.numUses > 0 {
		ev.Labels["limited_uses"] = "true"
	}
	dst = append(dst, ev)
	return d.link(dst, e, indexTokenLink, ev)
}

// callerWraps is whether the call was made with a wrapping token.
func (d *Decoder) callerWraps(e *entry) bool {
	policies := d.inside(otherPart, e.auth.policies).GetArray()
	return len(policies) == 1 && string(policies[0].GetStringBytes()) == "response-wrapping"
}

// parentage of a token made by this call: its parent's key, or that it has none, or neither if the log does not say.
// A role decides alone: no_parent in the request is ignored then, as Vault does.
func (d *Decoder) parentage(e *entry) (parent string, orphan bool) {
	method, store := strings.CutPrefix(e.path, "auth/token/")
	switch {
	case !store:
		return "", e.login
	case method == "create-orphan":
		return "", true
	case strings.HasPrefix(method, "create/"):
		if d.opts.RoleOrphan == nil {
			return "", false
		}
		orphan, known := d.opts.RoleOrphan(strings.TrimPrefix(method, "create/"))
		if !known || orphan {
			return "", known && orphan
		}
	default:
		switch flag := e.request.data.Get("no_parent"); {
		case flag == nil || flag.Type() == fastjson.TypeFalse || flag.Type() == fastjson.TypeNull:
		case flag.Type() == fastjson.TypeTrue:
			return "", true
		default: // a text, and so hashed
			return "", false
		}
	}
	return e.callerKey, false
}

// link tells the parent of a child, under the parent's key.
func (d *Decoder) link(dst []*leastwisev1.Event, e *entry, index uint32, child *leastwisev1.Event) []*leastwisev1.Event {
	if child.Parent == "" || child.Kind != leastwisev1.Event_ISSUED {
		return dst
	}
	ev := d.event(e, index, leastwisev1.Event_LINKED)
	ev.Credential, ev.Child = child.Parent, child.Credential
	ev.Action, ev.Resource = e.op, e.path
	if ends, ok := child.Labels[labelEnds]; ok {
		ev.Labels = map[string]string{labelEnds: ends}
	}
	return append(dst, ev)
}

const (
	labelEnds   = "ends_with_parent"
	labelTarget = "target"
)

// wrapping tells of a wrapping token, and of the token inside, if there is one. Of a wrapped login the log shows the
// inner token; of another its time to live is not in the log before it is unwrapped.
func (d *Decoder) wrapping(dst []*leastwisev1.Event, e *entry) []*leastwisev1.Event {
	accessor := cleanName(e.reply.wrap.accessor)
	if accessor == "" {
		return dst
	}
	made, err := parseTime(e.reply.wrap.made)
	if err != nil {
		made = e.at
	}
	dst = d.learn(dst, e.reply.wrap.token, []byte(accessor))
	outer := d.event(e, indexWrapping, leastwisev1.Event_ISSUED)
	outer.Credential, outer.Actor = d.key(keyToken, accessor), e.callerKey
	outer.Orphan = true // Vault gives wrapping tokens no parent
	outer.Policies = []string{"response-wrapping"}
	outer.Lifetime = &leastwisev1.Lifetime{IssuedAt: timestamp(made)}
	if ttl := lifetime(e.reply.wrap.ttl); ttl > 0 {
		outer.Lifetime.ExpiresAt = timestamp(made.Add(time.Duration(ttl) * time.Second))
		outer.Lifetime.MaxTtlSeconds = ttl
	}
	d.describe(outer, e)
	outer.Labels["wrapping"] = "true"
	dst = append(dst, outer)

	wrapped := cleanName(e.reply.wrap.wrapped)
	if wrapped == "" {
		return dst
	}
	inner := d.event(e, indexToken, leastwisev1.Event_ISSUED)
	inner.Credential = d.key(keyToken, wrapped)
	d.describe(inner, e)
	inner.Labels["wrapped"] = "true"
	if e.path == "sys/wrapping/rewrap" { // older than this call
		inner.Kind = leastwisev1.Event_OBSERVED
		return append(dst, inner)
	}
	inner.Actor = outer.Actor
	inner.Parent, inner.Orphan = d.parentage(e)
	inner.Lifetime = &leastwisev1.Lifetime{IssuedAt: timestamp(made)}
	if string(e.granted.accessor) == wrapped {
		inner.Principal = d.keyOf(keyEntity, e.granted.entityID)
		inner.Policies = d.texts(e.granted.policies)
		d.authLabels(inner.Labels, &e.granted)
		if ttl := lifetime(e.granted.ttl); ttl > 0 {
			inner.Lifetime.ExpiresAt = timestamp(made.Add(time.Duration(ttl) * time.Second))
		}
	}
	dst = append(dst, inner)
	return d.link(dst, e, indexTokenLink, inner)
}

// leaseAndCertificate tells of a lease and of a PKI certificate. Of leases the log shows the id, never the duration.
func (d *Decoder) leaseAndCertificate(dst []*leastwisev1.Event, e *entry) []*leastwisev1.Event {
	lease := e.reply.lease
	pki := string(e.request.mountType) == "pki"
	expires := time.Time{}
	if pki {
		expires = unix(e.reply.data.Get("expiration"))
	}
	if len(lease) > 0 {
		ev := d.event(e, indexLease, leastwisev1.Event_ISSUED)
		ev.Credential, ev.Actor = d.key(keyLease, cleanText(lease, maxPath)), e.callerKey
		if strings.HasPrefix(e.path, "sys/leases/") || strings.HasPrefix(e.path, "sys/renew") {
			ev.Kind = leastwisev1.Event_RENEWED
			ev.Lifetime = &leastwisev1.Lifetime{Renewable: true}
		} else {
			ev.Parent = ev.Actor
			ev.Lifetime = &leastwisev1.Lifetime{IssuedAt: timestamp(e.at), ExpiresAt: timestamp(expires)}
		}
		d.describe(ev, e)
		dst = append(dst, ev)
		dst = d.link(dst, e, indexLeaseLink, ev)
	}
	serial := e.reply.data.GetStringBytes("serial_number")
	if !pki || len(serial) == 0 || isHash(serial) || !issuesCertificate(e) {
		return dst
	}
	ev := d.event(e, indexCertificate, leastwisev1.Event_ISSUED)
	ev.Credential, ev.Actor = d.key(keyCertificate, cleanText(serial, maxID)), e.callerKey
	ev.Parent = ev.Actor
	ev.Lifetime = &leastwisev1.Lifetime{IssuedAt: timestamp(e.at), ExpiresAt: timestamp(expires)}
	d.describe(ev, e)
	if len(lease) > 0 {
		label(ev.Labels, "lease_id", lease)
	} else {
		ev.Labels[labelEnds] = "false"
	}
	dst = append(dst, ev)
	return d.link(dst, e, indexCertificateLink, ev)
}

// issuesCertificate tells issue/ROLE, sign/ROLE, sign-verbatim, root/sign-intermediate, issuer/REF/issue/ROLE, ...
func issuesCertificate(e *entry) bool {
	if e.op != "update" && e.op != "create" {
		return false
	}
	below := strings.TrimPrefix(e.path, string(e.request.mountPoint))
	for part := range strings.SplitSeq(below, "/") {
		if part == "issue" || part == "generate" || strings.HasPrefix(part, "sign") {
			return true
		}
	}
	return false
}

// describe gives an event of an outcome its action, path and labels.
func (d *Decoder) describe(ev *leastwisev1.Event, e *entry) {
	ev.Action, ev.Resource, ev.Outcome = e.op, e.path, leastwisev1.Outcome_OUTCOME_SUCCESS
	ev.RemoteAddress = cleanName(e.request.remote)
	ev.Labels = map[string]string{}
	if ev.Kind == leastwisev1.Event_ISSUED {
		requestLabels(ev.Labels, e) // the mount that issued it; other calls go through mounts that say nothing of it
	}
}

// seconds of a number; 0 if it is none, or beyond reason.
func seconds(v *fastjson.Value) int64 {
	if v == nil || v.Type() != fastjson.TypeNumber {
		return 0
	}
	n := v.GetInt64()
	if n < 0 || n > maxSeconds {
		return 0
	}
	return n
}

// unix is the time a number of seconds stands for; zero if it is none.
func unix(v *fastjson.Value) time.Time {
	if v == nil || v.Type() != fastjson.TypeNumber {
		return time.Time{}
	}
	if n := v.GetInt64(); n > 0 && n < 253402300800 {
		return time.Unix(n, 0).UTC()
	}
	return time.Time{}
}

func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
