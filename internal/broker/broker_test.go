package broker_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/broker"
	"github.com/leastwise/leastwise/internal/kafkatest"
	"github.com/leastwise/leastwise/internal/stream"
)

const childDir = "LEASTWISE_TEST_CHILD_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		fmt.Println("error", child(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// child runs a broker, publishes for ever in batches of ten, consumes and
// commits, and says what was acknowledged.
func child(dir string) error {
	ctx := context.Background()
	b, err := broker.Start(ctx, broker.Config{DataDir: dir})
	if err != nil {
		return err
	}
	c, err := stream.Open(ctx, stream.Config{Embedded: true, Brokers: b.Addrs()}, nil)
	if err != nil {
		return err
	}
	if err := c.EnsureTopics(ctx, []stream.Topic{{Name: "t", Partitions: 1}}); err != nil {
		return err
	}
	failed := make(chan error, 2)
	go func() {
		for i := 0; ; i += 10 {
			var msgs []stream.Message
			for n := i; n < i+10; n++ {
				msgs = append(msgs, stream.Message{Topic: "t", Key: []byte("k"), Value: fmt.Append(nil, n)})
			}
			if err := c.Publish(ctx, msgs...); err != nil {
				failed <- err
				return
			}
			fmt.Println("published", i+10)
		}
	}()
	go func() {
		failed <- c.Consume(ctx, "g", "t", func(ctx context.Context, a *stream.Assignment) error {
			for {
				msgs, err := a.Fetch(ctx, 100, time.Second)
				if err != nil {
					return err
				}
				if len(msgs) > 0 {
					next := msgs[len(msgs)-1].Offset + 1
					if err := a.Commit(ctx, next); err != nil {
						return err
					}
					fmt.Println("committed", next)
				}
			}
		})
	}()
	return <-failed
}

func TestAcknowledgedMessagesAndOffsetsSurviveAKill(t *testing.T) {
	dir := t.TempDir()
	for round := range 3 {
		os.RemoveAll(dir)
		published, committed := killChild(t, dir, 300*(round+1))
		b := kafkatest.Broker(t, broker.Config{DataDir: dir})
		c := kafkatest.Open(t, b)
		n := 0
		if _, err := c.ReadPartition(t.Context(), "t", 0, stream.Earliest, func(m stream.Message) error {
			if string(m.Value) != fmt.Sprint(n) {
				t.Fatalf("message %d is %s", n, m.Value)
			}
			n++
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if n < published {
			t.Errorf("%d messages acknowledged, %d left", published, n)
		}
		done := errors.New("done")
		var got int64
		if err := c.Consume(t.Context(), "g", "t", func(_ context.Context, a *stream.Assignment) error {
			got = a.Committed
			return done
		}); !errors.Is(err, done) {
			t.Fatal(err)
		}
		if got < committed {
			t.Errorf("offset %d committed, %d left", committed, got)
		}
		b.Close()
	}
}

// killChild kills a child once it has published and committed past n.
func killChild(t *testing.T, dir string, n int) (published int, committed int64) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = io.Discard
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	killed := false
	for lines.Scan() {
		_, _ = fmt.Sscanf(lines.Text(), "published %d", &published)
		_, _ = fmt.Sscanf(lines.Text(), "committed %d", &committed)
		if !killed && published >= n && committed >= int64(n) {
			killed = true
			_ = cmd.Process.Kill()
		}
	}
	_ = cmd.Wait()
	if !killed {
		t.Fatalf("the child ended by itself: %s", lines.Text())
	}
	return published, committed
}

func TestSecondBrokerOnTheDirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	b := kafkatest.Broker(t, broker.Config{DataDir: dir})
	if _, err := broker.Start(t.Context(), broker.Config{DataDir: dir}); !errors.Is(err, broker.ErrInUse) {
		t.Fatalf("got %v, want ErrInUse", err)
	}
	b.Close()
	kafkatest.Broker(t, broker.Config{DataDir: dir})
}

func TestTopicsAndRecordsAreThereAfterARestart(t *testing.T) {
	dir := t.TempDir()
	for n := range 4 {
		b := kafkatest.Broker(t, broker.Config{DataDir: dir, SyncWrites: n%2 == 0})
		c := kafkatest.Open(t, b)
		if err := c.EnsureTopics(t.Context(), []stream.Topic{{Name: "t", Partitions: 1}}); err != nil {
			t.Fatal(err)
		}
		next, err := c.ReadPartition(t.Context(), "t", 0, stream.Earliest, func(stream.Message) error { return nil })
		if err != nil || next != int64(n) {
			t.Fatalf("%d records, want %d, err %v", next, n, err)
		}
		if err := c.Publish(t.Context(), stream.Message{Topic: "t", Value: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		c.Close()
		b.Close()
	}
}
