package stream_test

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/broker"
	"github.com/leastwise/leastwise/internal/kafkatest"
	"github.com/leastwise/leastwise/internal/stream"
)

// The benchmarks move messages as a collector writes them (a value of 400
// bytes, the headers of CloudEvents) through a broker that syncs every batch
// to disk. Client and broker are in one process: cpu-ns/msg is what both cost,
// with the garbage they leave.
func BenchmarkPublish(b *testing.B) {
	c := benchClient(b)
	msgs := benchMessages(10_000)
	b.ReportAllocs()
	b.ResetTimer()
	from := cpuTime(b)
	for range b.N {
		if err := c.Publish(b.Context(), msgs...); err != nil {
			b.Fatal(err)
		}
	}
	report(b, from, b.N*len(msgs))
}

func BenchmarkConsume(b *testing.B) {
	c := benchClient(b)
	const total = 400_000
	for range total / 10_000 {
		if err := c.Publish(b.Context(), benchMessages(10_000)...); err != nil {
			b.Fatal(err)
		}
	}
	done := errors.New("done")
	b.ReportAllocs()
	b.ResetTimer()
	from := cpuTime(b)
	for i := range b.N {
		got := make(chan int, 100)
		ctx, cancel := context.WithCancel(b.Context())
		finished := make(chan error, 1)
		go func() {
			finished <- c.Consume(ctx, fmt.Sprint("g", i), "t", func(ctx context.Context, a *stream.Assignment) error {
				for {
					msgs, err := a.Fetch(ctx, 10_000, 100*time.Millisecond)
					if err != nil {
						return err
					}
					got <- len(msgs)
				}
			})
		}()
		for n := 0; n < total; {
			n += <-got
		}
		cancel()
		if err := <-finished; err != nil && !errors.Is(err, done) {
			b.Fatal(err)
		}
	}
	report(b, from, b.N*total)
}

func report(b *testing.B, from time.Duration, msgs int) {
	b.ReportMetric(float64(msgs)/b.Elapsed().Seconds(), "msg/s")
	b.ReportMetric(float64(cpuTime(b)-from)/float64(msgs), "cpu-ns/msg")
}

// cpuTime is the processor time that this process has taken.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func benchClient(b *testing.B) *stream.Client {
	c := kafkatest.Open(b, kafkatest.Broker(b, broker.Config{DataDir: b.TempDir(), SyncWrites: true}))
	create(b, c, "t", 4)
	return c
}

func benchMessages(n int) []stream.Message {
	msgs := make([]stream.Message, n)
	for i := range msgs {
		msgs[i] = stream.Message{Topic: "t", Key: fmt.Appendf(nil, "vault/main/token/%d", i%1000), Value: make([]byte, 400),
			Headers: []stream.Header{
				{Key: "ce_specversion", Value: []byte("1.0")},
				{Key: "ce_id", Value: fmt.Appendf(nil, "%064x", i)},
				{Key: "ce_source", Value: []byte("vault/main")},
				{Key: "ce_type", Value: []byte("io.leastwise.event.used")},
				{Key: "content-type", Value: []byte("application/protobuf")},
			}}
	}
	return msgs
}
