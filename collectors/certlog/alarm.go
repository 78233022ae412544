package certlog

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/valyala/fastjson"
)

// Kinds of alarms: values of the label alarm.
const (
	AlarmBadSignature     = "bad_signature"
	AlarmRewrittenHistory = "rewritten_history"
	AlarmShrunkTree       = "shrunk_tree"
	AlarmWrongInclusion   = "wrong_inclusion"
	AlarmGap              = "gap"
	AlarmUnproven         = "unproven"
)

var alarms = []string{AlarmBadSignature, AlarmRewrittenHistory, AlarmShrunkTree, AlarmWrongInclusion, AlarmGap, AlarmUnproven}

// Alarm is a log that does not do what it is there for.
type Alarm struct {
	Kind string
	// Detail is one sentence for people.
	Detail string
	// Head is what the log said, Trusted what it had proven before.
	Head, Trusted Head
	// Position is the entry up to which the log was read.
	Position uint64
}

func (a *Alarm) Error() string { return "alarm " + a.Kind + ": " + a.Detail }

// record is the alarm as a record of the log, so that it takes the way of every other record.
func (a *Alarm) record(log string, at time.Time) []byte {
	head := func(prefix string, h Head) string {
		return fmt.Sprintf(`,"%stree_size":%d,"%sroot_hash":%q,"%stimestamp":%d,"%ssignature":%q`,
			prefix, h.Size, prefix, base64.StdEncoding.EncodeToString(h.Root), prefix, h.Timestamp, prefix, base64.StdEncoding.EncodeToString(h.Signature))
	}
	return fmt.Appendf(nil, `{"log":%q,"alarm":%q,"at":%d,"position":%d%s%s}`,
		log, a.Kind, at.UnixMilli(), a.Position, head("", a.Head), head("trusted_", a.Trusted))
}

// findings are the kinds of findings that alarms are, and what to do about each.
var findings = map[string]struct{ kind, advice string }{
	AlarmBadSignature: {schemas.FindingLogBadSignature, "Compare public_key_file with the key that the log publishes. If it is right, " +
		"somebody answers in the log's place, or the log lost its key: trust nothing that it shows until its operator explains it."},
	AlarmRewrittenHistory: {schemas.FindingLogRewrittenHistory, "Keep both tree heads: signed by one key, they prove it. Show them to the log's operator and " +
		"to those who rely on the log, and read another log meanwhile."},
	AlarmShrunkTree: {schemas.FindingLogShrunkTree, "Ask the log's operator whether it was restored from a backup: entries are gone. What was read of them stays here."},
	AlarmWrongInclusion: {schemas.FindingLogWrongInclusion, "The log shows entries that it did not sign. Keep the tree head, ask the log's operator, and " +
		"look whether something between you and the log changes its answers."},
	AlarmGap: {schemas.FindingLogGap, "Certificates in the gap are not known here. Ask the log's operator for the entries from the position on, and " +
		"look for them in another log meanwhile."},
	AlarmUnproven: {schemas.FindingLogUnproven, "What the log shows can not be checked and is not taken. Ask the log's operator why it gives no proofs."},
}

// found is the alarm as a finding about the log.
func (a *Alarm) found(log string) collect.Found {
	head := func(name string, h Head) string {
		if h.Root == nil {
			return name + ": none"
		}
		return fmt.Sprintf("%s: %d entries, root %s, signed %s", name, h.Size, base64.StdEncoding.EncodeToString(h.Root),
			time.UnixMilli(int64(min(h.Timestamp, latest))).UTC().Format(time.RFC3339))
	}
	f := findings[a.Kind]
	return collect.Found{Kind: f.kind, Subject: log,
		Detail: fmt.Sprintf("log %s: %s; nothing more is read of it until it answers as it should. %s", log, a.Detail, f.advice),
		Evidence: []string{head("the log's tree head", a.Head), head("proven before", a.Trusted),
			fmt.Sprintf("read up to entry %d", a.Position)}}
}

// alarmFields are those of an alarm's record that become labels.
type alarmFields struct {
	at, position *fastjson.Value
	heads        [8]*fastjson.Value
}

var headFields = [8]string{"tree_size", "root_hash", "timestamp", "signature",
	"trusted_tree_size", "trusted_root_hash", "trusted_timestamp", "trusted_signature"}

func (a *alarmFields) field(key []byte, v *fastjson.Value) {
	switch string(key) {
	case "at":
		a.at = v
	case "position":
		a.position = v
	default:
		for i, name := range headFields {
			if string(key) == name {
				a.heads[i] = v
			}
		}
	}
}

// alarm turns an alarm's record into its event. Its labels are the evidence: both signed tree heads.
func (d *Decoder) alarm(dst []*leastwisev1.Event, rec source.Record) ([]*leastwisev1.Event, error) {
	r := &d.rec
	name, kind := r.logID(), jsonrecord.Word(r.alarm.GetStringBytes())
	if name == "" || kind == "" {
		return dst, jsonrecord.Malformed("the alarm names no log or no kind")
	}
	at, ok := jsonrecord.Time(r.facts.at)
	if !ok {
		return dst, jsonrecord.Malformed("the alarm has no time")
	}
	labels := map[string]string{"alarm": kind}
	d.labelLog(labels)
	id := name + ":alarm:" + kind
	if position, err := number(r.facts.position); err == nil {
		labels["position"] = position
		id += ":" + position
	}
	for i, v := range r.facts.heads {
		text := ""
		if v.GetStringBytes() != nil {
			text = jsonrecord.Text(v.GetStringBytes(), jsonrecord.MaxLabel)
			if _, err := base64.StdEncoding.DecodeString(text); err != nil {
				text = ""
			}
		} else if n, err := number(v); err == nil {
			text = n
		}
		label(labels, headFields[i], text)
		if i < 2 {
			id += ":" + text
		}
	}
	if len(id) > 2*jsonrecord.MaxID {
		id = jsonrecord.HashOf([]byte(id))
	}
	if !slices.Contains(alarms, kind) {
		ev := jsonrecord.Event(System, d.opts.Instance, id, indexUnknown, leastwisev1.Event_UNKNOWN, at, rec)
		ev.Action, ev.Labels = "alarm", labels
		return append(dst, ev), nil
	}
	ev := jsonrecord.Event(System, d.opts.Instance, id, indexAlarm, leastwisev1.Event_NOTED, at, rec)
	ev.Action, ev.Error, ev.Outcome, ev.Labels = "alarm", kind, leastwisev1.Outcome_OUTCOME_FAILURE, labels
	ev.Resource = labels["log"]
	return append(dst, ev), nil
}

func number(v *fastjson.Value) (string, error) {
	if v == nil {
		return "", errors.New("missing")
	}
	n, err := v.Uint64()
	return strconv.FormatUint(n, 10), err
}
