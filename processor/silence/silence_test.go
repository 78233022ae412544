package silence

import (
	"strings"
	"testing"
	"time"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

var start = time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)

// watched beats every minute until end. A record comes every gap.
func watched(t *Tracker, end, gap time.Duration, trouble string) {
	for at := time.Duration(0); at <= end; at += time.Minute {
		t.Beat(&pb.Heartbeat{Source: "vault", Instance: "main", At: timestamppb.New(start.Add(at)),
			LastRecordAt: timestamppb.New(start.Add(at - at%gap)), Trouble: trouble, Blind: trouble == "disk"})
	}
}

func TestASourceIsSilentPastItsUsualRhythm(t *testing.T) {
	day := 24 * time.Hour
	for name, c := range map[string]struct {
		watched, gap time.Duration
		trouble      string
		quiet        time.Duration // heartbeats without a record, after that
		gone         time.Duration // nothing at all, after that
		why          string        // empty: not silent
	}{
		"lively":                           {2 * day, time.Minute, "", 10 * time.Minute, 0, ""},
		"quiet for longer than ever":       {2 * day, time.Minute, "", 20 * time.Minute, 0, "no record"},
		"slow, and slow as usual":          {4 * day, 6 * time.Hour, "", 12 * time.Hour, 0, ""},
		"slow, and slower":                 {4 * day, 6 * time.Hour, "", 19 * time.Hour, 0, "no record"},
		"not watched for long":             {time.Hour, time.Minute, "", 2 * time.Hour, 0, ""},
		"not watched for long, a day over": {time.Hour, time.Minute, "", 25 * time.Hour, 0, "no record"},
		"its collector is gone":            {2 * day, time.Minute, "", 0, 6 * time.Minute, "no heartbeat"},
		"its collector was just slow":      {2 * day, time.Minute, "", 0, 4 * time.Minute, ""},
		"its collector can not read":       {2 * day, time.Minute, "disk", 0, 0, "disk"},
		"its inventory lacks a permission": {2 * day, time.Minute, "inventory", 0, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			tracker := New()
			watched(tracker, c.watched, c.gap, c.trouble)
			last := start.Add(c.watched - c.watched%c.gap)
			now := start.Add(c.watched)
			for ; now.Before(start.Add(c.watched + c.quiet)); now = now.Add(time.Minute) {
				tracker.Beat(&pb.Heartbeat{Source: "vault", Instance: "main", At: timestamppb.New(now), LastRecordAt: timestamppb.New(last)})
			}
			silent := tracker.Silent(now.Add(c.gone))
			got := silent[Key("vault", "main")]
			if (c.why == "") != (got.Why == "") || !strings.Contains(got.Why, c.why) {
				t.Errorf("silent: %q, want %q", got.Why, c.why)
			}
			if got.Why != "" && (got.Since > now.UnixNano() || got.Since == 0) {
				t.Errorf("since %d", got.Since)
			}
		})
	}
}

func TestAnOldHeartbeatChangesNothing(t *testing.T) {
	tracker := New()
	beat := func(at time.Duration, trouble string) {
		tracker.Beat(&pb.Heartbeat{Source: "vault", At: timestamppb.New(start.Add(at)), Trouble: trouble, Blind: trouble != ""})
	}
	beat(time.Minute, "")
	beat(0, "disk")
	if r := tracker.Silent(start.Add(2 * time.Minute))["vault/"]; r.Since != 0 || r.From != start.Add(time.Minute).UnixNano() {
		t.Errorf("%v", r)
	}
	beat(2*time.Minute, "disk")
	beat(3*time.Minute, "")
	if r := tracker.Silent(start.Add(4 * time.Minute))["vault/"]; r.Since != 0 || r.From != start.Add(time.Minute).UnixNano() {
		t.Errorf("well again, and still %v", r)
	}
}
