package enforcer

import (
	"fmt"
	"time"
	_ "time/tzdata" // business hours hold also where the machine has no time zones

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Window is a time within which nothing is revoked, as the configuration says.
type Window struct {
	From, Until time.Time
	Reason      string
}

// horizon is how far ahead a moment is looked for at which may be revoked.
const horizon = 366 * 24 * time.Hour

// allowed is the first moment, at or after the given one, at which all business
// hours hold and no freeze does, and why it is not the given one (empty: it
// is). A zero time means that there is none within a year, or that a time zone
// is not known: then nothing is revoked.
//
// It only ever answers with a later time: what was announced to an owner is
// never done earlier.
func (l *Ladder) allowed(at time.Time, d *pb.Decision) (time.Time, string) {
	rules := d.GetLadder()
	if len(rules.GetBusinessHours()) == 0 && len(rules.GetFreeze()) == 0 && len(l.Freeze) == 0 {
		return at, ""
	}
	why := ""
	for end := at.Add(horizon); at.Before(end); {
		later, because, ok := l.blocked(at, rules)
		if !ok {
			return time.Time{}, because
		}
		if !later.After(at) {
			return ceilSecond(at), why
		}
		if at = later; why == "" {
			why = because
		}
	}
	return time.Time{}, "there is no moment within a year at which all violated policies allow it: " + why
}

// blocked gives the end of the first thing that stands against the moment; the
// moment itself: nothing does. ok is false if that can not be told.
func (l *Ladder) blocked(at time.Time, rules *pb.Ladder) (until time.Time, why string, ok bool) {
	for _, w := range l.Freeze {
		if !at.Before(w.From) && at.Before(w.Until) {
			return w.Until, frozen(w.Reason, w.Until), true
		}
	}
	for _, w := range rules.GetFreeze() {
		if !at.Before(instant(w.From)) && at.Before(instant(w.Until)) {
			return instant(w.Until), frozen(w.Reason, instant(w.Until)), true
		}
	}
	for _, h := range rules.GetBusinessHours() {
		opens, ok := opening(at, h)
		if !ok {
			return time.Time{}, fmt.Sprintf("business hours in time zone %q can not be told", short(h.GetZone())), false
		}
		if opens.After(at) {
			return opens, fmt.Sprintf("outside business hours (%s)", hoursText(h)), true
		}
	}
	return at, "", true
}

func frozen(reason string, until time.Time) string {
	text := "frozen until " + until.UTC().Format(time.RFC3339)
	if reason != "" {
		text += " (" + short(reason) + ")"
	}
	return text
}

// opening is the moment itself if it lies within the hours, else when they
// next begin. Days are those of the zone's own clock, so that a day on which
// clocks change has its hours, too.
func opening(at time.Time, h *pb.Hours) (time.Time, bool) {
	zone, err := time.LoadLocation(h.GetZone())
	if err != nil || len(h.Days) == 0 || h.FromMinute >= h.ToMinute || h.ToMinute > 24*60 {
		return time.Time{}, false
	}
	local := at.In(zone)
	for day := range 8 {
		y, m, d := local.AddDate(0, 0, day).Date()
		midnight := func(minute uint32) time.Time { return time.Date(y, m, d, 0, int(minute), 0, 0, zone) }
		if !onDay(h.Days, midnight(12*60).Weekday()) {
			continue
		}
		from, to := midnight(h.FromMinute), midnight(h.ToMinute)
		switch {
		case at.Before(from):
			return from, true
		case at.Before(to):
			return at, true
		}
	}
	return time.Time{}, false
}

func onDay(days []uint32, day time.Weekday) bool {
	for _, d := range days {
		if time.Weekday(d) == day {
			return true
		}
	}
	return false
}

func hoursText(h *pb.Hours) string {
	days := ""
	for _, d := range h.Days {
		days += time.Weekday(d % 7).String()[:3] + " "
	}
	return fmt.Sprintf("%s%02d:%02d-%02d:%02d %s", days, h.FromMinute/60, h.FromMinute%60, h.ToMinute/60, h.ToMinute%60, short(h.Zone))
}
