package gcpaudit

import (
	"bytes"
	"maps"
	"strconv"

	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/valyala/fastjson"
)

// events appends what the entry says.
func (d *Decoder) events(dst []*leastwisev1.Event, e *entry) []*leastwisev1.Event {
	kind := e.kind
	dst = append(dst, d.call(e, kind))
	switch kind {
	case createsKey:
		dst = d.keyIssued(dst, e)
	case deletesKey:
		dst = d.keyRevoked(dst, e)
	case changesKey:
		dst = d.keyState(dst, e)
	case mintsToken:
		dst = d.minted(dst, e)
	case exchangesToken:
		dst = d.exchanged(dst, e)
	case writesRole:
		d.role(e)
	}
	return d.bindings(dst, e)
}

// google.rpc.Code values that decide.
const (
	codePermissionDenied  = 7
	codeResourceExhausted = 8
	codeUnauthenticated   = 16
)

var codeNames = [...]string{"", "cancelled", "unknown error", "invalid argument", "deadline exceeded", "not found", "already exists",
	"permission denied", "throttled", "failed precondition", "aborted", "out of range", "unimplemented", "internal error",
	"unavailable", "data loss", "unauthenticated"}

// failure is the bounded category of the status.
func (e *entry) failure() string {
	switch {
	case e.code == 0:
		return ""
	case e.code == codePermissionDenied && string(e.log) == "policy":
		return "vpc service controls"
	case e.code > 0 && e.code < int64(len(codeNames)):
		return codeNames[e.code]
	}
	return "other"
}

// judge says what kind of call this was. A permission that was not granted is no denial by itself: services ask for
// permissions that a call can do without. Status 7 confirms it.
func (d *Decoder) judge(e *entry, kind methodKind) (leastwisev1.Event_Kind, uint32) {
	switch {
	case e.tail():
		if e.code == codePermissionDenied && e.checks.count > e.checks.granted {
			return leastwisev1.Event_DENIED, indexDenied
		}
		return leastwisev1.Event_NOTED, indexNoted // its beginning is the call
	case e.code == codePermissionDenied:
		return leastwisev1.Event_DENIED, indexDenied
	case e.code == codeResourceExhausted, e.code == codeUnauthenticated:
		return leastwisev1.Event_NOTED, indexNoted
	case e.checks.granted == 0: // nobody says that it was allowed
		return leastwisev1.Event_NOTED, indexNoted
	case kind == deletesKey && e.key.credential != "" && e.key.credential == d.subjectKey(e).credential:
		return leastwisev1.Event_NOTED, indexNoted // a key's own end
	}
	return leastwisev1.Event_USED, indexUsed
}

// outcome is unknown where nobody says that the call was allowed, whatever the status.
func (e *entry) outcome() leastwisev1.Outcome {
	switch {
	case e.code != 0:
		return leastwisev1.Outcome_OUTCOME_FAILURE
	case e.checks.granted > 0:
		return leastwisev1.Outcome_OUTCOME_SUCCESS
	}
	return leastwisev1.Outcome_OUTCOME_UNSPECIFIED
}

// call makes the event of the call itself, under the caller's key if a key was used.
func (d *Decoder) call(e *entry, kind methodKind) *leastwisev1.Event {
	how, index := d.judge(e, kind)
	ev := d.event(e, index, how)
	ev.Credential = e.key.credential
	ev.Principal = e.member
	if e.key.owner != "" {
		ev.Principal = e.key.owner // a key is its own account's, also where the call was made as another
	}
	asked := &e.checks.allowed
	if how == leastwisev1.Event_DENIED && e.checks.count > e.checks.granted {
		asked = &e.checks.refused
	}
	d.describe(ev, e)
	if ev.Permission = d.name(asked.permission); ev.Permission == "" && how == leastwisev1.Event_DENIED {
		ev.Permission = ev.Action // VPC Service Controls name the method alone
	}
	if ev.Resource == "" {
		ev.Resource = d.name(resourcePath(asked.resource))
	}
	ev.Outcome, ev.Error = e.outcome(), e.failure()
	ev.Labels = d.callLabels(e, asked, how)
	if ev.Credential != "" {
		ev.Lifetime = keyLifetime
	}
	return ev
}

// keyLifetime is what a call tells of its key's life: a service account key has no end, unless the record that made it
// says otherwise, which goes before this. Shared by all calls, and never changed.
var keyLifetime = &leastwisev1.Lifetime{NeverExpires: true}

// describe gives an event what all events of the record have in common.
func (d *Decoder) describe(ev *leastwisev1.Event, e *entry) {
	ev.Action = d.name(e.method)
	ev.Resource = e.resource
	ev.RemoteAddress = d.name(e.callerIP)
}

// resourcePath leaves out the query of a URL, where signatures stand.
func resourcePath(name []byte) []byte {
	if at := bytes.IndexByte(name, '?'); at >= 0 {
		return name[:at]
	}
	return name
}

// callLabels are shared by calls that say the same; they are never changed.
func (d *Decoder) callLabels(e *entry, asked *authorization, how leastwisev1.Event_Kind) map[string]string {
	key := d.line[:0]
	for _, part := range [...][]byte{e.service, e.log, e.projectID, asked.kind, e.oauthClient} {
		key = append(append(key, part...), 0)
	}
	d.line = key
	shared, ok := d.same.get(key)
	if !ok {
		shared = map[string]string{}
		label(shared, "service", e.service)
		label(shared, "log", e.log)
		label(shared, "project", e.projectID)
		label(shared, "permission_type", asked.kind)
		label(shared, "oauth_client", e.oauthClient)
		d.same.put(key, shared)
	}
	if e.plain() {
		return shared
	}
	labels := maps.Clone(shared)
	if e.tail() {
		labels["operation"] = "last"
	}
	if e.checks.count > 0 && e.checks.granted == 0 && how != leastwisev1.Event_DENIED {
		labels["authorization"] = "not granted"
	}
	if e.key.owner != "" && e.member != "" && e.member != e.key.owner {
		label(labels, "acts_as", []byte(d.memberOf(e.member)))
	}
	identityLabels(labels, d.memberOf(e.member))
	d.delegationLabels(labels, e)
	d.morePermissions(labels, e, asked, how)
	return labels
}

// plain is whether a call has nothing of its own to say in labels.
func (e *entry) plain() bool {
	return e.checks.others == 0 && len(e.delegation) == 0 && !e.tail() && e.caller.plain &&
		(e.checks.count == 0 || e.checks.granted > 0)
}

// morePermissions are those beside the event's own that were granted, or, of a denial, refused.
func (d *Decoder) morePermissions(labels map[string]string, e *entry, asked *authorization, how leastwisev1.Event_Kind) {
	n := 1
	seen := [][]byte{asked.permission}
	for _, other := range e.checks.more[:e.checks.others] {
		if other.granted == (how == leastwisev1.Event_DENIED) || contains(seen, other.permission) {
			continue
		}
		n++
		seen = append(seen, other.permission)
		label(labels, "permission."+strconv.Itoa(n), other.permission)
	}
}

func contains(list [][]byte, text []byte) bool {
	for _, known := range list {
		if bytes.Equal(known, text) {
			return true
		}
	}
	return false
}

// maxDelegation links of a chain are told.
const maxDelegation = 6

// delegationLabels tell who acted through whom, the first first. Where the chain is `[{}]`, it stands in the metadata.
func (d *Decoder) delegationLabels(labels map[string]string, e *entry) {
	if len(e.delegation) == 0 {
		return
	}
	n := 0
	tell := func(who string) {
		if who == "" || n >= maxDelegation {
			return
		}
		n++
		label(labels, "delegation."+strconv.Itoa(n), []byte(who))
	}
	for i, link := range e.delegation {
		who := d.delegate(link)
		tell(who)
		if i == 0 && who != "" {
			label(labels, "actor_subject", []byte(who))
			identityLabels(labels, who)
		}
	}
	if n > 0 {
		return
	}
	for _, account := range e.metadata.GetArray("identityDelegationChain") {
		name := stringOf(account)
		if at := bytes.LastIndexByte(name, '/'); at >= 0 {
			name = name[at+1:]
		}
		if bytes.IndexByte(name, '@') >= 0 || bytes.HasSuffix(name, []byte("gserviceaccount.com")) {
			tell("serviceAccount:" + lower(safe(name, maxName)))
		}
	}
}

// delegate is one link's principal, in member form.
func (d *Decoder) delegate(link *fastjson.Value) string {
	subject := link.GetStringBytes("principalSubject")
	if len(subject) == 0 {
		subject = link.GetStringBytes("principal_subject")
	}
	first := link.Get("firstPartyPrincipal")
	if first == nil {
		first = link.Get("first_party_principal")
	}
	email := first.GetStringBytes("principalEmail")
	if len(email) == 0 {
		email = first.GetStringBytes("principal_email")
	}
	return d.memberOf(d.principal(subject, email))
}
