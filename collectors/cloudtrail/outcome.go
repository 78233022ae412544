package cloudtrail

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/valyala/fastjson"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// outcomes appends what a call that went through did to credentials.
func (d *Decoder) outcomes(dst []*leastwisev1.Event, e *record) []*leastwisev1.Event {
	given := e.given()
	if given == nil && e.verb.service != "iam" {
		return dst
	}
	if given != nil {
		if ev := d.session(e, given); ev != nil {
			dst = append(dst, ev)
		}
	}
	if e.verb.service != "iam" {
		return dst
	}
	e.request = parsed(&d.asked, e.requestText)
	switch e.verb.action {
	case "CreateAccessKey":
		return d.createdKey(dst, e)
	case "DeleteAccessKey":
		if ev := d.about(e, indexRevoked, leastwisev1.Event_REVOKED); ev != nil {
			ev.Labels = map[string]string{"how": "revoked"}
			return append(dst, ev)
		}
	case "UpdateAccessKey":
		return d.updatedKey(dst, e)
	case "GetAccessKeyLastUsed":
		if ev := d.about(e, indexAsked, leastwisev1.Event_NOTED); ev != nil {
			return append(dst, ev)
		}
	}
	return dst
}

// given is the object that holds a new session's key: credentials, or the first credentialSet of Roles Anywhere.
func (e *record) given() *fastjson.Value {
	if !e.gives {
		return nil
	}
	answer := e.response
	if len(answer.GetStringBytes("credentials", "accessKeyId")) > 0 {
		return answer
	}
	for _, set := range answer.GetArray("credentialSet") {
		if len(set.GetStringBytes("credentials", "accessKeyId")) > 0 {
			return set
		}
	}
	return nil
}

// session tells of a session that was given. Its life is the one that the answer tells, not the one that was asked for.
func (d *Decoder) session(e *record, given *fastjson.Value) *leastwisev1.Event {
	credential := d.key(given.GetStringBytes("credentials", "accessKeyId"))
	if credential == "" || credential == e.caller.credential {
		return nil
	}
	ev := d.event(e, indexIssued, leastwisev1.Event_ISSUED)
	ev.Credential, ev.Actor, ev.Parent, ev.Orphan = credential, e.caller.credential, e.caller.credential, e.caller.unparented
	ev.Action = e.verb.action
	life := &struct {
		leastwisev1.Lifetime
		expires timestamppb.Timestamp
	}{} // one allocation
	ev.Lifetime, life.IssuedAt = &life.Lifetime, ev.OccurredAt
	if until, ok := timeOf(given.Get("credentials", "expiration")); ok {
		life.expires.Seconds, life.expires.Nanos = until.Unix(), int32(until.Nanosecond())
		life.ExpiresAt = &life.expires
	}
	asked := d.asking(e, given)
	ev.Labels, ev.Principal, ev.Resource, ev.Policies = asked.labels, asked.principal, asked.resource, asked.policies
	return ev
}

// asking is what sessions have in common that were asked for in the same words by callers of the same labels. It is never
// changed.
type asking struct {
	labels              map[string]string
	principal, resource string
	policies            []string
}

// asking gives what is told of a session but its key and its times.
func (d *Decoder) asking(e *record, given *fastjson.Value) asking {
	key := d.scratch[:0]
	put := func(text []byte) { // the lengths tell the parts from each other
		key = append(binary.AppendUvarint(key, uint64(len(text))), text...)
	}
	putString := func(text string) {
		key = append(binary.AppendUvarint(key, uint64(len(text))), text...)
	}
	put(e.requestText)
	putString(e.verb.action)
	putString(e.caller.principal)
	for _, name := range inherited {
		putString(e.caller.labels[name])
	}
	for _, name := range [...]string{"sourceIdentity", "subjectFromWebIdentityToken", "provider", "audience", "subject"} {
		put(e.response.GetStringBytes(name))
	}
	put(given.GetStringBytes("sourceIdentity"))
	put(given.GetStringBytes("roleArn"))
	put(given.GetStringBytes("federatedUser", "arn"))
	put(given.GetStringBytes("assumedRoleUser", "arn"))
	d.scratch = key
	known, ok := d.askings.get(key)
	if ok {
		return known
	}
	text := string(key)
	e.request = parsed(&d.asked, e.requestText)
	known = asking{labels: d.sessionLabels(e, given), principal: d.holder(e, given)}
	if role := e.request.GetStringBytes("roleArn"); len(role) > 0 {
		known.resource = d.role(role).arn
	}
	for _, name := range e.request.GetArray("policyArns") {
		if arn := name.GetStringBytes("arn"); len(arn) > 0 && len(known.policies) < maxPolicies {
			known.policies = append(known.policies, jsonrecord.Text(arn, maxResource))
		}
	}
	if text := e.request.GetStringBytes("policy"); len(text) > 0 {
		if name := d.sessionPolicy(text, e.at); name != "" {
			known.policies = append(known.policies, name)
		} else {
			known.labels["session_policy"] = "inline"
		}
	}
	slices.Sort(known.policies)
	d.askings.put(text, known)
	return known
}

const maxPolicies = 16

// holder is whose session it is: the role's, the federated user's, the account's root, or the caller's own.
func (d *Decoder) holder(e *record, given *fastjson.Value) string {
	if role := e.request.GetStringBytes("roleArn"); len(role) > 0 {
		return d.role(role).key
	}
	if role := given.GetStringBytes("roleArn"); len(role) > 0 {
		return d.role(role).key
	}
	if target := jsonrecord.Text(e.request.GetStringBytes("targetPrincipal"), maxResource); target != "" {
		if parts := strings.SplitN(target, ":", 6); len(parts) == 6 {
			target = parts[4]
		}
		return d.principal("principal", rootOf(target))
	}
	if arn := given.GetStringBytes("federatedUser", "arn"); len(arn) > 0 {
		return d.principal("principal", jsonrecord.Text(arn, maxResource))
	}
	if arn := given.GetStringBytes("assumedRoleUser", "arn"); len(arn) > 0 {
		return d.principal("principal", roleOf(jsonrecord.Text(arn, maxResource)))
	}
	if e.verb.action == "GetSessionToken" {
		return e.caller.principal
	}
	return ""
}

// inherited are the labels that a session has of its caller; it has the source identity if nothing else was asked for: it
// survives role chaining.
var inherited = [...]string{"region", "web_identity_provider", "web_identity_subject", "saml_issuer", "saml_subject", "invoked_by", "source_identity"}

// sessionLabels tell how a session came to be, and whose it is behind the role.
func (d *Decoder) sessionLabels(e *record, given *fastjson.Value) map[string]string {
	labels := map[string]string{"ends_with_parent": "false"}
	for _, name := range inherited[:len(inherited)-1] {
		if value := e.caller.labels[name]; value != "" {
			labels[name] = value
		}
	}
	asked, answer := e.request, e.response
	d.label(labels, "session_issuer", asked.GetStringBytes("roleArn"))
	d.label(labels, "session_name", asked.GetStringBytes("roleSessionName"))
	for _, from := range []*fastjson.Value{asked, answer, given} {
		d.label(labels, "source_identity", from.GetStringBytes("sourceIdentity"))
	}
	if labels["source_identity"] == "" && e.caller.labels["source_identity"] != "" {
		labels["source_identity"] = e.caller.labels["source_identity"]
	}
	if labels["web_identity_subject"] == "" {
		d.label(labels, "web_identity_subject", answer.GetStringBytes("subjectFromWebIdentityToken"))
	}
	if labels["web_identity_provider"] == "" && labels["web_identity_subject"] != "" {
		d.label(labels, "web_identity_provider", answer.GetStringBytes("provider"))
	}
	if labels["web_identity_subject"] != "" {
		d.label(labels, "web_identity_audience", answer.GetStringBytes("audience"))
	}
	d.label(labels, "saml_provider", asked.GetStringBytes("principalArn"))
	if labels["saml_subject"] == "" {
		d.label(labels, "saml_subject", answer.GetStringBytes("subject"))
	}
	d.label(labels, "federated_user", given.GetStringBytes("federatedUser", "arn"))
	d.label(labels, "task_policy", asked.GetStringBytes("taskPolicyArn", "arn"))
	if len(asked.GetStringBytes("serialNumber")) > 0 {
		labels["mfa"] = "true"
	}
	if len(asked.GetStringBytes("policy")) > 0 || len(asked.GetArray("policyArns")) > 0 {
		labels["session_policy"] = "true"
	}
	d.tagLabels(labels, asked)
	return labels
}

// tagsKept are session tags that say whose a session is: those that EKS Pod Identity sets, and names of ours. What other
// tags hold nobody knows.
var tagsKept = map[string]string{
	"eks-cluster-arn": "eks_cluster_arn", "eks-cluster-name": "eks_cluster_name", "kubernetes-namespace": "kubernetes_namespace",
	"kubernetes-service-account": "kubernetes_service_account", "kubernetes-pod-name": "kubernetes_pod_name",
	"owner": "owner", "team": "team", "agent_id": "agent_id", "agent-id": "agent_id", "agentid": "agent_id",
	"spiffe_id": "spiffe_id", "spiffe-id": "spiffe_id",
}

func (d *Decoder) tagLabels(labels map[string]string, asked *fastjson.Value) {
	tags := asked.GetArray("tags")
	for _, tag := range tags[:min(len(tags), 50)] {
		if name, ok := tagsKept[strings.ToLower(string(tag.GetStringBytes("key")))]; ok {
			d.label(labels, name, tag.GetStringBytes("value"))
		}
	}
}

// about makes an event of the access key that the request names.
func (d *Decoder) about(e *record, index uint32, kind leastwisev1.Event_Kind) *leastwisev1.Event {
	credential := d.key(e.request.GetStringBytes("accessKeyId"))
	if credential == "" {
		return nil
	}
	ev := d.event(e, index, kind)
	ev.Credential, ev.Action = credential, e.verb.action
	if credential != e.caller.credential {
		ev.Actor = e.caller.credential
	}
	return ev
}

// createdKey tells of a new long-term key. The record names its user without the user's path, so that the user's ARN is
// known only if the caller made the key for itself.
func (d *Decoder) createdKey(dst []*leastwisev1.Event, e *record) []*leastwisev1.Event {
	made := e.response.Get("accessKey")
	credential := d.key(made.GetStringBytes("accessKeyId"))
	if credential == "" {
		return dst
	}
	ev := d.event(e, indexIssued, leastwisev1.Event_ISSUED)
	ev.Credential, ev.Actor, ev.Parent, ev.Action = credential, e.caller.credential, e.caller.credential, e.verb.action
	ev.Lifetime = &leastwisev1.Lifetime{NeverExpires: true, IssuedAt: ev.OccurredAt}
	ev.Labels = map[string]string{"ends_with_parent": "false"}
	user := made.GetStringBytes("userName")
	d.label(ev.Labels, "user_name", user)
	d.label(ev.Labels, "account", []byte(e.caller.account))
	if e.caller.user != "" && (len(user) == 0 || string(user) == e.caller.user) {
		ev.Principal = e.caller.principal
	}
	return append(dst, ev)
}

// updatedKey: an inactive key can be made active again, and then the newer word holds.
func (d *Decoder) updatedKey(dst []*leastwisev1.Event, e *record) []*leastwisev1.Event {
	status := string(e.request.GetStringBytes("status"))
	index, kind := uint32(indexRevoked), leastwisev1.Event_REVOKED
	labels := map[string]string{"how": "deactivated"}
	if strings.EqualFold(status, "Active") {
		index, kind, labels = indexActive, leastwisev1.Event_OBSERVED, map[string]string{}
	} else if !strings.EqualFold(status, "Inactive") {
		return dst
	}
	ev := d.about(e, index, kind)
	if ev == nil {
		return dst
	}
	ev.Labels = labels
	if kind == leastwisev1.Event_OBSERVED {
		ev.Lifetime = &leastwisev1.Lifetime{NeverExpires: true}
		ev.Labels = maps.Clone(labels)
	}
	return append(dst, ev)
}
