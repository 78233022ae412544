package cloudtrail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/valyala/fastjson"
)

// benchRecords are those of the recorded attack with ids of their own, filled up to about 1.8 KB as those of today are.
func benchRecords(b *testing.B) (records [][]byte, size int64) {
	b.Helper()
	var base [][]byte
	reader := Records(bytes.NewReader(readTestdata(b, "stolen-instance-credential.jsonl")), 0)
	for {
		line, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			b.Fatal(err)
		}
		v, err := fastjson.ParseBytes(line.Bytes)
		if err != nil {
			b.Fatal(err)
		}
		base = append(base, v.MarshalTo(nil))
	}
	for n := range 4096 {
		record := string(base[n%len(base)])
		record = strings.Replace(record, `"eventID":"`, fmt.Sprintf(`"eventID":"%08d`, n), 1)
		record = strings.Replace(record, "{", `{"additionalEventData":{"filler":{`+filler(1840-len(record)-40)+`}},`, 1)
		records, size = append(records, []byte(record)), size+int64(len(record))
	}
	return records, size / int64(len(records))
}

// filler are fields as long as those of real records.
func filler(size int) string {
	var fields []string
	for n := 0; size > 0; n++ {
		field := fmt.Sprintf(`"field%02d":"value of about thirty bytes %02d"`, n, n)
		fields, size = append(fields, field), size-len(field)-1
	}
	return strings.Join(fields, ",")
}

func BenchmarkParse(b *testing.B) {
	records, size := benchRecords(b)
	b.SetBytes(size)
	var parser fastjson.Parser
	for n := 0; b.Loop(); n++ {
		if _, err := parser.ParseBytes(records[n%len(records)]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	records, size := benchRecords(b)
	b.SetBytes(size)
	b.ReportAllocs()
	decoder := NewDecoder(Options{})
	var events []*leastwisev1.Event
	for n := 0; b.Loop(); n++ {
		var err error
		if events, err = decoder.Decode(events[:0], source.Record{Bytes: records[n%len(records)]}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSplit(b *testing.B) {
	records, size := benchRecords(b)
	file := []byte(`{"Records":[` + string(bytes.Join(records, []byte(","))) + `]}`)
	b.SetBytes(size)
	reader := Records(bytes.NewReader(file), 0)
	for b.Loop() {
		if _, err := reader.Next(); errors.Is(err, io.EOF) {
			reader = Records(bytes.NewReader(file), 0)
		} else if err != nil {
			b.Fatal(err)
		}
	}
}
