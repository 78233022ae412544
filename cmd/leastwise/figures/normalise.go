package figures

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

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

// measured is a log's lines.
type measured struct {
	name   string
	before [][]byte // what the decoder has read already
	lines  [][]byte
	fresh  func() lines.Decoder
}

func running(name string, write func(n int) [][]byte, fresh func() lines.Decoder) measured {
	all := write(2 * sampleLines)
	return measured{name, all[:sampleLines], all[sampleLines:], fresh}
}

func (m measured) size() int {
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
	logs := []measured{
		{name: "Vault", lines: audit, fresh: func() lines.Decoder { return vault.NewDecoder(vault.Options{Pairing: true}) }},
		running("CloudTrail", lines.CloudTrail, func() lines.Decoder { return cloudtrail.NewDecoder(cloudtrail.Options{}) }),
		running("GCP", lines.GCP, func() lines.Decoder { return gcpaudit.NewDecoder(gcpaudit.Options{}) }),
		running("SPIRE", lines.SPIRE, func() lines.Decoder { return spire.NewDecoder(spire.Options{}) }),
	}
	var figures []figure
	for _, log := range logs {
		opts.Progress("normalising %d %s lines of %d bytes, in turn with a bare parse", len(log.lines), log.name, log.size())
		share, quickest, err := log.measure()
		if err != nil {
			return nil, err
		}
		rate := float64(len(log.lines)) / quickest.Seconds()
		note := fmt.Sprintf("%.0f a second of one core, lines of %d bytes, in turns; the middle of nine rounds", rate, log.size())
		if log.name == "Vault" {
			figures = append(figures, figure{name: "Vault audit lines normalised", value: rate, unit: "lines/s", budget: 150_000,
				note: fmt.Sprintf("a second of one core, lines of %d bytes, request and response paired", log.size())})
		}
		figures = append(figures, figure{name: log.name + " lines, share of fastjson's bare parse",
			value: share, unit: "×", budget: 0.5, note: note})
	}
	return figures, nil
}

// measure gives the middle share of nine rounds, and the quickest decoding.
func (m measured) measure() (share float64, quickest time.Duration, err error) {
	rounds := make([]lines.Turns, 9)
	for i := range rounds {
		if rounds[i], err = lines.InTurns(m.fresh(), m.before, m.lines); err != nil {
			return 0, 0, fmt.Errorf("%s: %w", m.name, err)
		}
	}
	share, quickest = lines.Middle(rounds)
	return share, quickest, nil
}

func processorTime() time.Duration { return lines.ProcessorTime() }

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
