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

	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/collectors/source"
)

// socketFeed takes records from an audit device of type socket. Connections are read only as fast as Kafka takes
// records: Vault then fills its socket buffer and, at last, its write times out.
type socketFeed struct {
	say      func(part string, err error)
	address  string
	maxBytes int
	listener net.Listener
	lines    chan source.Line
	cancel   context.CancelFunc
	readers  sync.WaitGroup
}

func (c *Collector) listen(ctx context.Context) (*socketFeed, error) {
	network, address, err := socketAddress(c.cfg.Socket)
	if err != nil {
		return nil, err
	}
	if network == "unix" {
		// A socket that a crash left behind; one that answers belongs to another process.
		if conn, err := net.DialTimeout(network, address, time.Second); err == nil {
			conn.Close()
			return nil, fmt.Errorf("listen on %s: another process listens there", c.cfg.Socket)
		}
		if err := os.Remove(address); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("listen on %s: %w", c.cfg.Socket, err)
		}
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", c.cfg.Socket, err)
	}
	f := &socketFeed{say: c.Say, address: c.cfg.Socket, maxBytes: c.cfg.MaxRecordBytes, listener: listener,
		lines: make(chan source.Line, c.cfg.BatchRecords)}
	ctx, f.cancel = context.WithCancel(ctx)
	f.readers.Go(func() { f.accept(ctx) })
	return f, nil
}

// Close implements collect.Feed.
func (f *socketFeed) Close() error {
	f.cancel()
	err := f.listener.Close()
	f.readers.Wait()
	return err
}

// Read implements collect.Feed. There is nothing to commit: what was sent once is not sent again.
func (f *socketFeed) Read(ctx context.Context, limit int, wait time.Duration, take collect.Take) (int, func() error, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for n := range limit {
		select {
		case <-ctx.Done():
			return n, nil, nil
		case <-timer.C:
			return n, nil, nil
		case line := <-f.lines:
			take(source.Record{Bytes: line.Bytes, Position: f.address}, line.Malformed())
		}
	}
	return limit, nil, nil
}

func (f *socketFeed) accept(ctx context.Context) {
	for {
		conn, err := f.listener.Accept()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			f.say("log", fmt.Errorf("accept on %s: %w", f.address, err))
			if !collect.Pause(ctx, time.Second) {
				return
			}
			continue
		}
		f.readers.Go(func() {
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			defer stop()
			defer conn.Close()
			f.receive(ctx, conn)
		})
	}
}

// receive copies lines out of one connection. A last line without an end was cut off.
func (f *socketFeed) receive(ctx context.Context, conn io.Reader) {
	reader := source.NewLines(conn, f.maxBytes)
	for {
		line, err := reader.Next()
		if err != nil && !(errors.Is(err, io.EOF) && line.Partial) {
			return
		}
		line.Bytes = bytes.Clone(line.Bytes)
		select {
		case <-ctx.Done():
			return
		case f.lines <- line:
		}
		if err != nil {
			return
		}
	}
}
