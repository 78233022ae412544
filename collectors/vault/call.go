package vault

import (
	"encoding/binary"
	"strings"
	"time"

	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/valyala/fastjson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// events appends what the line says.
func (d *Decoder) events(dst []*leastwisev1.Event, e *entry) []*leastwisev1.Event {
	if d.wantsCall(e) {
		dst = append(dst, d.call(e))
	}
	if e.response && e.failure == failedNot {
		dst = d.outcomes(dst, e)
	}
	if e.response && d.lastUse(e) {
		dst = append(dst, d.spent(e))
	}
	if e.login || d.opts.Pairing && e.response && !e.unpaired && d.recent.has(e.id) {
		return dst // a login's caller is nobody; of a pair, the request line has told already
	}
	if token, accessor := e.request.clientToken, e.request.clientAccessor; len(token) > 0 && len(accessor) > 0 {
		return d.learn(dst, token, accessor) // as its holder knows it, and may name it
	}
	return d.learn(dst, e.auth.clientToken, e.auth.accessor)
}

// wantsCall is whether this line makes event 0.
func (d *Decoder) wantsCall(e *entry) bool {
	if e.unpaired {
		return !e.response
	}
	if !d.opts.Pairing {
		return true
	}
	if !e.response {
		d.recent.add(e.id, e.plainCall())
		return true
	}
	return e.failure != failedNot || !d.recent.has(e.id)
}

// call makes event 0. But for occurred_at, outcome and error it says the same from either line of the call.
func (d *Decoder) call(e *entry) *leastwisev1.Event {
	ev := d.event(e, indexCall, d.callKind(e))
	ev.Credential = e.callerKey
	ev.Action = e.op
	ev.Resource = e.path
	ev.Permission = e.permission
	ev.Error = string(e.failure)
	switch {
	case e.failure != failedNot:
		ev.Outcome = leastwisev1.Outcome_OUTCOME_FAILURE
	case e.response:
		ev.Outcome = leastwisev1.Outcome_OUTCOME_SUCCESS
	}
	ev.RemoteAddress = cleanName(e.request.remote)
	same := d.sameOfCalls(e)
	ev.Labels, ev.Policies = same.labels, same.policies
	if !e.auth.known {
		return ev
	}
	ev.Principal = d.keyOf(keyEntity, e.auth.entityID)
	ev.GrantedBy = d.grantedBy(&e.auth)
	ev.Lifetime = d.lifetimeSeen(e)
	return ev
}

// callFacts are what one call after another of one role through one mount says again. They are shared by those events
// and never changed. Of the metadata they hold the role alone: the rest differs from token to token, and is told once, by
// the issuance.
type callFacts struct {
	labels   map[string]string
	policies []string
}

// sameOfCalls finds the facts of a call by the text that they are made of.
func (d *Decoder) sameOfCalls(e *entry) callFacts {
	key, role := d.scratch[:0], e.auth.roleOf()
	for _, part := range [...][]byte{e.request.mountPoint, e.request.mountType, e.request.namespace,
		e.auth.displayName, e.auth.tokenType, role} {
		key = binary.AppendUvarint(key, uint64(len(part)))
		key = append(key, part...)
	}
	key = append(key, e.auth.policies...)
	d.scratch = key
	if known, ok := d.calls.get(key); ok {
		return known
	}
	facts := callFacts{labels: map[string]string{}}
	requestLabels(facts.labels, e)
	if e.auth.known {
		tokenLabels(facts.labels, &e.auth)
		label(facts.labels, "role_name", role)
		facts.policies = d.texts(e.auth.policies)
	}
	if len(key) <= maxFactsKey {
		d.calls.put(string(key), facts)
	}
	return facts
}

const maxFactsKey = 2048

func (d *Decoder) callKind(e *entry) leastwisev1.Event_Kind {
	switch {
	case e.login:
		return leastwisev1.Event_NOTED
	case e.denied():
		return leastwisev1.Event_DENIED
	case e.allowed == no, e.allowed != yes && e.failure == failedThrottled, !e.authenticated():
		return leastwisev1.Event_NOTED
	case e.ownLife():
		return leastwisev1.Event_NOTED
	}
	return leastwisev1.Event_USED
}

// ownLife is a token's renewal or revocation of itself.
func (e *entry) ownLife() bool {
	method, ok := strings.CutPrefix(e.path, "auth/token/")
	if !ok {
		return false
	}
	switch method {
	case "renew-self", "revoke-self":
		return true
	case "renew", "revoke", "revoke-orphan":
		return e.namesCaller("token")
	case "renew-accessor", "revoke-accessor":
		return e.namesCaller("accessor")
	}
	return false
}

// lifetimeSeen is what a call tells of its token's life: when it was issued, and for how long. The log freezes token_ttl
// at issue, so the expiry holds only if the token was never renewed: a call after it proves that it was.
func (d *Decoder) lifetimeSeen(e *entry) *leastwisev1.Lifetime {
	issued, err := parseTime(e.auth.issueTime)
	if err != nil {
		return nil
	}
	life, expires := d.lifetime()
	stamp(life.IssuedAt, issued)
	switch ttl := whole(e.auth.ttl); {
	case ttl > 0 && ttl <= maxSeconds:
		if end := issued.Add(time.Duration(ttl) * time.Second); !e.at.After(end.Add(time.Second)) {
			stamp(expires, end)
			life.ExpiresAt = expires
		}
	case ttl == 0 && d.root(&e.auth):
		life.NeverExpires = true
	}
	return life
}

// lifetime gives an empty lifetime with a time of issue, and another time. One that the caller let go of is used again.
func (d *Decoder) lifetime() (life *leastwisev1.Lifetime, expires *timestamppb.Timestamp) {
	if life = d.life; life == nil || life.IssuedAt == nil || life.ExpiresAt == nil {
		b := &struct {
			life            leastwisev1.Lifetime
			issued, expires timestamppb.Timestamp
		}{} // one allocation
		b.life.IssuedAt = &b.issued
		return &b.life, &b.expires
	}
	d.life = nil
	issued, expires := life.IssuedAt, life.ExpiresAt
	life.Reset()
	life.IssuedAt = issued
	return life, expires
}

func stamp(to *timestamppb.Timestamp, at time.Time) {
	to.Seconds, to.Nanos = at.Unix(), int32(at.Nanosecond())
}

const maxSeconds = 100 * 365 * 24 * 3600

// grantedBy names the policies that allowed a call. One call after another has the same: the names are shared, and never
// changed.
func (d *Decoder) grantedBy(auth *auth) []string {
	text := auth.results.granting
	if len(text) == 0 {
		return nil
	}
	if known, ok := d.grants.get(text); ok {
		return known
	}
	var names []string
	for _, policy := range d.inside(otherPart, text).GetArray() {
		if name := policy.GetStringBytes("name"); len(name) > 0 && len(names) < maxList {
			names = append(names, cleanName(name))
		}
	}
	if len(text) <= maxFactsKey {
		d.grants.put(string(text), names)
	}
	return names
}

const maxList = 64

// texts of an array in JSON.
func (d *Decoder) texts(list []byte) []string {
	var texts []string
	values := d.inside(otherPart, list).GetArray()
	for _, v := range values[:min(len(values), maxList)] {
		if text := v.GetStringBytes(); len(text) > 0 && !isHash(text) {
			texts = append(texts, cleanName(text))
		}
	}
	return texts
}

// root: only a root token can live without a time to live.
func (d *Decoder) root(auth *auth) bool {
	for _, policy := range d.inside(otherPart, auth.policies).GetArray() {
		if string(policy.GetStringBytes()) == "root" {
			return true
		}
	}
	return false
}

func requestLabels(labels map[string]string, e *entry) {
	label(labels, "mount_point", e.request.mountPoint)
	label(labels, "mount_type", e.request.mountType)
	if space := e.request.namespace; len(space) > 0 {
		label(labels, "namespace", space)
	}
}

// authLabels describe a token. Vault logs metadata in clear because it must hold no secret.
func (d *Decoder) authLabels(labels map[string]string, auth *auth) {
	tokenLabels(labels, auth)
	metadata := d.inside(otherPart, auth.metadata).GetObject()
	if metadata == nil || metadata.Len() == 0 {
		return
	}
	kept := 0
	metadata.Visit(func(key []byte, v *fastjson.Value) {
		if kept++; kept > 16 {
			return
		}
		name := "meta." + cleanText(key, 64)
		if string(key) == "role_name" || string(key) == "role" {
			name = "role_name"
		}
		label(labels, name, v.GetStringBytes())
	})
}

func tokenLabels(labels map[string]string, auth *auth) {
	label(labels, "display_name", auth.displayName)
	if kind := auth.tokenType; string(kind) != "service" && string(kind) != "default" {
		label(labels, "token_type", kind)
	}
}

func label(labels map[string]string, name string, value []byte) {
	if text := cleanLabel(value); text != "" {
		labels[name] = text
	}
}

// learn remembers which token a hash stands for, and gives again, with their credential, the events that waited for it.
func (d *Decoder) learn(dst []*leastwisev1.Event, token, accessor []byte) []*leastwisev1.Event {
	if len(token) == 0 || len(accessor) == 0 {
		return dst
	}
	for _, waited := range d.tokens.learn(token, accessor) {
		known := proto.Clone(waited).(*leastwisev1.Event)
		known.Credential = d.key(keyToken, cleanName(accessor))
		delete(known.Labels, "target")
		dst = append(dst, known)
	}
	return dst
}

// Prefer merges two readings of one event (the same id) into one, and returns it: the earlier, with the outcome and the
// credential that only the other may know. The result does not depend on the order of the two.
func Prefer(a, b *leastwisev1.Event) *leastwisev1.Event {
	first, second := a, b
	if earlier(b, a) {
		first, second = b, a
	}
	if first.Outcome == leastwisev1.Outcome_OUTCOME_UNSPECIFIED && second.Outcome != leastwisev1.Outcome_OUTCOME_UNSPECIFIED {
		first.Outcome, first.Error = second.Outcome, second.Error
	}
	if first.Credential == "" && second.Credential != "" {
		first.Credential, first.Labels = second.Credential, second.Labels
	}
	if second.Kind == leastwisev1.Event_DENIED {
		first.Kind = second.Kind
	}
	return first
}

// earlier orders two readings by time; of two at one time the one that knows the outcome comes first.
func earlier(a, b *leastwisev1.Event) bool {
	x, y := a.GetOccurredAt().AsTime(), b.GetOccurredAt().AsTime()
	if !x.Equal(y) {
		return x.Before(y)
	}
	return a.Outcome > b.Outcome
}
