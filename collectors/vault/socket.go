package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/leastwise/leastwise/collectors/source"
)

// received is one line that came over a connection.
type received struct {
	line     source.Line
	position string
}

// listen takes records from an audit device of type socket. Connections are read only as fast as Kafka takes records:
// Vault then fills its socket buffer and, at last, its write times out.
func (c *Collector) listen(ctx context.Context) error {
	network, address, err := socketAddress(c.cfg.Socket)
	if err != nil {
		return err
	}
	if network == "unix" {
		// A socket that a crash left behind; one that answers belongs to another process.
		if conn, err := net.DialTimeout(network, address, time.Second); err == nil {
			conn.Close()
			return fmt.Errorf("listen on %s: another process listens there", c.cfg.Socket)
		}
		if err := os.Remove(address); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("listen on %s: %w", c.cfg.Socket, err)
		}
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, network, address)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", c.cfg.Socket, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	lines := make(chan received, c.cfg.BatchRecords)
	var readers sync.WaitGroup
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer func() {
		cancel()
		stop()
		listener.Close()
		readers.Wait()
	}()
	readers.Go(func() { c.accept(ctx, listener, lines, &readers) })
	c.say("log", nil)
	for {
		if err := c.gather(ctx, lines); err != nil {
			return stopped(ctx, err)
		}
	}
}

// gather publishes up to one batch of what came.
func (c *Collector) gather(ctx context.Context, lines <-chan received) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case got := <-lines:
		c.take(got.line, got.position)
	}
	timer := time.NewTimer(c.cfg.BatchWait)
	defer timer.Stop()
	for range c.cfg.BatchRecords - 1 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return c.publish(ctx)
		case got := <-lines:
			c.take(got.line, got.position)
		}
	}
	return c.publish(ctx)
}

func (c *Collector) accept(ctx context.Context, listener net.Listener, lines chan<- received, readers *sync.WaitGroup) {
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			c.say("log", fmt.Errorf("accept on %s: %w", c.cfg.Socket, err))
			if !pause(ctx, time.Second) {
				return
			}
			continue
		}
		c.say("log", nil)
		readers.Go(func() {
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			defer stop()
			defer conn.Close()
			c.receive(ctx, conn, lines)
		})
	}
}

// receive copies lines out of one connection. A last line without an end was cut off.
func (c *Collector) receive(ctx context.Context, conn io.Reader, lines chan<- received) {
	reader := source.NewLines(conn, c.cfg.MaxRecordBytes)
	for {
		line, err := reader.Next()
		if err != nil && !(errors.Is(err, io.EOF) && line.Partial) {
			return
		}
		line.Bytes = bytes.Clone(line.Bytes)
		select {
		case <-ctx.Done():
			return
		case lines <- received{line, c.cfg.Socket}:
		}
		if err != nil {
			return
		}
	}
}
