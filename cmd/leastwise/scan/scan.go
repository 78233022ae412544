// Package scan reads log files at hand and reports what stands in them: no server, no state, one command.
//
// It runs the pipeline's own decoder and core in process. Reading the same records again, in other files, in another
// order or gzipped gives the same credentials and findings. Memory grows with the number of credentials and of event
// ids, not with the length of records.
package scan

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/leastwise/leastwise/collectors/awsiam"
	"github.com/leastwise/leastwise/collectors/gcpaudit"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/processor/core"
	"github.com/leastwise/leastwise/processor/identity"
	"github.com/leastwise/leastwise/processor/lifecycle"
	"github.com/leastwise/leastwise/processor/scope"
	"github.com/leastwise/leastwise/rego"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// ErrUsage marks errors of arguments, policies and catalog: exit code 2.
var ErrUsage = errors.New("usage")

// Options of a scan.
type Options struct {
	Source   string // "" guesses by content
	Policies string // directory of YAML policies; "" for none
	Catalog  string // catalog file or directory; "" for none
	AsOf     time.Time
	Paths    []string
	Events   io.Writer // each event as a JSON line; nil for none
	Progress func(read int64)
	Warn     func(format string, args ...any)
}

// Run scans and gives the report. Errors wrapping ErrUsage are the caller's to mend.
func Run(ctx context.Context, opts Options) (*Report, error) {
	engine, err := rego.New(ctx, rego.Options{PolicyDir: opts.Policies, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	var cat *catalog.Catalog
	if opts.Catalog != "" {
		if cat, err = catalog.Load(opts.Catalog); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUsage, err)
		}
	}
	files, err := list(opts.Paths)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	s := &scanner{opts: opts, seen: map[[16]byte]struct{}{}, decoders: map[string]source.Decoder{},
		linker: identity.NewLinker(identity.New(), identity.Options{}), grants: scope.NewGrants(), assets: gcpaudit.NewAssets("")}
	s.core = core.New(core.Options{Grants: s.grants, Heartbeat: 365 * 24 * time.Hour, Identities: s.linker.Graph()})
	s.linker.ClaimCatalog(cat, opts.AsOf)
	s.core.Catalog(cat)
	s.core.Rules(engine.Current())
	for _, file := range files {
		err := each(file, func(name string, content io.Reader) error {
			input, err := s.file(ctx, name, content)
			if err == nil {
				s.report.add(input)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if s.eventsOut != nil {
		if err := s.eventsOut.Flush(); err != nil {
			return nil, fmt.Errorf("write events: %w", err)
		}
	}
	return s.finish(ctx)
}

type scanner struct {
	opts      Options
	core      *core.Core
	linker    *identity.Linker
	grants    *scope.Grants
	assets    *gcpaudit.Assets
	decoders  map[string]source.Decoder
	read      int64
	seen      map[[16]byte]struct{}
	offset    int64
	newest    int64
	report    Report
	eventsOut *bufio.Writer
	buffer    []*pb.Event
}

// list expands directories into their regular files, sorted; hidden ones are left out.
func list(paths []string) ([]string, error) {
	if len(paths) == 0 {
		return nil, errors.New("no file or directory given")
	}
	var files []string
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			files = append(files, path)
			continue
		}
		err = filepath.WalkDir(path, func(name string, entry os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if entry.Type().IsRegular() && entry.Name()[0] != '.' {
				files = append(files, name)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no file in %v", paths)
	}
	return files, nil
}

func (s *scanner) file(ctx context.Context, path string, content io.Reader) (Input, error) {
	input := Input{Path: path, Source: s.opts.Source}
	reader := readAhead(content)
	defer reader.Close()
	buffered := bufio.NewReaderSize(reader, peekBytes)
	k, ok := kindOf(s.opts.Source)
	if s.opts.Source == "" {
		head, err := buffered.Peek(peekBytes)
		if err != nil && !errors.Is(err, io.EOF) {
			return input, fmt.Errorf("read %s: %w", path, err)
		}
		if awsiam.Recognise(head) {
			return s.snapshot(input, buffered)
		}
		if k, ok = guess(head); !ok {
			s.opts.Warn("%s: not the log of a known source (known: %s); left out. Name it with --source if it is one.", path,
				strings.Join(Sources(), ", "))
			input.Source = "unknown"
			return input, nil
		}
		s.opts.Warn("%s: taken for a log of %s", path, k.name)
		input.Source = k.name
	}
	if !ok {
		return input, fmt.Errorf("%w: unknown source %q; known: %s", ErrUsage, input.Source, strings.Join(Sources(), ", "))
	}
	decoder := s.decoder(k)
	records := k.records(buffered, 0)
	for {
		line, err := records.Next()
		if err != nil && !errors.Is(err, io.EOF) { // damaged gzip, a disk that fails: what was read counts
			input.Records++
			s.deadLetter(&input, path, &source.Malformed{Reason: source.ReasonTruncated,
				Detail: fmt.Sprintf("the file can not be read to its end (%v); the records before are counted", err)})
			return input, nil
		}
		if line.Length > 0 {
			if err := s.line(&input, decoder, path, &line); err != nil {
				return input, err
			}
		}
		if err != nil {
			return input, nil
		}
		if ctx.Err() != nil {
			return input, context.Cause(ctx)
		}
	}
}

// snapshot reads what AWS's IAM grants: no records, but the scope of those that others tell of.
func (s *scanner) snapshot(input Input, content io.Reader) (Input, error) {
	input.Source = "iam snapshot"
	grants, err := awsiam.Read(content, "", time.Now())
	if err != nil {
		input.Records++
		s.deadLetter(&input, input.Path, &source.Malformed{Reason: source.ReasonMalformed, Detail: err.Error()})
		return input, nil
	}
	s.opts.Warn("%s: taken for a snapshot of AWS's IAM", input.Path)
	for _, grant := range grants {
		s.grants.Put(grant)
	}
	return input, nil
}

// fact takes what a record says of grants.
func (s *scanner) fact(fact *pb.Fact) {
	if grant := fact.GetGrant(); grant != nil {
		s.grants.Put(grant)
	}
}

// decoder is one for all files of a source: what one file tells of a token helps to read another.
func (s *scanner) decoder(k kind) source.Decoder {
	d := s.decoders[k.name]
	if d == nil {
		d = k.decoder(s)
		s.decoders[k.name] = d
	}
	return d
}

func (s *scanner) line(input *Input, decoder source.Decoder, path string, line *source.Line) error {
	s.read += line.End - line.Offset
	if s.opts.Progress != nil {
		s.opts.Progress(s.read)
	}
	position := path + ":" + strconv.FormatInt(line.Offset, 10)
	if malformed := line.Malformed(); malformed != nil {
		input.Records++
		s.deadLetter(input, position, malformed)
		return nil
	}
	return s.record(input, decoder, source.Record{Bytes: line.Bytes, Position: position})
}

func (s *scanner) deadLetter(input *Input, position string, m *source.Malformed) {
	input.DeadLetters++
	s.opts.Warn("%s: %s: %s", position, m.Reason, m.Detail)
}

func (s *scanner) record(input *Input, decoder source.Decoder, rec source.Record) error {
	input.Records++
	var err error
	s.buffer, err = decoder.Decode(s.buffer[:0], rec)
	var malformed *source.Malformed
	if errors.As(err, &malformed) {
		s.deadLetter(input, rec.Position, malformed)
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", rec.Position, err)
	}
	for _, ev := range s.buffer {
		if ev.Kind == pb.Event_UNKNOWN {
			input.Unknown++
		}
		if err := s.event(input, ev); err != nil {
			return err
		}
	}
	return nil
}

func (s *scanner) event(input *Input, ev *pb.Event) error {
	id := [16]byte(ev.Id)
	_, repeated := s.seen[id]
	s.seen[id] = struct{}{}
	s.offset++
	if !repeated {
		held := ""
		if e := s.core.Entry(ev.Credential); e != nil {
			held = e.Principal
		}
		s.linker.Event(ev, held)
	}
	s.core.Apply(ev, s.offset, !repeated)
	s.newest = max(s.newest, ev.OccurredAt.AsTime().UnixNano())
	if repeated {
		return nil
	}
	input.Events++
	return s.write(ev)
}

var toJSON = protojson.MarshalOptions{UseProtoNames: true}

func (s *scanner) write(ev *pb.Event) error {
	if s.opts.Events == nil {
		return nil
	}
	if s.eventsOut == nil {
		s.eventsOut = bufio.NewWriter(s.opts.Events)
	}
	line, err := toJSON.Marshal(ev)
	if err != nil {
		return fmt.Errorf("write events: %w", err)
	}
	if line, err = compact(line); err != nil {
		return err
	}
	if _, err := s.eventsOut.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write events: %w", err)
	}
	return nil
}

// finish settles the credentials at the time of the report.
func (s *scanner) finish(ctx context.Context) (*Report, error) {
	asOf := s.opts.AsOf.UnixNano()
	if s.opts.AsOf.IsZero() {
		asOf = s.newest
	}
	for _, fact := range s.assets.Facts(lifecycle.Time(asOf)) {
		s.fact(fact)
	}
	findings := map[string]*pb.Decision{}
	for {
		if err := s.core.Settle(ctx, asOf); err != nil {
			return nil, err
		}
		for _, d := range s.core.Decisions() {
			findings[d.Credential] = d
		}
		derived := s.core.Derived()
		if len(derived) == 0 {
			break
		}
		for _, ev := range derived {
			id := [16]byte(ev.Id)
			_, repeated := s.seen[id]
			s.seen[id] = struct{}{}
			s.offset++
			s.core.Apply(ev, s.offset, !repeated)
		}
	}
	s.report.AsOf = lifecycle.Time(asOf)
	s.report.identities(s.linker.Graph())
	s.core.Entries(func(e *core.Entry) { s.report.credential(e, asOf) })
	for _, d := range findings {
		s.report.decision(d)
	}
	s.report.sort()
	return &s.report, nil
}
