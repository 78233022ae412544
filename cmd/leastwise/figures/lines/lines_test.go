package lines

import (
	"bytes"
	"maps"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fastjson"

	"github.com/leastwise/leastwise/collectors/cloudtrail"
	"github.com/leastwise/leastwise/collectors/gcpaudit"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/collectors/spire"
	"github.com/leastwise/leastwise/collectors/vault"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/leastwise/leastwise/simulator/fleet"
)

type decoder interface {
	Decode([]*pb.Event, source.Record) ([]*pb.Event, error)
}

var logs = []struct {
	name  string
	lines func(int) [][]byte
	fresh func() decoder
	// kinds that some of the lines must give.
	kinds []pb.Event_Kind
}{
	{"spire", SPIRE, func() decoder { return spire.NewDecoder(spire.Options{}) },
		[]pb.Event_Kind{pb.Event_ISSUED, pb.Event_USED, pb.Event_DENIED, pb.Event_NOTED}},
	{"gcp", GCP, func() decoder { return gcpaudit.NewDecoder(gcpaudit.Options{}) },
		[]pb.Event_Kind{pb.Event_ISSUED, pb.Event_USED, pb.Event_DENIED, pb.Event_NOTED}},
	{"cloudtrail", CloudTrail, func() decoder { return cloudtrail.NewDecoder(cloudtrail.Options{}) },
		[]pb.Event_Kind{pb.Event_ISSUED, pb.Event_REVOKED, pb.Event_USED, pb.Event_DENIED, pb.Event_NOTED}},
}

func TestLinesAreReadAndTellDifferentThings(t *testing.T) {
	for _, log := range logs {
		text := log.lines(2000)
		if again := log.lines(2000); !slices.EqualFunc(text, again, bytes.Equal) {
			t.Errorf("%s: another run gives other lines", log.name)
		}
		d := log.fresh()
		ids, kinds, calls := map[string]bool{}, map[pb.Event_Kind]int{}, map[string]bool{}
		told := 0
		for i, line := range text {
			events, err := d.Decode(nil, source.Record{Bytes: line})
			if err != nil {
				t.Fatalf("%s line %d: %v\n%s", log.name, i, err, line)
			}
			for _, ev := range events {
				ids[string(ev.Id)] = true
				kinds[ev.Kind]++
				calls[ev.Action] = true
				told++
			}
		}
		if len(ids) != told || told < len(text)*3/4 || len(calls) < 8 || kinds[pb.Event_UNKNOWN] > 0 {
			t.Errorf("%s: %d lines, %d events, %d ids, %d calls, kinds %v", log.name, len(text), told, len(ids), len(calls), kinds)
		}
		for _, kind := range log.kinds {
			if kinds[kind] == 0 {
				t.Errorf("%s: no event is %v: %v", log.name, kind, slices.Collect(maps.Keys(kinds)))
			}
		}
	}
}

// BenchmarkShare decodes and parses the same lines in turns, and reports the quickest parse by the quickest decoding.
func BenchmarkShare(b *testing.B) {
	for _, log := range logs {
		b.Run(log.name, func(b *testing.B) { share(b, log.lines(20_000), log.fresh) })
	}
	b.Run("vault", func(b *testing.B) {
		var text bytes.Buffer
		if _, err := fleet.WriteAudit(&text, fleet.AuditOptions{Seed: 1, Credentials: 2000, Calls: 10_000, DeniedShare: 0.01, RenewShare: 0.01}); err != nil {
			b.Fatal(err)
		}
		share(b, bytes.Split(bytes.TrimSpace(text.Bytes()), []byte("\n")), func() decoder { return vault.NewDecoder(vault.Options{Pairing: true}) })
	})
}

func share(b *testing.B, text [][]byte, fresh func() decoder) {
	var decoding, parsing time.Duration
	var parser fastjson.Parser
	var events []*pb.Event
	for b.Loop() {
		d := fresh()
		began := processorTime()
		for _, line := range text {
			var err error
			if events, err = d.Decode(events[:0], source.Record{Bytes: line, Position: "log:0"}); err != nil {
				b.Fatal(err)
			}
		}
		if took := processorTime() - began; decoding == 0 || took < decoding {
			decoding = took
		}
		began = processorTime()
		for _, line := range text {
			if _, err := parser.ParseBytes(line); err != nil {
				b.Fatal(err)
			}
		}
		if took := processorTime() - began; parsing == 0 || took < parsing {
			parsing = took
		}
	}
	b.ReportMetric(parsing.Seconds()/decoding.Seconds(), "share")
	b.ReportMetric(float64(decoding.Nanoseconds())/float64(len(text)), "ns/decode")
	b.ReportMetric(float64(parsing.Nanoseconds())/float64(len(text)), "ns/parse")
	b.ReportMetric(0, "ns/op")
}

// processorTime is what this process has used: what other programs on the machine take away does not count.
func processorTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic("getrusage: " + err.Error()) // only for a bad argument
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
