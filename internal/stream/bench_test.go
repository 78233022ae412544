package stream_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/broker"
	"github.com/leastwise/leastwise/internal/kafkatest"
	"github.com/leastwise/leastwise/internal/stream"
)

// BenchmarkPublish and BenchmarkConsume move messages of 400 bytes through a
// broker that syncs every batch to disk.
func BenchmarkPublish(b *testing.B) {
	c := benchClient(b)
	msgs := benchMessages(10_000)
	b.ResetTimer()
	for range b.N {
		if err := c.Publish(b.Context(), msgs...); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*len(msgs))/b.Elapsed().Seconds(), "msg/s")
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
	b.ResetTimer()
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
	b.ReportMetric(float64(b.N)*total/b.Elapsed().Seconds(), "msg/s")
}

func benchClient(b *testing.B) *stream.Client {
	c := kafkatest.Open(b, kafkatest.Broker(b, broker.Config{DataDir: b.TempDir(), SyncWrites: true}))
	create(b, c, "t", 4)
	return c
}

func benchMessages(n int) []stream.Message {
	msgs := make([]stream.Message, n)
	for i := range msgs {
		msgs[i] = stream.Message{Topic: "t", Key: fmt.Appendf(nil, "vault/main/token/%d", i%1000), Value: make([]byte, 400)}
	}
	return msgs
}
