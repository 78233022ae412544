// Package kafkatest gives tests a Kafka of their own: an embedded broker in
// memory and a client of it, both gone when the test ends.
package kafkatest

import (
	"testing"

	"github.com/leastwise/leastwise/internal/broker"
	"github.com/leastwise/leastwise/internal/stream"
)

// New starts a broker and opens a client of it.
func New(t testing.TB) *stream.Client {
	t.Helper()
	return Open(t, Broker(t, broker.Config{}))
}

// Broker starts a broker that ends with the test.
func Broker(t testing.TB, cfg broker.Config) *broker.Broker {
	t.Helper()
	b, err := broker.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// Open opens a client of b that ends with the test.
func Open(t testing.TB, b *broker.Broker) *stream.Client {
	t.Helper()
	return OpenConfig(t, stream.Config{Embedded: true, Brokers: b.Addrs()})
}

// OpenConfig opens a client that ends with the test.
func OpenConfig(t testing.TB, cfg stream.Config) *stream.Client {
	t.Helper()
	c, err := stream.Open(t.Context(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
