package deadletter

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
	"github.com/leastwise/leastwise/cmd/leastwise/scan"
	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// maxRecord is the longest record that is read again.
const maxRecord = 64 << 20

// Options of a replay.
type Options struct {
	// From are files or directories to look in, instead of where the letters say that their records stood.
	From []string
	// DryRun decodes and publishes nothing.
	DryRun bool
}

// Outcome of one letter.
type Outcome struct {
	Letter Letter
	// Events that its record tells; 0 with Failed empty: it is well-formed and tells nothing new.
	Events int
	// Where the record was found; empty: nowhere.
	Where string
	// Failed is why there are no events: still not readable, or not found.
	Failed string
}

// Run replays letters and tells of each. An error ends it: what was told of before is published.
func Run(ctx context.Context, cfg *allinone.Config, publish collect.Publisher, letters []Letter, opts Options, tell func(Outcome)) error {
	bySource := map[[2]string][]Letter{}
	var order [][2]string
	for _, l := range letters {
		key := [2]string{l.Source, l.Instance}
		if bySource[key] == nil {
			order = append(order, key)
		}
		bySource[key] = append(bySource[key], l)
	}
	for _, key := range order {
		r := &replay{publish: publish, opts: opts, tell: tell, wanted: map[string][]Letter{}}
		why, err := r.prepare(cfg, key[0], key[1])
		if err != nil {
			return err
		}
		if why != "" {
			for _, l := range bySource[key] {
				tell(Outcome{Letter: l, Failed: why})
			}
			continue
		}
		if err := r.run(ctx, bySource[key]); err != nil {
			return err
		}
	}
	return nil
}

// replay is of the letters of one source's instance.
type replay struct {
	publish collect.Publisher
	opts    Options
	tell    func(Outcome)

	source, instance string
	decoder          source.Decoder
	collector        *collect.Collector
	facts            []stream.Message    // that the record at hand tells
	wanted           map[string][]Letter // not found yet, by hash
	grown            map[string][]Letter // the same by offset: a record that was cut off when it was read, and is whole now
	max              int
}

func (r *replay) prepare(cfg *allinone.Config, from, instance string) (why string, err error) {
	r.source, r.instance = from, instance
	if from == "processor" {
		return "it is a message of leastwise.events that is no event, not a record of a log; whoever wrote it there has to write it anew", nil
	}
	if r.decoder, err = r.newDecoder(cfg); err != nil {
		return "", err
	}
	if r.decoder == nil {
		return fmt.Sprintf("this release knows no source %q", from), nil
	}
	r.collector, err = collect.New(collect.Options{Source: from, Instance: instance, Decoder: r.decoder,
		Deps: collect.Deps{Stream: r.publish, Env: daemon.Env{Now: time.Now}}})
	return "", err
}

func (r *replay) run(ctx context.Context, letters []Letter) error {
	r.grown = map[string][]Letter{}
	looked := map[string]bool{}
	var order []string
	for _, l := range letters {
		r.wanted[string(l.SHA256)] = append(r.wanted[string(l.SHA256)], l)
		path, offset := split(l.Position)
		r.grown[offset] = append(r.grown[offset], l)
		r.max = max(r.max, int(min(l.Length+1, maxRecord)))
		for _, file := range r.files(path) {
			if !looked[file] {
				looked[file] = true
				order = append(order, file)
			}
		}
	}
	r.max = max(r.max, source.DefaultMaxLine)
	for _, file := range order {
		if len(r.wanted) == 0 {
			break
		}
		if err := r.file(ctx, file); err != nil {
			return err
		}
	}
	for _, l := range letters {
		if !slices.ContainsFunc(r.wanted[string(l.SHA256)], func(o Letter) bool { return o.ID == l.ID }) {
			continue
		}
		why := "its record is not where it stood (" + l.Position + "); "
		if len(r.files(first(split(l.Position)))) == 0 {
			why = "where it stood (" + l.Position + ") is no file that can be read here; "
		}
		if len(r.opts.From) > 0 {
			why = "its record is in none of the files given; "
		}
		r.tell(Outcome{Letter: l, Failed: why + "fetch the log and give it with --from"})
	}
	return nil
}

func first(a, _ string) string { return a }

// split takes a position apart: path and offset.
func split(position string) (path, offset string) {
	colon := strings.LastIndexByte(position, ':')
	if colon < 0 {
		return position, ""
	}
	return position[:colon], position[colon+1:]
}

// files to look in: those given, or the log and what rotation made of it.
func (r *replay) files(path string) []string {
	var files []string
	add := func(path string) {
		_ = filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
			if err == nil && entry.Type()&fs.ModeSymlink != 0 {
				if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
					files = append(files, name)
				}
			} else if err == nil && entry.Type().IsRegular() {
				files = append(files, name)
			}
			return nil
		})
	}
	if len(r.opts.From) > 0 {
		for _, from := range r.opts.From {
			add(from)
		}
		return files
	}
	if path == "" {
		return nil
	}
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
		files = append(files, path)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return files
	}
	for _, entry := range entries {
		rest, ok := strings.CutPrefix(entry.Name(), filepath.Base(path))
		if ok && rest != "" && (rest[0] == '.' || rest[0] == '-') && entry.Type().IsRegular() {
			files = append(files, filepath.Join(filepath.Dir(path), entry.Name()))
		}
	}
	return files
}

// file looks through one. One that can not be read to its end is no error: its letters stay not found.
func (r *replay) file(ctx context.Context, path string) error {
	var failed error
	err := scan.Records(path, r.source, r.max, func(line source.Line) error {
		if failed = ctx.Err(); failed != nil {
			return failed
		}
		sum := line.SHA256[:]
		if !line.TooLong {
			hashed := sha256.Sum256(line.Bytes)
			sum = hashed[:]
		}
		found := slices.Clone(r.wanted[string(sum)])
		offset := strconv.FormatInt(line.Offset, 10)
		for _, l := range r.grown[offset] {
			if l.Length > 0 && uint64(len(line.Bytes)) > l.Length && slices.ContainsFunc(r.wanted[string(l.SHA256)], func(o Letter) bool { return o.ID == l.ID }) {
				if begin := sha256.Sum256(line.Bytes[:l.Length]); bytes.Equal(begin[:], l.SHA256) {
					found = append(found, l)
				}
			}
		}
		if len(found) == 0 {
			return nil
		}
		failed = r.again(ctx, found, line, path+":"+offset)
		return failed
	})
	if failed != nil {
		return failed
	}
	if err != nil && errors.Is(err, scan.ErrUsage) {
		return err
	}
	return nil
}

// again decodes a record and publishes what it tells, for all letters of it.
func (r *replay) again(ctx context.Context, letters []Letter, line source.Line, where string) error {
	for _, l := range letters {
		rest := slices.DeleteFunc(r.wanted[string(l.SHA256)], func(o Letter) bool { return o.ID == l.ID })
		if len(rest) == 0 {
			delete(r.wanted, string(l.SHA256))
		} else {
			r.wanted[string(l.SHA256)] = rest
		}
	}
	r.facts = nil
	now := time.Now()
	events, err := r.decode(line, where, now)
	if err != nil {
		var bad *source.Malformed
		if !errors.As(err, &bad) {
			return fmt.Errorf("decode %s: %w", where, err)
		}
		for _, l := range letters {
			r.tell(Outcome{Letter: l, Where: where, Failed: "still not readable (" + bad.Reason + "): " + bad.Detail})
		}
		return nil
	}
	if !r.opts.DryRun {
		messages := r.facts
		for _, ev := range events {
			messages = append(messages, r.collector.Message(ev))
		}
		for _, l := range letters { // after the events, so that a crash between them leaves a letter that stands
			messages = append(messages, replayed(l, len(events), now))
		}
		if err := r.publish.Publish(ctx, messages[:len(messages)-len(letters)]...); err != nil {
			return fmt.Errorf("publish the events of %s: %w", where, err)
		}
		if err := r.publish.Publish(ctx, messages[len(messages)-len(letters):]...); err != nil {
			return fmt.Errorf("mark %s as replayed: %w", where, err)
		}
	}
	for _, l := range letters {
		r.tell(Outcome{Letter: l, Events: len(events), Where: where})
	}
	return nil
}

func (r *replay) decode(line source.Line, where string, now time.Time) ([]*pb.Event, error) {
	if bad := line.Malformed(); bad != nil {
		return nil, bad
	}
	return r.decoder.Decode(nil, source.Record{Bytes: bytes.Clone(line.Bytes), Position: where, ObservedAt: now})
}

// replayed is the letter as it stands from now on: the same id, so that it replaces the other.
func replayed(l Letter, events int, now time.Time) stream.Message {
	id, _ := hex.DecodeString(l.ID)
	detail := fmt.Sprintf("Read again on %s: it tells %d events.", now.UTC().Format("2006-01-02 15:04 UTC"), events)
	if events == 1 {
		detail = strings.Replace(detail, "1 events", "1 event", 1)
	}
	value, _ := (&pb.DeadLetter{Id: id, Source: l.Source, Instance: l.Instance, Position: l.Position, Reason: ReasonReplayed,
		Detail: detail, Sha256: l.SHA256, Length: l.Length, Excerpt: l.Excerpt, ObservedAt: timestamppb.New(l.ObservedAt)}).MarshalVT()
	return stream.Message{Topic: schemas.TopicDeadLetter, Key: []byte(l.Source), Value: value,
		Headers: []stream.Header{{Key: "content-type", Value: []byte("application/protobuf")}}}
}
