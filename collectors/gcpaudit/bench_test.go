package gcpaudit

import (
	"strings"
	"testing"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/valyala/fastjson"
)

// benchRecords are public sample entries and a generated history, with all that real entries hold.
func benchRecords(b *testing.B) (records [][]byte, size int64) {
	entries, _ := history(1, 40)
	for _, entry := range entries[:150] { // with the fields that services write besides
		entry = strings.Replace(entry, `"callerSuppliedUserAgent":"CANARY-agent"`, `"callerSuppliedUserAgent":"gcloud-python/1.28.0 gl-python/3.11.4 grpc/1.59.0 gax/2.11.0 gccl/2.10.0,gzip(gfe)","requestAttributes":{"time":"2026-10-02T09:00:01.253767891Z","auth":{}},"destinationAttributes":{}`, 1)
		entry = strings.Replace(entry, `"severity":"INFO"`, `"severity":"INFO","receiveTimestamp":"2026-10-02T09:00:02.153767891Z"`, 1)
		entry = strings.Replace(entry, `"resourceName"`, `"resourceLocation":{"currentLocations":["europe-west3"]},"resourceName"`, 1)
		records = append(records, []byte(entry))
	}
	for range 10 {
		records = append(records, sampleRecords(b)...)
	}
	for _, record := range records {
		size += int64(len(record))
	}
	return records, size / int64(len(records))
}

// BenchmarkDecode is to reach half of the speed of bare_parse.
func BenchmarkDecode(b *testing.B) {
	records, size := benchRecords(b)
	b.Run("events", func(b *testing.B) {
		d := NewDecoder(Options{})
		var events []*leastwisev1.Event
		b.SetBytes(size)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			var err error
			if events, err = d.Decode(events[:0], source.Record{Bytes: records[i%len(records)], Position: "audit.log:0"}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("bare_parse", func(b *testing.B) {
		var p fastjson.Parser
		b.SetBytes(size)
		for i := 0; b.Loop(); i++ {
			if _, err := p.ParseBytes(records[i%len(records)]); err != nil {
				b.Fatal(err)
			}
		}
	})
}
