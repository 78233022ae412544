package lines

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"github.com/leastwise/leastwise/collectors/cloudtrail"
	"github.com/leastwise/leastwise/collectors/gcpaudit"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/collectors/spire"
	"github.com/leastwise/leastwise/collectors/vault"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/leastwise/leastwise/simulator/fleet"
)

var logs = []struct {
	name  string
	lines func(int) [][]byte
	fresh func() Decoder
	// kinds that some of the lines must give.
	kinds []pb.Event_Kind
}{
	{"spire", SPIRE, func() Decoder { return spire.NewDecoder(spire.Options{}) },
		[]pb.Event_Kind{pb.Event_ISSUED, pb.Event_USED, pb.Event_DENIED, pb.Event_NOTED}},
	{"gcp", GCP, func() Decoder { return gcpaudit.NewDecoder(gcpaudit.Options{}) },
		[]pb.Event_Kind{pb.Event_ISSUED, pb.Event_USED, pb.Event_DENIED, pb.Event_NOTED}},
	{"cloudtrail", CloudTrail, func() Decoder { return cloudtrail.NewDecoder(cloudtrail.Options{}) },
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

// BenchmarkShare decodes and parses the same lines in turns, as the bench does.
func BenchmarkShare(b *testing.B) {
	for _, log := range logs {
		b.Run(log.name, func(b *testing.B) {
			all := log.lines(40_000)
			share(b, all[:20_000], all[20_000:], log.fresh)
		})
	}
	b.Run("vault", func(b *testing.B) {
		var text bytes.Buffer
		if _, err := fleet.WriteAudit(&text, fleet.AuditOptions{Seed: 1, Credentials: 2000, Calls: 10_000, DeniedShare: 0.01, RenewShare: 0.01}); err != nil {
			b.Fatal(err)
		}
		share(b, nil, bytes.Split(bytes.TrimSpace(text.Bytes()), []byte("\n")), func() Decoder { return vault.NewDecoder(vault.Options{Pairing: true}) })
	})
}

func share(b *testing.B, before, text [][]byte, fresh func() Decoder) {
	var rounds []Turns
	for b.Loop() {
		round, err := InTurns(fresh(), before, text)
		if err != nil {
			b.Fatal(err)
		}
		rounds = append(rounds, round)
	}
	middle, quickest := Middle(rounds)
	b.ReportMetric(middle, "share")
	b.ReportMetric(float64(quickest.Nanoseconds())/float64(len(text)), "ns/decode")
	b.ReportMetric(0, "ns/op")
}
