package figures

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/valyala/fastjson"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/collectors/vault"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/leastwise/leastwise/simulator/fleet"
)

const sampleLines = 40_000

// normalising holds the decoder against a bare parse of the same lines, in turns, on one core.
func normalising(_ context.Context, opts Options, logFile string, _ fleet.AuditTruth) ([]figure, error) {
	lines, size, err := sample(logFile)
	if err != nil {
		return nil, err
	}
	opts.Progress("normalising %d lines of %d bytes, in turn with a bare parse", len(lines), size)
	// The quickest round of each, of processor time: what other programs on the machine take away does not count.
	var decoding, parsing time.Duration
	var parser fastjson.Parser
	var events []*pb.Event
	const rounds = 9
	for range rounds {
		decoder := vault.NewDecoder(vault.Options{Pairing: true})
		began := processorTime()
		for _, line := range lines {
			if events, err = decoder.Decode(events[:0], source.Record{Bytes: line, Position: "audit.log:0"}); err != nil {
				return nil, fmt.Errorf("normalise: %w", err)
			}
		}
		decoding = quicker(decoding, processorTime()-began)
		began = processorTime()
		for _, line := range lines {
			if _, err := parser.ParseBytes(line); err != nil {
				return nil, fmt.Errorf("parse: %w", err)
			}
		}
		parsing = quicker(parsing, processorTime()-began)
	}
	rate := float64(len(lines)) / decoding.Seconds()
	return []figure{
		{name: "Vault audit lines normalised", value: rate, unit: "lines/s", budget: 150_000,
			note: fmt.Sprintf("a second of one core, lines of %d bytes, request and response paired", size)},
		{name: "… as a share of fastjson's bare parse", value: parsing.Seconds() / decoding.Seconds(), unit: "×", budget: 0.5,
			note: "same lines, in turns; the quickest of nine rounds"},
	}, nil
}

func quicker(best, now time.Duration) time.Duration {
	if best == 0 || now < best {
		return now
	}
	return best
}

// processorTime is what this process has used so far, the garbage collector's share included.
func processorTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic("getrusage: " + err.Error()) // only for a bad argument
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// sample takes stretches of lines from all over the log, so that it is as mixed as the whole.
func sample(logFile string) (lines [][]byte, size int, err error) {
	info, err := os.Stat(logFile)
	if err != nil {
		return nil, 0, fmt.Errorf("read the audit log: %w", err)
	}
	reader, err := source.Open(logFile)
	if err != nil {
		return nil, 0, fmt.Errorf("read the audit log: %w", err)
	}
	defer reader.Close()
	scanner := source.NewLines(reader, 0)
	const stretches = 40
	total := 0
	for {
		line, err := scanner.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, 0, fmt.Errorf("read the audit log: %w", err)
		}
		due := 1 + int(line.Offset*stretches/info.Size()) // how many stretches have begun
		if len(lines) < due*sampleLines/stretches {
			lines = append(lines, bytes.Clone(line.Bytes))
			total += len(line.Bytes)
		}
	}
	return lines, total / len(lines), nil
}

// distinctEvents counts the events that a log gives, without the pipeline.
func distinctEvents(logFile string) (int, error) {
	reader, err := source.Open(logFile)
	if err != nil {
		return 0, fmt.Errorf("read the audit log: %w", err)
	}
	defer reader.Close()
	scanner := source.NewLines(reader, 0)
	decoder := vault.NewDecoder(vault.Options{Instance: "bench", Pairing: true})
	seen := map[[16]byte]struct{}{}
	var events []*pb.Event
	for {
		line, err := scanner.Next()
		if errors.Is(err, io.EOF) {
			return len(seen), nil
		}
		if err != nil {
			return 0, fmt.Errorf("read the audit log: %w", err)
		}
		if events, err = decoder.Decode(events[:0], source.Record{Bytes: line.Bytes}); err != nil {
			return 0, fmt.Errorf("normalise: %w", err)
		}
		for _, ev := range events {
			seen[[16]byte(ev.Id)] = struct{}{}
		}
	}
}
