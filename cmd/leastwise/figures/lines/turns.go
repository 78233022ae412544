package lines

import (
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/valyala/fastjson"

	"github.com/leastwise/leastwise/collectors/source"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Decoder is what each source's package has.
type Decoder interface {
	Decode([]*pb.Event, source.Record) ([]*pb.Event, error)
}

// Turns is how long decoding a log's lines and parsing them took.
type Turns struct{ Decoding, Parsing time.Duration }

// Share is how near decoding comes to a bare parse of the same lines.
func (t Turns) Share() float64 { return t.Parsing.Seconds() / t.Decoding.Seconds() }

// turn is how many lines are decoded and then parsed, or the other way round: so few that a machine whose speed changes
// changes it for both, and that neither always finds the lines in the processor's cache.
const turn = 2000

// InTurns decodes and parses lines in turns, with a decoder that has read others before: a collector runs for weeks. It
// measures processor time: what other programs on the machine take away does not count.
func InTurns(decoder Decoder, before, lines [][]byte) (t Turns, err error) {
	var parser fastjson.Parser
	var events []*pb.Event
	decode := func(part [][]byte) {
		for _, line := range part {
			if events, err = decoder.Decode(events[:0], source.Record{Bytes: line, Position: "audit.log:0"}); err != nil {
				err = fmt.Errorf("normalise: %w", err)
				return
			}
		}
	}
	parse := func(part [][]byte) {
		for _, line := range part {
			if _, wrong := parser.ParseBytes(line); wrong != nil {
				err = fmt.Errorf("parse: %w", wrong)
				return
			}
		}
	}
	decode(before)
	decodes := true
	for part := range slices.Chunk(lines, turn) {
		for range 2 {
			began := ProcessorTime()
			if decodes {
				decode(part)
				t.Decoding += ProcessorTime() - began
			} else {
				parse(part)
				t.Parsing += ProcessorTime() - began
			}
			if err != nil {
				return t, err
			}
			decodes = !decodes
		}
		decodes = !decodes // who comes second finds the lines in the cache
	}
	return t, nil
}

// Middle is the middle share of some rounds, and the quickest decoding.
func Middle(rounds []Turns) (share float64, quickest time.Duration) {
	shares := make([]float64, len(rounds))
	quickest = rounds[0].Decoding
	for i, round := range rounds {
		shares[i], quickest = round.Share(), min(quickest, round.Decoding)
	}
	slices.Sort(shares)
	return shares[len(shares)/2], quickest
}

// ProcessorTime is what this process has used so far, the garbage collector's share included.
func ProcessorTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic("getrusage: " + err.Error()) // only for a bad argument
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
