package gcpaudit

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/valyala/fastjson"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// bindings tells of role bindings that a call added or removed: an event each, and a fact each. A call that replaced a
// policy without saying what changed tells nothing: the next export does.
func (d *Decoder) bindings(dst []*leastwisev1.Event, e *entry) []*leastwisev1.Event {
	deltas := e.bindingDeltas()
	if len(deltas) == 0 || e.code != 0 || e.tail() {
		return dst
	}
	resource := d.fullResource(e)
	for i, delta := range deltas {
		b := binding{member: d.memberOf(d.principal(delta.GetStringBytes("member"), nil)), role: d.name(delta.GetStringBytes("role")),
			resource: resource, conditional: object(delta.Get("condition")) != nil}
		removed := false
		switch string(delta.GetStringBytes("action")) {
		case "ADD":
		case "REMOVE":
			removed = true
		default:
			continue
		}
		if b.member == "" || b.role == "" {
			continue
		}
		if i < maxBindings {
			dst = append(dst, d.bindingChanged(e, uint32(i), b, removed))
		}
		if d.opts.Facts != nil {
			d.tell(d.bindingGrant(b, e.at, removed))
		}
	}
	return dst
}

// binding ties a role to a member on a resource.
type binding struct {
	member, role, resource string
	conditional            bool
}

// bindingDeltas stand in one place for IAM, in others for BigQuery.
func (e *entry) bindingDeltas() []*fastjson.Value {
	if e.serviceData != nil {
		if deltas := e.serviceData.GetArray("policyDelta", "bindingDeltas"); len(deltas) > 0 {
			return deltas
		}
	}
	if e.metadata == nil {
		return nil
	}
	if deltas := e.metadata.GetArray("policyDelta", "bindingDeltas"); len(deltas) > 0 {
		return deltas
	}
	for _, change := range [...]string{"datasetChange", "tableChange", "routineChange", "modelChange", "connectionChange"} {
		for _, policy := range [...]string{"bqIamPolicyChange", "iamPolicyChange"} {
			if deltas := e.metadata.GetArray(change, policy, "bindingDeltas"); len(deltas) > 0 {
				return deltas
			}
		}
	}
	return nil
}

func (d *Decoder) bindingChanged(e *entry, i uint32, b binding, removed bool) *leastwisev1.Event {
	ev := d.event(e, indexBinding+i, leastwisev1.Event_NOTED)
	ev.Principal, ev.Actor = d.keys.principal+b.member, e.key.credential
	d.describe(ev, e)
	ev.Resource, ev.Outcome = b.resource, leastwisev1.Outcome_OUTCOME_SUCCESS
	ev.Labels = map[string]string{"binding": "added"}
	if removed {
		ev.Labels["binding"] = "removed"
	}
	label(ev.Labels, "role", []byte(b.role))
	if b.conditional {
		ev.Labels["conditional"] = "true"
	}
	label(ev.Labels, "changed_by", []byte(d.memberOf(e.member)))
	return ev
}

// fullResource names a resource as asset inventories do: //SERVICE/NAME.
func (d *Decoder) fullResource(e *entry) string {
	name := resourcePath(e.resourceName)
	if len(e.emailID) > 0 && bytes.Contains(name, []byte("/serviceAccounts/")) {
		name = bytes.Join([][]byte{[]byte("projects/"), e.projectID, []byte("/serviceAccounts/"), e.emailID}, nil)
	}
	name = bytes.TrimPrefix(name, []byte("projects/_/buckets/"))
	if bytes.HasPrefix(name, []byte("//")) || len(e.service) == 0 || len(name) == 0 {
		return d.name(name)
	}
	d.line = append(append(append(append(d.line[:0], "//"...), e.service...), '/'), name...)
	return d.name(d.line)
}

// bindingGrant is one change. Each has an id of its own, so that whichever is published last, none replaces another. The
// ids of the changes of one binding sort by time, and what was added at the time at which it was removed stays: readers
// may apply them in the order of their ids.
func (d *Decoder) bindingGrant(b binding, at time.Time, removed bool) *leastwisev1.Grant {
	conditional, how := "always", "b-added"
	if b.conditional {
		conditional = "conditional"
	}
	if removed {
		how = "a-removed"
	}
	id := schemas.EventID(b.member, b.role, b.resource+" "+conditional, 0)
	grant := &leastwisev1.Grant{Principal: b.member, Deleted: removed, Attached: []*leastwisev1.Attachment{d.attachment(b)}}
	nanos := int64(0)
	if !at.IsZero() {
		nanos, grant.AsOf = at.UnixNano(), timestamppb.New(at)
	}
	grant.Id = schemas.Key{System: System, Instance: d.opts.Instance, Type: "binding",
		ID: fmt.Sprintf("%s/%019d/%s", hex.EncodeToString(id[:]), nanos, how)}.String()
	return grant
}

func (d *Decoder) attachment(b binding) *leastwisev1.Attachment {
	return &leastwisev1.Attachment{Grant: policyID(d.opts.Instance, b.role), Resource: b.resource, Conditional: b.conditional}
}

func policyID(instance, role string) string {
	return schemas.Key{System: System, Instance: instance, Type: "policy", ID: role}.String()
}

func (d *Decoder) tell(grant *leastwisev1.Grant) {
	if d.opts.Facts != nil {
		d.opts.Facts(&leastwisev1.Fact{Fact: &leastwisev1.Fact_Grant{Grant: grant}})
	}
}

// maxPermissions of a custom role; Google allows 3000.
const maxPermissions = 5000

// role tells what a custom role permits after the call.
func (d *Decoder) role(e *entry) {
	if !e.succeeded() {
		return
	}
	if grant := customRole(d.opts.Instance, e.response); grant != nil {
		grant.Deleted = grant.Deleted || bytes.HasSuffix(e.method, []byte("DeleteRole")) && !bytes.HasSuffix(e.method, []byte("UndeleteRole"))
		grant.AsOf = timestamppb.New(e.at)
		d.tell(grant)
	}
}

// customRole reads google.iam.admin.v1.Role; nil if it is none.
func customRole(instance string, v *fastjson.Value) *leastwisev1.Grant {
	name := v.GetStringBytes("name")
	if !bytes.Contains(name, []byte("/roles/")) {
		return nil
	}
	grant := &leastwisev1.Grant{Id: policyID(instance, safe(name, maxName)), Deleted: isTrue(v.Get("deleted"))}
	permissions := either(v, "included_permissions", "includedPermissions").GetArray()
	if len(permissions) > maxPermissions {
		permissions = permissions[:maxPermissions]
		grant.Incomplete = "the role has more permissions than are read"
	}
	rule := &leastwisev1.Rule{}
	for _, p := range permissions {
		if text := stringOf(p); len(text) > 0 {
			rule.Actions = append(rule.Actions, safe(text, maxName))
		}
	}
	slices.Sort(rule.Actions)
	if len(rule.Actions) > 0 {
		grant.Rules = []*leastwisev1.Rule{rule}
	}
	return grant
}
