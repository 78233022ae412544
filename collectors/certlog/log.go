package certlog

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
)

const (
	// batchEntries are asked for at once.
	batchEntries = 512
	// samples of a batch are proven with verify: sampled.
	samples = 4
	// patience is how many times in a row a log may withhold what it owes before that is an alarm: a front end may lag.
	patience = 5
)

// log reads one log. All of it belongs to the goroutine of run.
type log struct {
	cfg    LogConfig
	key    *logKey
	client client
	now    func() time.Time
	full   bool
	poll   time.Duration
	maxAge time.Duration

	trusted Head // of which is proven that it continues all before; Root is nil before the first
	tree    *compact.Range
	asked   time.Time // when the head was asked for last

	withheld int
	raised   string // kind and place of the alarm that stands
}

// found is what one step gave: entries that are proven, the state to remember once they are published, and what keeps
// the log from going on.
type found struct {
	log     *log
	records []source.Record
	state   *state
	trouble error
}

// run takes steps until ctx ends.
func (l *log) run(ctx context.Context, out chan<- found) {
	wait, said := time.Duration(0), "" // the first word is given whatever it is: an alarm of the last run may have ended
	for {
		f, err := l.step(ctx)
		if ctx.Err() != nil {
			return
		}
		if err = l.judge(err); err != nil {
			f.trouble = fmt.Errorf("log %s: %w", l.cfg.Name, err)
			f.records = append(f.records, l.raise(err)...)
		} else if f.state != nil {
			l.raised = ""
		}
		f.log = l
		if text := fmt.Sprint(f.trouble); len(f.records) > 0 || f.state != nil || text != said {
			said = text
			select {
			case <-ctx.Done():
				return
			case out <- f:
			}
		}
		switch {
		case err != nil:
			wait = min(max(2*wait, time.Second), l.poll)
			var status *statusError
			if errors.As(err, &status) {
				wait = max(wait, status.after)
			}
		case len(f.records) == 0: // read to its end
			wait = max(l.poll-l.now().Sub(l.asked), 0)
		default:
			wait = 0
		}
		if !pause(ctx, wait) {
			return
		}
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// judge makes an alarm of what was withheld too often.
func (l *log) judge(err error) error {
	if !errors.Is(err, errWithheld) {
		if err == nil {
			l.withheld = 0
		}
		return err
	}
	if l.withheld++; l.withheld < patience {
		return err
	}
	kind := AlarmUnproven
	if errors.Is(err, errEntries) {
		kind = AlarmGap
	}
	return l.alarm(kind, l.trusted, "%d times in a row and more: %v", patience, err)
}

// errEntries says that what is withheld are entries.
var errEntries = errors.New("entries can not be had")

// raise gives an alarm's record, once for each place where it stands.
func (l *log) raise(err error) []source.Record {
	var a *Alarm
	if !errors.As(err, &a) {
		return nil
	}
	place := a.Kind + ":" + strconv.FormatUint(l.tree.End(), 10) + ":" + strconv.FormatUint(a.Head.Size, 10)
	if l.raised == place {
		return nil
	}
	l.raised = place
	return []source.Record{{Bytes: a.record(l.key.ID(), l.now()), Position: l.cfg.Name + ":" + decimal(l.tree.End())}}
}

// alarm with what the log was trusted for.
func (l *log) alarm(kind string, head Head, format string, args ...any) *Alarm {
	return &Alarm{Kind: kind, Detail: fmt.Sprintf(format, args...), Head: head, Trusted: l.trusted, Position: l.tree.End()}
}

// step looks for a new tree head if it is time, and reads one batch. Either all of it is proven, or nothing is taken.
func (l *log) step(ctx context.Context) (found, error) {
	began := l.trusted.Root != nil
	if !began || l.tree.End() == l.trusted.Size || l.now().Sub(l.asked) >= l.poll {
		moved, err := l.refresh(ctx)
		if err != nil {
			return found{}, err
		}
		if !began && l.cfg.Start == StartNow && l.trusted.Size > 0 {
			if err := l.passOver(ctx); err != nil {
				l.trusted = Head{}
				return found{}, err
			}
		}
		if l.tree.End() == l.trusted.Size {
			f := found{}
			if moved {
				f.state = l.state()
			}
			return f, l.fresh()
		}
	}
	return l.batch(ctx)
}

// fresh is trouble if the log signs no new heads.
func (l *log) fresh() error {
	at := time.UnixMilli(int64(min(l.trusted.Timestamp, latest)))
	if age := l.now().Sub(at); age > l.maxAge {
		return fmt.Errorf("its newest tree head is from %s, %s ago: the log stands still, or new entries are kept back", at.UTC().Format(time.RFC3339), age.Round(time.Minute))
	}
	return nil
}

// refresh takes the log's tree head, if it continues the last one that was taken.
func (l *log) refresh(ctx context.Context) (moved bool, err error) {
	h, err := l.client.head(ctx)
	if errors.Is(err, errSignature) {
		return false, l.alarm(AlarmBadSignature, h, "%v", err)
	}
	if err != nil {
		return false, fmt.Errorf("tree head: %w", err)
	}
	was := l.trusted
	switch {
	case was.Root == nil: // the first
	case h.Size == was.Size:
		if !bytes.Equal(h.Root, was.Root) {
			return false, l.alarm(AlarmRewrittenHistory, h, "two signed tree heads of %d entries have different roots", h.Size)
		}
		h = newest(h, was)
	case h.Size < was.Size:
		if h.Timestamp >= was.Timestamp {
			return false, l.alarm(AlarmShrunkTree, h, "a newer tree head has %d entries, an older one has %d", h.Size, was.Size)
		}
		// A front end that lags, if it has the same history.
		if err := l.continues(ctx, h, was); err != nil {
			return false, err
		}
		h = was
	default:
		if err := l.continues(ctx, was, h); err != nil {
			return false, err
		}
	}
	if h.Size == 0 && !bytes.Equal(h.Root, rfc6962.DefaultHasher.EmptyRoot()) {
		return false, l.alarm(AlarmWrongInclusion, h, "the signed root of no entries is not that of an empty tree")
	}
	l.asked = l.now()
	moved = was.Root == nil || h.Size != was.Size || h.Timestamp != was.Timestamp
	l.trusted = h
	return moved, nil
}

func newest(a, b Head) Head {
	if a.Timestamp > b.Timestamp {
		return a
	}
	return b
}

// continues proves that one tree is the beginning of another.
func (l *log) continues(ctx context.Context, small, large Head) error {
	if small.Size == 0 {
		return nil
	}
	hashes, err := l.client.consistency(ctx, small.Size, large.Size)
	if err != nil {
		return fmt.Errorf("proof that the tree of %d entries continues that of %d: %w", large.Size, small.Size, err)
	}
	if proof.VerifyConsistency(rfc6962.DefaultHasher, small.Size, large.Size, hashes, small.Root, large.Root) != nil {
		l.forget()
		head := large
		if bytes.Equal(l.trusted.Root, large.Root) {
			head = small
		}
		return l.alarm(AlarmRewrittenHistory, head, "the signed tree of %d entries does not continue that of %d entries", large.Size, small.Size)
	}
	return nil
}

// passOver begins at the end of the log: the proof of the last entry holds the hashes of all before it.
func (l *log) passOver(ctx context.Context) error {
	last := l.trusted.Size - 1
	got, err := l.client.entries(ctx, last, l.trusted.Size, l.trusted)
	if err != nil {
		return fmt.Errorf("%w: last entry: %w", errEntries, err)
	}
	hash := rfc6962.DefaultHasher.HashLeaf(got[0].leaf)
	path, err := l.client.inclusion(ctx, last, hash, l.trusted.Size)
	if err != nil {
		return l.placed(fmt.Errorf("proof of the last entry: %w", err))
	}
	path = slices.Clone(path)
	slices.Reverse(path)
	tree, err := ranges.NewRange(0, last, path)
	if err == nil {
		err = tree.Append(hash, nil)
	}
	if err != nil {
		return l.alarm(AlarmWrongInclusion, l.trusted, "the proof of the last entry has the wrong length")
	}
	if err := l.atEnd(tree); err != nil {
		return err
	}
	l.tree = tree
	return nil
}

// batch reads entries and proves them.
func (l *log) batch(ctx context.Context) (found, error) {
	from := l.tree.End()
	to := min(from+batchEntries, l.trusted.Size)
	got, err := l.client.entries(ctx, from, to, l.trusted)
	if err != nil {
		return found{}, fmt.Errorf("%w: from %d on: %w", errEntries, from, err)
	}
	tree, err := ranges.NewRange(0, from, slices.Clone(l.tree.Hashes()))
	if err != nil {
		return found{}, fmt.Errorf("hash entries: %w", err)
	}
	hashes := make([][]byte, len(got))
	for i, e := range got {
		hashes[i] = rfc6962.DefaultHasher.HashLeaf(e.leaf)
		if err := tree.Append(hashes[i], nil); err != nil {
			return found{}, fmt.Errorf("hash entries: %w", err)
		}
	}
	switch {
	case tree.End() == l.trusted.Size:
		err = l.atEnd(tree)
	case l.full:
		err = l.within(ctx, tree)
	default:
		err = l.sampled(ctx, from, hashes)
	}
	if err != nil {
		return found{}, l.placed(err)
	}
	l.tree = tree
	return found{records: l.records(from, got), state: l.state()}, nil
}

// placed completes an alarm of the client, which knows neither heads nor position.
func (l *log) placed(err error) error {
	var a *Alarm
	if errors.As(err, &a) && a.Head.Root == nil {
		return l.alarm(a.Kind, l.trusted, "%s", a.Detail)
	}
	return err
}

// atEnd compares the tree of all entries with the one that the log signed.
func (l *log) atEnd(tree *compact.Range) error {
	got, err := root(tree)
	if err != nil {
		return fmt.Errorf("hash entries: %w", err)
	}
	if !bytes.Equal(got, l.trusted.Root) {
		l.forget()
		return l.alarm(AlarmWrongInclusion, l.trusted, "the %d entries that the log gave do not make the tree that it signed", tree.End())
	}
	return nil
}

// within proves that all entries so far are those of the signed tree.
func (l *log) within(ctx context.Context, tree *compact.Range) error {
	hashes, err := l.client.consistency(ctx, tree.End(), l.trusted.Size)
	if err != nil {
		return fmt.Errorf("proof of the entries before %d: %w", tree.End(), err)
	}
	got, err := root(tree)
	if err != nil {
		return fmt.Errorf("hash entries: %w", err)
	}
	if proof.VerifyConsistency(rfc6962.DefaultHasher, tree.End(), l.trusted.Size, hashes, got, l.trusted.Root) != nil {
		l.forget()
		return l.alarm(AlarmWrongInclusion, l.trusted, "the log does not prove that the entries before %d are those of the tree that it signed", tree.End())
	}
	return nil
}

// sampled proves some entries of a batch.
func (l *log) sampled(ctx context.Context, from uint64, hashes [][]byte) error {
	picked := rand.Perm(len(hashes)) // not to be foreseen by the log
	for _, i := range picked[:min(samples, len(picked))] {
		index := from + uint64(i)
		path, err := l.client.inclusion(ctx, index, hashes[i], l.trusted.Size)
		if err != nil {
			return fmt.Errorf("proof of entry %d: %w", index, err)
		}
		if proof.VerifyInclusion(rfc6962.DefaultHasher, index, l.trusted.Size, hashes[i], path, l.trusted.Root) != nil {
			l.forget()
			return l.alarm(AlarmWrongInclusion, l.trusted, "the log does not prove that entry %d is in the tree that it signed", index)
		}
	}
	return nil
}

func (l *log) forget() {
	if s, ok := l.client.(*static); ok {
		s.tiles.forget()
	}
}

func (l *log) state() *state {
	return &state{Log: l.key.ID(), URL: l.cfg.URL, Head: l.trusted, Position: l.tree.End(), Hashes: slices.Clone(l.tree.Hashes())}
}

// records writes entries as the decoder reads them.
func (l *log) records(from uint64, got []entry) []source.Record {
	out := make([]source.Record, len(got))
	for i, e := range got {
		index := from + uint64(i)
		text := make([]byte, 0, 160+base64.StdEncoding.EncodedLen(len(e.leaf))+base64.StdEncoding.EncodedLen(len(e.extra)))
		text = fmt.Appendf(text, `{"log":%q,"index":%d`, l.key.ID(), index)
		if parsed, bad := parseLeaf(e.leaf); bad == nil && !parsed.at.IsZero() {
			text = fmt.Appendf(text, `,"timestamp":%d`, parsed.at.UnixMilli())
		}
		text = base64.StdEncoding.AppendEncode(append(text, `,"leaf_input":"`...), e.leaf)
		text = base64.StdEncoding.AppendEncode(append(text, `","extra_data":"`...), e.extra)
		out[i] = source.Record{Bytes: append(text, `"}`...), Position: l.cfg.Name + ":" + decimal(index)}
	}
	return out
}
