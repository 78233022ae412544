package rego

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/rego/strictyaml"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// parseCare reads how carefully a policy wants its ladder run; nil if it says
// nothing of it.
func parseCare(p *strictyaml.Problems, keys map[string]strictyaml.Node) *leastwisev1.Ladder {
	out, said := &leastwisev1.Ladder{}, false
	for name, n := range keys {
		switch name {
		case "approvals":
			out.Approvals, said = parseApprovals(p, n), true
		case "business_hours":
			if h := parseHours(p, n); h != nil {
				out.BusinessHours = []*leastwisev1.Hours{h}
			}
			said = true
		case "freeze":
			for _, item := range nonEmpty(p, n) {
				out.Freeze = append(out.Freeze, parseFreeze(p, item))
			}
			said = true
		case "escalation":
			for _, item := range nonEmpty(p, n) {
				out.Escalation = append(out.Escalation, parseStep(p, item))
			}
			said = true
		case "max_collateral":
			out.MaxCollateral, said = proto.Uint32(parseCount(p, n, 1_000_000)), true
		case "corrected":
			out.Corrected, said = parseCorrected(p, n), true
		}
	}
	if !said {
		return nil
	}
	return out
}

func parseCount(p *strictyaml.Problems, n strictyaml.Node, most uint64) uint32 {
	text := p.Scalar(n)
	count, err := strconv.ParseUint(text, 10, 32)
	if text != "" && (err != nil || count > most) {
		p.Addf(n, "%q; expected a number from 0 to %d", text, most)
		return 0
	}
	return uint32(count)
}

func parseApprovals(p *strictyaml.Problems, n strictyaml.Node) *leastwisev1.Approvals {
	out := &leastwisev1.Approvals{}
	for name, n := range p.Mapping(n, "revoke", "narrow", "restore", "finish") {
		count := parseCount(p, n, 2)
		switch name {
		case "revoke":
			out.Revoke = count
		case "narrow":
			out.Narrow = count
		case "restore":
			out.Restore = count
		case "finish":
			out.Finish = count
		}
	}
	return out
}

func parseHours(p *strictyaml.Problems, n strictyaml.Node) *leastwisev1.Hours {
	keys := p.Mapping(n, "zone", "days", "from", "to")
	if keys == nil {
		return nil
	}
	for _, needed := range []string{"zone", "days", "from", "to"} {
		if _, ok := keys[needed]; !ok {
			p.Addf(n, "%s is missing; expected zone, days, from and to", needed)
			return nil
		}
	}
	out := &leastwisev1.Hours{Zone: p.Text(keys["zone"]), FromMinute: parseClock(p, keys["from"]), ToMinute: parseClock(p, keys["to"])}
	if _, err := time.LoadLocation(out.Zone); err != nil || out.Zone == "" || out.Zone == "Local" {
		p.Addf(keys["zone"], "%q is no time zone; expected a name such as Europe/Berlin or UTC", out.Zone)
	}
	for _, day := range p.Texts(keys["days"]) {
		i := slices.Index(dayNames, strings.ToLower(day))
		if i < 0 {
			p.Addf(keys["days"], "%q is no day; expected some of mon, tue, wed, thu, fri, sat, sun", day)
			continue
		}
		out.Days = append(out.Days, uint32(i))
	}
	slices.Sort(out.Days)
	out.Days = slices.Compact(out.Days)
	if len(out.Days) == 0 {
		p.Addf(keys["days"], "no day; expected some of mon, tue, wed, thu, fri, sat, sun")
	}
	if out.FromMinute >= out.ToMinute {
		p.Addf(keys["to"], "not after from; expected hours of one day, such as from 09:00 to 17:00")
	}
	return out
}

// parseClock reads 09:00 as minutes since midnight; 24:00 is the end of a day.
func parseClock(p *strictyaml.Problems, n strictyaml.Node) uint32 {
	text := p.Scalar(n)
	if text == "24:00" {
		return 24 * 60
	}
	at, err := time.Parse("15:04", text)
	if err != nil && text != "" {
		p.Addf(n, "%q; expected a time of day such as \"09:00\"", text)
	}
	return uint32(max(0, at.Hour()*60+at.Minute()))
}

func parseFreeze(p *strictyaml.Problems, n strictyaml.Node) *leastwisev1.Freeze {
	out := &leastwisev1.Freeze{}
	keys := p.Mapping(n, "from", "until", "reason")
	if keys == nil {
		return out
	}
	for _, needed := range []string{"from", "until", "reason"} {
		if _, ok := keys[needed]; !ok {
			p.Addf(n, "%s is missing; expected from, until and reason", needed)
			return out
		}
	}
	out.From, out.Until, out.Reason = parseTime(p, keys["from"]), parseTime(p, keys["until"]), p.Text(keys["reason"])
	if out.From != nil && out.Until != nil && !out.Until.AsTime().After(out.From.AsTime()) {
		p.Addf(keys["until"], "not after from; expected the time at which the freeze ends")
	}
	return out
}

func parseTime(p *strictyaml.Problems, n strictyaml.Node) *timestamppb.Timestamp {
	text := p.Scalar(n)
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		if text != "" {
			p.Addf(n, "%q; expected a time such as \"2026-12-20T00:00:00Z\"", text)
		}
		return nil
	}
	return timestamppb.New(at)
}

// DefaultWatch is how long what was given back is watched unless a policy says
// otherwise.
const DefaultWatch = 72 * time.Hour

// parseCorrected reads how what was given back is watched.
func parseCorrected(p *strictyaml.Problems, n strictyaml.Node) *leastwisev1.Corrected {
	out := &leastwisev1.Corrected{WatchMs: DefaultWatch.Milliseconds()}
	keys := p.Mapping(n, "watch", "on_denial")
	if watch, ok := keys["watch"]; ok {
		out.WatchMs = parseDurationNode(p, watch).Milliseconds()
	}
	if act, ok := keys["on_denial"]; ok && p.OneOf(act, "alarm", "rollback") == "rollback" {
		out.OnDenial = leastwisev1.Corrected_ROLLBACK
	}
	return out
}

func parseStep(p *strictyaml.Problems, n strictyaml.Node) *leastwisev1.EscalationStep {
	out := &leastwisev1.EscalationStep{}
	keys := p.Mapping(n, "channel", "after")
	if keys == nil {
		return out
	}
	if channel, ok := keys["channel"]; ok {
		out.Channel = p.Text(channel)
	} else {
		p.Addf(n, "channel is missing; expected a channel of the enforcer's configuration")
	}
	if after, ok := keys["after"]; ok {
		out.AfterMs = parseDurationNode(p, after).Milliseconds()
	} else {
		p.Addf(n, "after is missing; expected how long after the owner was told, such as 2h")
	}
	return out
}
