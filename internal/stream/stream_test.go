package stream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/broker"
	"github.com/leastwise/leastwise/internal/kafkatest"
	"github.com/leastwise/leastwise/internal/stream"
)

func create(t testing.TB, c *stream.Client, name string, partitions int) {
	t.Helper()
	if err := c.EnsureTopics(t.Context(), []stream.Topic{{Name: name, Partitions: partitions}}); err != nil {
		t.Fatal(err)
	}
}

func publish(t testing.TB, c *stream.Client, topic string, from, to int) {
	t.Helper()
	msgs := make([]stream.Message, 0, to-from)
	for i := from; i < to; i++ {
		msgs = append(msgs, stream.Message{
			Topic: topic,
			Key:   fmt.Appendf(nil, "key-%d", i%17),
			Value: fmt.Appendf(nil, "%d", i),
		})
	}
	if err := c.Publish(t.Context(), msgs...); err != nil {
		t.Fatal(err)
	}
}

// readAll returns every message of the topic, by partition.
func readAll(t testing.TB, c *stream.Client, topic string) map[int][]stream.Message {
	t.Helper()
	n, err := c.Partitions(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	all := map[int][]stream.Message{}
	for p := range n {
		next, err := c.ReadPartition(t.Context(), topic, p, stream.Earliest, func(m stream.Message) error {
			all[p] = append(all[p], m)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(all[p]) > 0 && next != all[p][len(all[p])-1].Offset+1 {
			t.Fatalf("partition %d: next offset %d, last message at %d", p, next, all[p][len(all[p])-1].Offset)
		}
	}
	return all
}

func TestPartitionForIsJavasMurmur2(t *testing.T) {
	// Hashes from the tests of Kafka's own Utils.murmur2.
	for key, hash := range map[string]uint32{
		"kafka": 0xd067cf64, "giberish123456789": 0x8f552b0c, "1234": 0x9fc97b14, "234": 0xe7c009ca,
		"34": 0x873930da, "4": 0x5a4b5ca1, "": 0x106e08d9, "AmbleWillBeRemoved,ThePrePartThatIs": 0x62b8b43f,
	} {
		const n = 1 << 20
		if got, want := stream.PartitionFor([]byte(key), n), int(hash&0x7fffffff)%n; got != want {
			t.Errorf("%q: partition %d, want %d", key, got, want)
		}
	}
}

func TestPublishKeepsMessagesAndTheirOrder(t *testing.T) {
	c := kafkatest.New(t)
	create(t, c, "t", 3)
	at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	var wg sync.WaitGroup
	for writer := range 8 {
		wg.Go(func() {
			for i := range 50 {
				key := fmt.Appendf(nil, "writer-%d", writer)
				err := c.Publish(t.Context(),
					stream.Message{Topic: "t", Key: key, Value: fmt.Appendf(nil, "%d", 2*i), Time: at,
						Headers: []stream.Header{{Key: "h", Value: []byte("v")}}},
					stream.Message{Topic: "t", Key: key, Value: fmt.Appendf(nil, "%d", 2*i+1)})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	seen := map[string]int{}
	for p, msgs := range readAll(t, c, "t") {
		for _, m := range msgs {
			if want := stream.PartitionFor(m.Key, 3); p != want || m.Partition != want {
				t.Fatalf("%s in partition %d, want %d", m.Key, p, want)
			}
			if want := fmt.Sprint(seen[string(m.Key)]); string(m.Value) != want {
				t.Fatalf("%s: got %s, want %s", m.Key, m.Value, want)
			}
			if even := seen[string(m.Key)]%2 == 0; even && (!m.Time.Equal(at) || len(m.Headers) != 1 || string(m.Headers[0].Value) != "v") {
				t.Fatalf("time %v, headers %v", m.Time, m.Headers)
			}
			seen[string(m.Key)]++
		}
	}
	for writer := range 8 {
		if n := seen[fmt.Sprintf("writer-%d", writer)]; n != 100 {
			t.Errorf("writer %d: %d messages, want 100", writer, n)
		}
	}
}

func TestPublishRefusesWhatNoBatchHolds(t *testing.T) {
	c := kafkatest.New(t)
	create(t, c, "t", 1)
	err := c.Publish(t.Context(), stream.Message{Topic: "t", Value: make([]byte, 2<<20)})
	if !errors.Is(err, stream.ErrTooLarge) {
		t.Fatalf("got %v, want ErrTooLarge", err)
	}
	if err := c.Publish(t.Context(), stream.Message{Topic: "t", Value: make([]byte, 900_000)}); err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, c, "t")[0]; len(got) != 1 || len(got[0].Value) != 900_000 {
		t.Fatalf("%d messages", len(got))
	}
}

func TestTombstoneIsRead(t *testing.T) {
	c := kafkatest.New(t)
	create(t, c, "t", 1)
	if err := c.Publish(t.Context(), stream.Message{Topic: "t", Key: []byte("a"), Value: []byte("x")},
		stream.Message{Topic: "t", Key: []byte("a")}); err != nil {
		t.Fatal(err)
	}
	got := readAll(t, c, "t")[0]
	if len(got) != 2 || string(got[0].Value) != "x" || got[1].Value != nil {
		t.Fatalf("got %v", got)
	}
}

func TestEnsureTopicsComparesCounts(t *testing.T) {
	c := kafkatest.New(t)
	create(t, c, "t", 3)
	create(t, c, "t", 3)
	create(t, c, "t", 0)
	create(t, c, "default", 0)
	if n, _ := c.Partitions(t.Context(), "default"); n != stream.DefaultPartitions {
		t.Errorf("default topic has %d partitions", n)
	}
	err := c.EnsureTopics(t.Context(), []stream.Topic{{Name: "t", Partitions: 5}})
	if !errors.Is(err, stream.ErrPartitionMismatch) {
		t.Fatalf("got %v, want ErrPartitionMismatch", err)
	}
	if want := "kafka: topic t has 3 partitions, 5 asked for: partition count differs"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	if _, err := c.Partitions(t.Context(), "absent"); !errors.Is(err, stream.ErrUnknownTopic) {
		t.Errorf("got %v, want ErrUnknownTopic", err)
	}
}

func TestReadPartitionStopsAtTheEndOfItsStart(t *testing.T) {
	c := kafkatest.New(t)
	create(t, c, "t", 1)
	publish(t, c, "t", 0, 10)
	var got []string
	next, err := c.ReadPartition(t.Context(), "t", 0, 4, func(m stream.Message) error {
		got = append(got, string(m.Value))
		publish(t, c, "t", 100, 101) // grows as fast as it is read
		return nil
	})
	if err != nil || next != 10 || !slices.Equal(got, []string{"4", "5", "6", "7", "8", "9"}) {
		t.Fatalf("next %d, got %v, err %v", next, got, err)
	}
	if _, err := c.ReadPartition(t.Context(), "t", 0, 1000, nil); !errors.Is(err, stream.ErrPastEnd) {
		t.Errorf("got %v, want ErrPastEnd", err)
	}
	stop := errors.New("stop")
	next, err = c.ReadPartition(t.Context(), "t", 0, 0, func(m stream.Message) error {
		if m.Offset == 3 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || next != 3 {
		t.Errorf("next %d, err %v", next, err)
	}
}

func TestReadingPassesOverCompactedOffsets(t *testing.T) {
	b := kafkatest.Broker(t, broker.Config{})
	c := kafkatest.Open(t, b)
	err := c.EnsureTopics(t.Context(), []stream.Topic{{Name: "t", Partitions: 1,
		Settings: map[string]string{"cleanup.policy": "compact"}}})
	if err != nil {
		t.Fatal(err)
	}
	// Batches of four with overlapping keys: compaction takes whole batches,
	// and the first and the last records of others.
	for i := 0; i < 200; i += 4 {
		publish(t, c, "t", i, i+4)
	}
	for _, key := range []string{"key-12", "active"} { // the newest batch is never compacted
		if err := c.Publish(t.Context(), stream.Message{Topic: "t", Key: []byte(key), Value: []byte("last")}); err != nil {
			t.Fatal(err)
		}
	}
	b.Compact()
	msgs := readAll(t, c, "t")[0]
	if len(msgs) >= 200 || len(msgs) < 17 || msgs[len(msgs)-1].Offset != 201 {
		t.Fatalf("%d messages after compaction", len(msgs))
	}
	for i := range 200 { // from inside every gap
		next, err := c.ReadPartition(t.Context(), "t", 0, int64(i), func(stream.Message) error { return nil })
		if err != nil || next != 202 {
			t.Fatalf("from %d: next %d, err %v", i, next, err)
		}
	}
}

func TestFollowCatchesUpAndGoesOn(t *testing.T) {
	c := kafkatest.New(t)
	create(t, c, "t", 3)
	publish(t, c, "t", 0, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var n, atCatchUp int
	err := c.Follow(ctx, "t", func() {
		atCatchUp = n
		publish(t, c, "t", 1000, 1100)
	}, func(stream.Message) error {
		if n++; n == 1100 {
			cancel()
		}
		return nil
	})
	if err != nil || atCatchUp != 1000 || n != 1100 {
		t.Fatalf("err %v, %d at catch-up, %d in all", err, atCatchUp, n)
	}
	stop := errors.New("stop")
	if err := c.Follow(t.Context(), "t", nil, func(stream.Message) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v, want the error of fn", err)
	}
}

func TestFollowOfAnEmptyTopicCatchesUpAtOnce(t *testing.T) {
	c := kafkatest.New(t)
	create(t, c, "t", 2)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := c.Follow(ctx, "t", cancel, func(stream.Message) error { return nil }); err != nil {
		t.Fatal(err)
	}
}

func TestPublishWaitsOutAnOutageAndNothingIsLost(t *testing.T) {
	dir := t.TempDir()
	listen := freeAddr(t)
	start := func() *broker.Broker {
		b, err := broker.Start(t.Context(), broker.Config{DataDir: dir, SyncWrites: true, Listen: listen})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b := start()
	c := kafkatest.OpenConfig(t, stream.Config{Embedded: true, Brokers: []string{listen}})
	create(t, c, "t", 2)
	publish(t, c, "t", 0, 100)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	seen := map[string]int{}
	got := make(chan int, 1000)
	followed := make(chan error, 1)
	go func() {
		followed <- c.Follow(ctx, "t", nil, func(m stream.Message) error {
			mu.Lock()
			defer mu.Unlock()
			seen[string(m.Value)]++
			got <- len(seen)
			return nil
		})
	}()
	waitFor(t, got, 100)

	b.Close()
	if err := c.Ping(t.Context()); err == nil {
		t.Error("ping of a stopped broker succeeded")
	}
	published := make(chan error, 1)
	go func() {
		var msgs []stream.Message
		for i := 100; i < 200; i++ {
			msgs = append(msgs, stream.Message{Topic: "t", Key: fmt.Appendf(nil, "%d", i), Value: fmt.Appendf(nil, "%d", i)})
		}
		published <- c.Publish(t.Context(), msgs...)
	}()
	// A caller that gives up is not held by the outage.
	short, end := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer end()
	if err := c.Publish(short, stream.Message{Topic: "t", Value: []byte("given up")}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want DeadlineExceeded", err)
	}

	b = start()
	defer b.Close()
	if err := <-published; err != nil {
		t.Fatal(err)
	}
	waitFor(t, got, 200)
	cancel()
	if err := <-followed; err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		if seen[fmt.Sprint(i)] != 1 {
			t.Fatalf("message %d seen %d times", i, seen[fmt.Sprint(i)])
		}
	}
}

func TestCloseEndsEverything(t *testing.T) {
	c := kafkatest.New(t)
	create(t, c, "t", 1)
	following := make(chan error, 1)
	caught := make(chan struct{})
	go func() {
		following <- c.Follow(context.Background(), "t", func() { close(caught) }, func(stream.Message) error { return nil })
	}()
	<-caught
	c.Close()
	if err := <-following; !errors.Is(err, stream.ErrClosed) {
		t.Errorf("follow: got %v, want ErrClosed", err)
	}
	if err := c.Publish(context.Background(), stream.Message{Topic: "t"}); !errors.Is(err, stream.ErrClosed) {
		t.Errorf("publish: got %v, want ErrClosed", err)
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// waitFor reads counts until one is n.
func waitFor(t *testing.T, counts <-chan int, n int) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		select {
		case got := <-counts:
			if got >= n {
				return
			}
		case <-deadline:
			t.Fatalf("never reached %d", n)
		}
	}
}
