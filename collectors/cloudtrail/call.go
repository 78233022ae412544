package cloudtrail

import (
	"maps"

	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// call makes event 0.
func (d *Decoder) call(e *record) *leastwisev1.Event {
	category, code := d.failure(e)
	e.failed = category != failedNot
	ev := d.event(e, indexCall, e.callKind(category))
	ev.Credential, ev.Principal = e.caller.credential, e.caller.principal
	ev.Action, ev.Permission = e.verb.action, e.verb.permission
	ev.Resource = d.resource(e)
	ev.Error = category
	switch {
	case e.failed && category != failedDryRun:
		ev.Outcome = leastwisev1.Outcome_OUTCOME_FAILURE
	default:
		ev.Outcome = leastwisev1.Outcome_OUTCOME_SUCCESS
	}
	ev.RemoteAddress = d.address(e.address)
	ev.Labels = d.callLabels(e.caller, code)
	ev.Lifetime = e.caller.life
	return ev
}

// callLabels are shared by calls that say the same; they are never changed.
func (d *Decoder) callLabels(c *caller, code []byte) map[string]string {
	if len(code) == 0 {
		return c.labels
	}
	code = code[:min(len(code), 64)]
	for _, known := range c.failed {
		if string(code) == known.code {
			return known.labels
		}
	}
	labels := maps.Clone(c.labels)
	label(labels, "error_code", code)
	if len(c.failed) < maxFailed {
		c.failed = append(c.failed, failedCall{string(code), labels})
	}
	return labels
}

// failedCall are the labels of a caller's calls that failed with a code.
type failedCall struct {
	code   string
	labels map[string]string
}

// maxFailed codes of a caller are remembered.
const maxFailed = 8

// callKind: a call is a use if it was permitted, whatever the service then answered.
func (e *record) callKind(category string) leastwisev1.Event_Kind {
	switch string(e.eventType) {
	case typeSignIn, typeService, typeInsight, typeDigest:
		return leastwisev1.Event_NOTED
	case typeNetwork: // the call has a record of its own, unless the endpoint refused it
		if category != failedDenied {
			return leastwisev1.Event_NOTED
		}
	}
	switch category {
	case failedDenied:
		return leastwisev1.Event_DENIED
	case failedThrottle, failedLogin:
		return leastwisev1.Event_NOTED
	}
	return leastwisev1.Event_USED
}

// address of the caller.
func (d *Decoder) address(text []byte) string {
	if len(text) == 0 {
		return ""
	}
	if known, ok := d.addresses.get(text); ok {
		return known
	}
	clear := address(text)
	d.addresses.put(string(text), clear)
	return clear
}
