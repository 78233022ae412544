package agentusage

import (
	"time"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// usage is what an agent says that it did: the normal form of all that this package reads. It holds no body, no prompt
// and no token, and its texts are those of the record until event copies them.
type usage struct {
	id    string // the record's own
	at    time.Time
	form  string // what it was read from
	agent []byte
	// kind and credential name what was used, in the words of the log; see credential.go.
	kind, credential             []byte
	action, permission, resource []byte
	outcome                      outcome
	failure                      []byte
	labels                       []fact
}

// fact is a label-to-be.
type fact struct {
	name  string
	value []byte
}

// outcome is what an agent says became of its call.
type outcome string

const (
	unknownOutcome outcome = "unknown"
	success        outcome = "success"
	failure        outcome = "failure"
	denied         outcome = "denied"
)

// tells is whether there is anything in it of an agent's use.
func (u *usage) tells() bool {
	return len(u.agent) > 0 || len(u.credential) > 0 || len(u.action) > 0
}

// event makes the event: evidence under the issuer's own key. It is NOTED, never USED or DENIED, so that the counts of a
// credential stay those of its issuer's log, and it names no principal: what an agent says of itself proves nothing.
func (d *Decoder) event(u *usage, rec source.Record) *leastwisev1.Event {
	ev := jsonrecord.Event(System, d.opts.Instance, u.id, indexUse, leastwisev1.Event_NOTED, u.at, rec)
	ev.Labels = map[string]string{"reported_use": "true", "reported_outcome": string(u.outcome), "form": u.form}
	var why string
	if ev.Credential, why = d.keys.key(u.kind, u.credential); why != "" {
		ev.Labels["credential_unreadable"] = why
	}
	ev.Action, ev.Permission, ev.Resource = text(u.action), text(u.permission), text(u.resource)
	switch u.outcome {
	case success:
		ev.Outcome = leastwisev1.Outcome_OUTCOME_SUCCESS
	case failure, denied:
		ev.Outcome = leastwisev1.Outcome_OUTCOME_FAILURE
		if ev.Error = jsonrecord.Word(u.failure); ev.Error == "" {
			ev.Error = "failed"
		}
	}
	jsonrecord.Label(ev.Labels, "agent_id", u.agent)
	for _, f := range u.labels {
		jsonrecord.Label(ev.Labels, f.name, f.value)
	}
	return ev
}

// text is a text that may be shown; nothing of one that holds a secret.
func text(t []byte) string {
	if jsonrecord.Secret(t) {
		return ""
	}
	return jsonrecord.Text(t, jsonrecord.MaxText)
}
