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

	"github.com/leastwise/leastwise/cmd/leastwise/figures/lines"
	"github.com/leastwise/leastwise/collectors/cloudtrail"
	"github.com/leastwise/leastwise/collectors/gcpaudit"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/collectors/spire"
	"github.com/leastwise/leastwise/collectors/vault"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/leastwise/leastwise/simulator/fleet"
)

const sampleLines = 40_000

// decoder is what each source's package has.
type decoder interface {
	Decode([]*pb.Event, source.Record) ([]*pb.Event, error)
}

// measured is a log's lines, and the quickest round of decoding and of parsing them.
type measured struct {
	name              string
	before            [][]byte // what the decoder has read already: a collector runs for weeks
	lines             [][]byte
	fresh             func() decoder
	decoding, parsing time.Duration
}

func running(name string, lines func(n int) [][]byte, fresh func() decoder) *measured {
	all := lines(2 * sampleLines)
	return &measured{name: name, before: all[:sampleLines], lines: all[sampleLines:], fresh: fresh}
}

func (m *measured) size() int {
	total := 0
	for _, line := range m.lines {
		total += len(line)
	}
	return total / len(m.lines)
}

// normalising holds each decoder against a bare parse of the same lines, in turns, on one core.
func normalising(_ context.Context, opts Options, logFile string, _ fleet.AuditTruth) ([]figure, error) {
	audit, err := sample(logFile)
	if err != nil {
		return nil, err
	}
	logs := []*measured{
		{name: "Vault", lines: audit, fresh: func() decoder { return vault.NewDecoder(vault.Options{Pairing: true}) }},
		running("CloudTrail", lines.CloudTrail, func() decoder { return cloudtrail.NewDecoder(cloudtrail.Options{}) }),
		running("GCP", lines.GCP, func() decoder { return gcpaudit.NewDecoder(gcpaudit.Options{}) }),
		running("SPIRE", lines.SPIRE, func() decoder { return spire.NewDecoder(spire.Options{}) }),
	}
	var figures []figure
	for _, log := range logs {
		opts.Progress("normalising %d %s lines of %d bytes, in turn with a bare parse", len(log.lines), log.name, log.size())
		if err := log.measure(); err != nil {
			return nil, err
		}
		rate := float64(len(log.lines)) / log.decoding.Seconds()
		note := fmt.Sprintf("%.0f a second of one core, lines of %d bytes, in turns; the quickest of nine rounds", rate, log.size())
		if log.name == "Vault" {
			figures = append(figures, figure{name: "Vault audit lines normalised", value: rate, unit: "lines/s", budget: 150_000,
				note: fmt.Sprintf("a second of one core, lines of %d bytes, request and response paired", log.size())})
		}
		figures = append(figures, figure{name: log.name + " lines, share of fastjson's bare parse",
			value: log.parsing.Seconds() / log.decoding.Seconds(), unit: "×", budget: 0.5, note: note})
	}
	return figures, nil
}

// measure takes the quickest round of each, of processor time: what other programs on the machine take away does not count.
func (m *measured) measure() error {
	var parser fastjson.Parser
	var events []*pb.Event
	const rounds = 9
	for range rounds {
		decoder := m.fresh()
		var began time.Duration
		for _, part := range [][][]byte{m.before, m.lines} {
			began = processorTime()
			for _, line := range part {
				var err error
				if events, err = decoder.Decode(events[:0], source.Record{Bytes: line, Position: "audit.log:0"}); err != nil {
					return fmt.Errorf("normalise %s: %w", m.name, err)
				}
			}
		}
		m.decoding = quicker(m.decoding, processorTime()-began)
		began = processorTime()
		for _, line := range m.lines {
			if _, err := parser.ParseBytes(line); err != nil {
				return fmt.Errorf("parse %s: %w", m.name, err)
			}
		}
		m.parsing = quicker(m.parsing, processorTime()-began)
	}
	return nil
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
func sample(logFile string) (lines [][]byte, err error) {
	info, err := os.Stat(logFile)
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	reader, err := source.Open(logFile)
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	defer reader.Close()
	scanner := source.NewLines(reader, 0)
	const stretches = 40
	for {
		line, err := scanner.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the audit log: %w", err)
		}
		due := 1 + int(line.Offset*stretches/info.Size()) // how many stretches have begun
		if len(lines) < due*sampleLines/stretches {
			lines = append(lines, bytes.Clone(line.Bytes))
		}
	}
	return lines, nil
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
