// Command compare holds Leastwise's CloudTrail decoder against Redpanda Connect's engine with a mapping that takes the
// same fields, and against fastjson's bare parse, over the same records, in one run, in turns.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/valyala/fastjson"

	"github.com/leastwise/leastwise/collectors/cloudtrail"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// mapping takes from a record what the decoder takes.
const mapping = `
root.id = this.sharedEventID | this.eventID
root.credential = this.userIdentity.accessKeyId | ""
root.principal = this.userIdentity.sessionContext.sessionIssuer.arn | this.userIdentity.arn | ""
root.occurred_at = this.eventTime
root.action = this.eventName
root.permission = this.eventSource.trim_suffix(".amazonaws.com") + ":" + this.eventName
root.resource = this.resources.0.ARN | this.requestParameters.roleArn | this.requestParameters.bucketName | ""
root.kind = match {
  this.errorCode.or("").contains("AccessDenied") || this.errorCode.or("").contains("UnauthorizedOperation") => "DENIED"
  this.errorCode.or("").contains("Throttl") => "NOTED"
  _ => "USED"
}
root.issued = this.responseElements.credentials.accessKeyId | ""
root.expires_at = this.responseElements.credentials.expiration | ""
root.remote_address = this.sourceIPAddress | ""
root.labels.source_identity = this.userIdentity.sessionContext.sourceIdentity | ""
root.labels.region = this.awsRegion | ""
`

func main() {
	path := flag.String("log", "", "CloudTrail file to take records from")
	n := flag.Int("records", 20_000, "records in a round")
	flag.Parse()
	if err := run(context.Background(), *path, *n); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, path string, n int) error {
	records, size, err := amplified(path, n)
	if err != nil {
		return err
	}
	fmt.Printf("%d records of %d bytes, one core each, the quickest of three rounds\n", len(records), size)
	var ours, bare, theirs time.Duration
	for range 3 {
		ours = quicker(ours, timed(func() { decode(records) }))
		bare = quicker(bare, timed(func() { parse(records) }))
		took, err := benthos(ctx, records)
		if err != nil {
			return err
		}
		theirs = quicker(theirs, took)
	}
	rate := func(d time.Duration) float64 { return float64(len(records)) / d.Seconds() }
	ok := true
	show := func(name string, value float64, unit string, budget float64) {
		verdict := "ok"
		if value < budget {
			verdict, ok = "short", false
		}
		fmt.Printf("%-40s %10.2f %-10s at least %8.2f  %s\n", name, value, unit, budget, verdict)
	}
	fmt.Printf("%-40s %10.0f records/s\n", "CloudTrail normalised", rate(ours))
	fmt.Printf("%-40s %10.0f records/s\n", "fastjson's bare parse", rate(bare))
	fmt.Printf("%-40s %10.0f records/s\n", "Redpanda Connect's engine", rate(theirs))
	show("… against Redpanda Connect's engine", theirs.Seconds()/ours.Seconds(), "×", 15)
	show("… against the bare parse", bare.Seconds()/ours.Seconds(), "×", 0.5)
	if !ok {
		return errors.New("a figure is short of its budget")
	}
	return nil
}

func quicker(best, now time.Duration) time.Duration {
	if best == 0 || now < best {
		return now
	}
	return best
}

func timed(fn func()) time.Duration {
	began := time.Now()
	fn()
	return time.Since(began)
}

// amplified repeats the file's records with event ids of their own.
func amplified(path string, n int) (records [][]byte, size int, err error) {
	file, err := source.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer file.Close()
	var seeds [][]byte
	reader := cloudtrail.Records(file, 0)
	for {
		line, err := reader.Next()
		if err == nil || errors.Is(err, io.EOF) && len(line.Bytes) > 0 && !line.Partial {
			seeds = append(seeds, bytes.Clone(line.Bytes))
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				return nil, 0, err
			}
			break
		}
	}
	if len(seeds) == 0 {
		return nil, 0, fmt.Errorf("%s holds no CloudTrail records", path)
	}
	for i := range n {
		record := bytes.Replace(seeds[i%len(seeds)], []byte(`"eventID":`), []byte(`"eventID":"`+strconv.Itoa(i)+`","was":`), 1)
		records, size = append(records, record), size+len(record)
	}
	return records, size / n, nil
}

func decode(records [][]byte) {
	decoder := cloudtrail.NewDecoder(cloudtrail.Options{})
	var events []*leastwisev1.Event
	for _, record := range records {
		var err error
		if events, err = decoder.Decode(events[:0], source.Record{Bytes: record, Position: "log:0"}); err != nil {
			panic(err)
		}
	}
}

func parse(records [][]byte) {
	var parser fastjson.Parser
	for _, record := range records {
		if _, err := parser.ParseBytes(record); err != nil {
			panic(err)
		}
	}
}

// benthos runs the records through a stream with one mapping thread.
func benthos(ctx context.Context, records [][]byte) (time.Duration, error) {
	builder := service.NewStreamBuilder()
	builder.SetThreads(1)
	if err := builder.SetLoggerYAML("level: OFF"); err != nil {
		return 0, err
	}
	produce, err := builder.AddBatchProducerFunc()
	if err != nil {
		return 0, err
	}
	if err := builder.AddProcessorYAML("mapping: |\n  " + string(bytes.ReplaceAll([]byte(mapping), []byte("\n"), []byte("\n  ")))); err != nil {
		return 0, err
	}
	var done atomic.Int64
	if err := builder.AddBatchConsumerFunc(func(_ context.Context, batch service.MessageBatch) error {
		for _, m := range batch {
			if _, err := m.AsBytes(); err != nil {
				return err
			}
		}
		done.Add(int64(len(batch)))
		return nil
	}); err != nil {
		return 0, err
	}
	stream, err := builder.Build()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- stream.Run(ctx) }()
	began := time.Now()
	for at := 0; at < len(records); at += 1000 {
		var batch service.MessageBatch
		for _, record := range records[at:min(at+1000, len(records))] {
			batch = append(batch, service.NewMessage(record))
		}
		if err := produce(ctx, batch); err != nil {
			return 0, err
		}
	}
	took := time.Since(began)
	if int(done.Load()) != len(records) {
		return 0, fmt.Errorf("the engine gave %d of %d records", done.Load(), len(records))
	}
	cancel()
	<-ended
	return took, nil
}
