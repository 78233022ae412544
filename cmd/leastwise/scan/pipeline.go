package scan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/leastwise/leastwise/collectors/awsiam"
	"github.com/leastwise/leastwise/collectors/source"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Several files are read at a time, one goroutine each, which also decodes them where the source allows it. What they
// give is taken in the order of the files, so that the same files give the same output; who is ahead waits.
const (
	batchRecords = 256
	batchBytes   = 1 << 20
	batchesAhead = 24
)

// job is a file on its way.
type job struct {
	name string
	out  chan *batch
}

// batch is some records of one log.
type batch struct {
	begins   *Input // the log that begins here
	records  int
	dead     int
	events   []*pb.Event
	raw      []source.Record // to be decoded in the order of the files
	lines    []lineOf        // of each of events, or of each of raw; none if nobody wants them
	kind     kind            // of raw
	grants   []*pb.Grant     // of a snapshot, or written out in a record
	warnings []string
	read     int64 // bytes
	err      error // the scan can not go on
}

// files reads them all and calls fn with each batch.
func (s *scanner) files(ctx context.Context, names []string, fn func(*batch) error) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	workers := max(2, runtime.GOMAXPROCS(0))
	jobs, order := make(chan *job), make(chan *job, workers)
	var running sync.WaitGroup
	defer func() {
		cancel(err)
		running.Wait()
	}()
	running.Go(func() {
		defer close(jobs)
		defer close(order)
		for _, name := range names {
			j := &job{name: name, out: make(chan *batch, batchesAhead)}
			for _, to := range []chan *job{order, jobs} { // first its turn, then the work: who waits for it, waits for one that runs
				select {
				case to <- j:
				case <-ctx.Done():
					return
				}
			}
		}
	})
	for range workers {
		running.Go(func() {
			r := &reader{ctx: ctx, scanner: s, decoders: map[string]source.Decoder{}}
			for j := range jobs {
				r.read(j)
			}
		})
	}
	for j := range order {
		for open := true; open; {
			var b *batch
			select {
			case b, open = <-j.out:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if !open {
				break
			}
			if b.err != nil {
				return b.err
			}
			if err := fn(b); err != nil {
				return err
			}
		}
	}
	return context.Cause(ctx)
}

// reader reads one file after another.
type reader struct {
	ctx      context.Context
	scanner  *scanner // its options and nothing else: it belongs to another goroutine
	decoders map[string]source.Decoder
	out      chan<- *batch
	batch    *batch
	head     []byte // of the log
	numbers  *numbered
}

func (r *reader) read(j *job) {
	defer close(j.out)
	r.out, r.batch = j.out, &batch{}
	if err := each(j.name, r.log); err != nil {
		r.batch.err = err
	}
	_ = r.send() // cancelled: nobody wants it
}

// send hands on what there is.
func (r *reader) send() error {
	select {
	case r.out <- r.batch:
	case <-r.ctx.Done():
		return context.Cause(r.ctx)
	}
	r.batch = &batch{}
	return nil
}

func (r *reader) warn(format string, args ...any) {
	r.batch.warnings = append(r.batch.warnings, fmt.Sprintf(format, args...))
}

func (r *reader) fact(fact *pb.Fact) {
	if grant := fact.GetGrant(); grant != nil {
		r.batch.grants = append(r.batch.grants, grant)
	}
}

func (r *reader) deadLetter(position string, m *source.Malformed) {
	r.batch.records++
	r.batch.dead++
	r.warn("%s: %s: %s", position, m.Reason, m.Detail)
}

func (r *reader) unreadable(path string, err error) {
	r.deadLetter(path, &source.Malformed{Reason: source.ReasonTruncated,
		Detail: fmt.Sprintf("the file can not be read to its end (%v); the records before are counted", err)})
}

// log reads one.
func (r *reader) log(path string, content io.Reader) error {
	if r.batch.begins != nil || r.batch.records > 0 {
		if err := r.send(); err != nil {
			return err
		}
	}
	opts := &r.scanner.opts
	r.batch.begins = &Input{Path: path, Source: opts.Source}
	reader := readAhead(content)
	defer reader.Close()
	var records io.Reader = reader
	k, ok := kindOf(opts.Source)
	if opts.Source == "" {
		head, err := r.peek(reader)
		if err != nil {
			r.unreadable(path, err)
			return nil
		}
		records = io.MultiReader(bytes.NewReader(head), reader)
		if awsiam.Recognise(head) {
			return r.snapshot(path, records)
		}
		if k, ok = guess(head); !ok {
			r.warn("%s: not the log of a known source (known: %s); left out. Name it with --source if it is one.", path,
				strings.Join(Sources(), ", "))
			r.batch.begins.Source = "unknown"
			return nil
		}
		r.warn("%s: taken for a log of %s", path, k.name)
		r.batch.begins.Source = k.name
	}
	if !ok {
		return fmt.Errorf("%w: unknown source %q; known: %s", ErrUsage, opts.Source, strings.Join(Sources(), ", "))
	}
	if opts.Places {
		r.numbers = &numbered{from: records}
		records = r.numbers
	}
	return r.records(path, k, k.records(records, 0))
}

// peek reads a log's begin. It is valid until the next log is read. What fails after it fails again when it is read on.
func (r *reader) peek(content io.Reader) ([]byte, error) {
	if r.head == nil {
		r.head = make([]byte, peekBytes)
	}
	n, err := fill(content, r.head)
	if n > 0 || errors.Is(err, io.EOF) {
		err = nil
	}
	return r.head[:n], err
}

// snapshot reads what AWS's IAM grants: no records, but the scope of those that others tell of.
func (r *reader) snapshot(path string, content io.Reader) error {
	r.batch.begins.Source = "iam snapshot"
	grants, err := awsiam.Read(content, "", time.Now())
	if err != nil {
		r.deadLetter(path, &source.Malformed{Reason: source.ReasonMalformed, Detail: err.Error()})
		return nil
	}
	r.warn("%s: taken for a snapshot of AWS's IAM", path)
	r.batch.grants = grants
	return nil
}

func (r *reader) records(path string, k kind, records source.Reader) error {
	var decoder source.Decoder
	if k.alone {
		if decoder = r.decoders[k.name]; decoder == nil {
			decoder = k.decoder(noticed{fact: r.fact})
			r.decoders[k.name] = decoder
		}
	}
	for {
		line, err := records.Next()
		if err != nil && !errors.Is(err, io.EOF) { // damaged gzip, a disk that fails: what was read counts
			r.unreadable(path, err)
			return nil
		}
		if line.Length > 0 {
			r.batch.read += line.End - line.Offset
			if err := r.record(path, k, decoder, &line); err != nil {
				return err
			}
		}
		if err != nil {
			return nil
		}
		if r.batch.records+len(r.batch.raw) >= batchRecords || r.batch.read >= batchBytes {
			if err := r.send(); err != nil {
				return err
			}
		}
	}
}

func (r *reader) record(path string, k kind, decoder source.Decoder, line *source.Line) error {
	position := func() string { return path + ":" + strconv.FormatInt(line.Offset, 10) }
	var where lineOf
	if r.numbers != nil {
		where = lineOf{r.numbers.at(line.Offset), line.Offset}
	}
	if malformed := line.Malformed(); malformed != nil {
		r.deadLetter(position(), malformed)
		return nil
	}
	if decoder == nil {
		r.batch.kind = k
		r.batch.raw = append(r.batch.raw, source.Record{Bytes: append([]byte(nil), line.Bytes...), Position: position()})
		if r.numbers != nil {
			r.batch.lines = append(r.batch.lines, where)
		}
		return nil
	}
	rec := source.Record{Bytes: line.Bytes}
	if r.scanner.opts.Events != nil { // only there an event shows where it stood
		rec.Position = position()
	}
	var err error
	r.batch.events, err = decoder.Decode(r.batch.events, rec)
	var malformed *source.Malformed
	switch {
	case errors.As(err, &malformed):
		r.deadLetter(position(), malformed)
	case err != nil:
		return fmt.Errorf("%s: %w", position(), err)
	default:
		r.batch.records++
		for r.numbers != nil && len(r.batch.lines) < len(r.batch.events) {
			r.batch.lines = append(r.batch.lines, where)
		}
	}
	return nil
}
