package agentusage

import (
	"encoding/json"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/valyala/fastjson"
)

// normalVersion is the version of the normal form.
const normalVersion = 1

// normal reads the normal form: what the OTLP receiver makes of a span before it is queued, and what an agent that logs
// for Leastwise alone may write.
func (d *Decoder) normal(dst []*leastwisev1.Event, root *fastjson.Value, rec source.Record) ([]*leastwisev1.Event, error) {
	if root.GetInt("agent_usage") != normalVersion {
		return append(dst, d.unknown(root, rec, root.GetStringBytes("action"))), nil
	}
	u := usage{form: "json", outcome: unknownOutcome}
	if f := jsonrecord.Word(root.GetStringBytes("form")); f != "" {
		u.form = f
	}
	var ok bool
	if u.at, ok = jsonrecord.Time(root.Get("time")); !ok {
		return dst, jsonrecord.Malformed("the record has no time that can be read")
	}
	u.agent = root.GetStringBytes("agent_id")
	u.kind, u.credential = root.GetStringBytes("credential_kind"), root.GetStringBytes("credential_id")
	u.action, u.permission, u.resource = root.GetStringBytes("action"), root.GetStringBytes("permission"), root.GetStringBytes("resource")
	u.failure = root.GetStringBytes("error")
	switch o := outcome(root.GetStringBytes("outcome")); o {
	case success, failure, denied:
		u.outcome = o
	}
	for _, name := range normalLabels {
		if value := root.GetStringBytes("labels", name); len(value) > 0 {
			u.labels = append(u.labels, fact{name, value})
		}
	}
	return d.told(dst, &u, root, rec, root.GetStringBytes("id")), nil
}

// told makes the event of a record, with its own id or one made of its content.
func (d *Decoder) told(dst []*leastwisev1.Event, u *usage, root *fastjson.Value, rec source.Record, id []byte) []*leastwisev1.Event {
	if !u.tells() {
		return append(dst, d.unknown(root, rec, nil))
	}
	if u.id == "" && len(id) > 0 {
		u.id = jsonrecord.ID(id)
	}
	if u.id == "" {
		u.id = jsonrecord.Hash(root)
	}
	return append(dst, d.event(u, rec))
}

// normalLabels are the facts that the normal form may hold besides.
var normalLabels = []string{"model", "tool", "provider", "trace_id", "session_issuer", "region", "aws_request_id", "service", "owner", "sampled"}

// marshal writes a usage in the normal form.
func (u *usage) marshal() []byte {
	labels := map[string]string{}
	for _, f := range u.labels {
		labels[f.name] = jsonrecord.Text(f.value, jsonrecord.MaxLabel)
	}
	out, _ := json.Marshal(struct { // can not fail: all are texts
		Version    int               `json:"agent_usage"`
		ID         string            `json:"id"`
		Form       string            `json:"form"`
		Time       string            `json:"time"`
		Agent      string            `json:"agent_id,omitempty"`
		Kind       string            `json:"credential_kind,omitempty"`
		Credential string            `json:"credential_id,omitempty"`
		Action     string            `json:"action,omitempty"`
		Permission string            `json:"permission,omitempty"`
		Resource   string            `json:"resource,omitempty"`
		Outcome    string            `json:"outcome"`
		Error      string            `json:"error,omitempty"`
		Labels     map[string]string `json:"labels,omitempty"`
	}{normalVersion, u.id, u.form, u.at.Format("2006-01-02T15:04:05.999999999Z07:00"), string(u.agent), string(u.kind),
		string(u.credential), text(u.action), text(u.permission), text(u.resource), string(u.outcome), jsonrecord.Word(u.failure), labels})
	return out
}
