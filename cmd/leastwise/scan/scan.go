// Package scan reads log files at hand and reports what stands in them: no server, no state, one command.
//
// It runs the pipeline's own decoders and core in process. Reading the same records again, in other files, in another
// order or gzipped gives the same credentials and findings.
//
// Inputs may be larger than memory: event ids, credentials and the lists of the report go to files without a name in the
// directory of TMPDIR when they are many, and everything is as exact as in memory. What stays in memory: bytes for each
// event id and each credential put away, the identities that hold credentials and the links between them, and a line for
// each file.
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
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/leastwise/leastwise/collectors/gcpaudit"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/processor/core"
	"github.com/leastwise/leastwise/processor/identity"
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
	// Places: the report tells where in the files its evidence stands, and what a picture of each credential needs. It takes
	// some hundred bytes of memory for every credential.
	Places   bool
	Progress func(read int64)
	Warn     func(format string, args ...any)
	// Alone in its process: the garbage collector is set for the scan.
	Alone bool

	hold limits // the defaults if zero
}

// limits of what memory holds before the disk is used.
type limits struct {
	ids         int // places for event ids, a power of two
	credentials int
	bytes       int // of texts kept in order
	rows        int // bytes of a list of the report
}

var defaults = limits{ids: 1 << 20, credentials: 20_000, bytes: 1 << 20, rows: 8 << 20}

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
	if opts.hold == (limits{}) {
		opts.hold = defaults
	}
	s := newScanner(opts, cat, engine.Current())
	s.report.policies = len(engine.Current().Policies())
	s.report.rules = engine.Current().Policies()
	defer s.close()
	if opts.Alone {
		s.room = makeRoom()
		defer s.room.end()
	}
	if err := s.files(ctx, files, s.batch); err != nil {
		return nil, err
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
	catalog   *catalog.Catalog
	rules     *rego.Set
	linker    *identity.Linker
	grants    *scope.Grants // of the core
	put       []*pb.Grant   // into grants
	assets    *gcpaudit.Assets
	decoders  map[string]source.Decoder // of the sources whose records are decoded in order
	shelf     *shelf
	seen      *ids
	derived   *spool // events that follow from others, not applied yet
	read      int64
	offset    int64
	newest    int64
	report    *Report
	usage     usageTally
	places    map[id]*whereabouts // by the hash of the credential's key; nil if nobody wants them
	eventsOut *bufio.Writer
	room      *room
}

func newScanner(opts Options, cat *catalog.Catalog, rules *rego.Set) *scanner {
	s := &scanner{opts: opts, catalog: cat, rules: rules, decoders: map[string]source.Decoder{}, assets: gcpaudit.NewAssets(""),
		linker: identity.NewLinker(identity.New(), identity.Options{}), seen: newIDs(opts.hold.ids),
		derived: newSpool(opts.hold.bytes), report: newReport(opts.hold)}
	s.shelf = newShelf(opts.hold, s.newCore)
	s.linker.ClaimCatalog(cat, opts.AsOf)
	if opts.Places {
		s.places = map[id]*whereabouts{}
	}
	return s
}

// close gives back the disk, but for the report's.
func (s *scanner) close() {
	s.shelf.close()
	s.seen.close()
	s.derived.close()
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

// batch takes what was read of a log.
func (s *scanner) batch(b *batch) error {
	if b.begins != nil {
		s.report.Inputs = append(s.report.Inputs, *b.begins)
	}
	input := &Input{} // a batch of nothing
	if n := len(s.report.Inputs); n > 0 {
		input = &s.report.Inputs[n-1]
	}
	for _, text := range b.warnings {
		s.opts.Warn("%s", text)
	}
	input.Records += b.records
	input.DeadLetters += b.dead
	for _, grant := range b.grants {
		s.grant(grant)
	}
	lines := b.lines
	for _, ev := range b.events {
		var where lineOf
		if len(lines) > 0 {
			where, lines = lines[0], lines[1:]
		}
		if err := s.event(input, ev, where); err != nil {
			return err
		}
	}
	for _, rec := range b.raw {
		var where lineOf
		if len(lines) > 0 {
			where, lines = lines[0], lines[1:]
		}
		if err := s.record(input, s.decoder(b.kind), rec, where); err != nil {
			return err
		}
	}
	if s.read += b.read; s.opts.Progress != nil && b.read > 0 {
		s.opts.Progress(s.read)
	}
	s.room.look()
	return nil
}

// fact takes what a record says of grants.
func (s *scanner) fact(fact *pb.Fact) {
	if grant := fact.GetGrant(); grant != nil {
		s.grant(grant)
	}
}

func (s *scanner) grant(grant *pb.Grant) {
	s.put = append(s.put, grant)
	s.grants.Put(grant)
}

// newCore gives an empty one, which knows all grants so far and none of the scopes that were worked out for the
// credentials of another: there may be one for each principal.
func (s *scanner) newCore() *core.Core {
	s.grants = scope.NewGrants()
	for _, grant := range s.put {
		s.grants.Put(grant)
	}
	return core.New(core.Options{Grants: s.grants, Heartbeat: 365 * 24 * time.Hour, Identities: s.linker.Graph()})
}

// decoder is one for all files of a source: what one file tells of a token helps to read another.
func (s *scanner) decoder(k kind) source.Decoder {
	d := s.decoders[k.name]
	if d == nil {
		d = k.decoder(noticed{s.fact, s.assets})
		s.decoders[k.name] = d
	}
	return d
}

func (s *scanner) record(input *Input, decoder source.Decoder, rec source.Record, where lineOf) error {
	input.Records++
	events, err := decoder.Decode(nil, rec)
	var malformed *source.Malformed
	if errors.As(err, &malformed) {
		input.DeadLetters++
		s.opts.Warn("%s: %s: %s", rec.Position, malformed.Reason, malformed.Detail)
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", rec.Position, err)
	}
	for _, ev := range events {
		if err := s.event(input, ev, where); err != nil {
			return err
		}
	}
	return nil
}

func (s *scanner) event(input *Input, ev *pb.Event, where lineOf) error {
	if ev.Kind == pb.Event_UNKNOWN {
		input.Unknown++
	}
	fresh, err := s.seen.add(id(ev.Id))
	if err != nil {
		return err
	}
	e, err := s.shelf.entry(ev.Credential)
	if err != nil {
		return err
	}
	if fresh {
		held := ""
		if e != nil {
			held = e.Principal
		}
		s.linker.Event(ev, held)
	}
	s.newest = max(s.newest, ev.OccurredAt.AsTime().UnixNano())
	if err := s.apply(ev, fresh); err != nil || !fresh {
		return err
	}
	input.Events++
	s.usage.event(ev)
	if s.places != nil {
		s.see(ev, where)
	}
	return s.write(ev)
}

// apply merges an event of a credential that the shelf was asked for just before.
func (s *scanner) apply(ev *pb.Event, fresh bool) error {
	s.offset++
	if err := s.shelf.apply(ev, s.offset, fresh); err != nil {
		return err
	}
	return s.follow(s.shelf.core.Derived())
}

// follow keeps the events that follow from others for later. That a credential has expired, its state says by itself.
func (s *scanner) follow(derived []*pb.Event) error {
	for _, ev := range derived {
		if ev.Kind == pb.Event_EXPIRED {
			continue
		}
		text, err := ev.MarshalVT()
		if err != nil {
			return fmt.Errorf("keep a derived event: %w", err)
		}
		if _, err := s.derived.put(text); err != nil {
			return err
		}
	}
	return nil
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
