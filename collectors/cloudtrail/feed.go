package cloudtrail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/collectors/source"
)

// file is one log file, to be read once.
type file struct {
	// name is for people: a path, or s3://BUCKET/KEY.
	name string
	// open fails with a *source.Malformed if the file will never be readable; rest is then what the dead letter is made
	// of. Other errors: it is tried again later.
	open func(ctx context.Context) (io.ReadCloser, error)
	rest []byte
	// done remembers that everything in the file is published. A crash before it gives the file again.
	done func(ctx context.Context) error
	// again gives the file back, to be found once more.
	again func(ctx context.Context)
	// growing is whether the file may still be written to; nil: it is not.
	growing func() bool
}

// finder finds files.
type finder interface {
	// next gives a file, or nil if there is none before wait is over.
	next(ctx context.Context, wait time.Duration) (*file, error)
	Close() error
}

// feed reads the records of one file after another. It implements collect.Feed.
type feed struct {
	from finder
	max  int
	cur  *reading
}

// reading is a file being read.
type reading struct {
	*file
	body    io.ReadCloser
	watched *watched
	records source.Reader
	offset  int64
}

// commitTime bounds how long a checkpoint may take; a message whose deletion failed comes again.
const commitTime = 30 * time.Second

func newFeed(from finder, max int) *feed { return &feed{from: from, max: max} }

// Close implements collect.Feed.
func (f *feed) Close() error {
	if f.cur != nil {
		f.cur.body.Close()
		f.cur = nil
	}
	return f.from.Close()
}

// Read implements collect.Feed. A file is remembered by the commit of the batch that holds its last record.
func (f *feed) Read(ctx context.Context, limit int, wait time.Duration, take collect.Take) (given int, commit func() error, err error) {
	var finished []*file
	for deadline := time.Now().Add(wait); given < limit && err == nil; {
		if f.cur == nil {
			left := max(time.Until(deadline), 0)
			if given > 0 || len(finished) > 0 {
				left = 0
			}
			var next *file
			if next, err = f.from.next(ctx, left); err != nil || next == nil {
				break
			}
			var bad *source.Malformed
			if err = f.start(ctx, next); errors.As(err, &bad) {
				take(source.Record{Bytes: next.rest, Position: next.name}, bad)
				given, finished, err = given+1, append(finished, next), nil
			} else if err != nil {
				next.again(ctx)
			}
			continue
		}
		var took, ended bool
		if took, ended, err = f.record(take); took {
			given++
		}
		if ended {
			f.cur.body.Close()
			if err == nil {
				finished = append(finished, f.cur.file)
			} else {
				f.cur.again(ctx)
			}
			if errors.Is(err, errGrowing) {
				err = nil
			}
			f.cur = nil
		}
	}
	if len(finished) == 0 {
		return given, nil, err
	}
	return given, func() error { return remember(finished) }, err
}

// remember calls done of each file: also when the process is about to end, since its events are published.
func remember(finished []*file) error {
	ctx, cancel := context.WithTimeout(context.Background(), commitTime)
	defer cancel()
	var errs []error
	for _, one := range finished {
		if err := one.done(ctx); err != nil {
			errs = append(errs, fmt.Errorf("remember that %s was read: %w", one.name, err))
		}
	}
	return errors.Join(errs...)
}

// start opens a file and unpacks it.
func (f *feed) start(ctx context.Context, next *file) error {
	body, err := next.open(ctx)
	if err != nil {
		return err
	}
	watch := &watched{from: body}
	content, _, err := source.Unpack(watch)
	if err != nil {
		body.Close()
		if watch.failed != nil {
			return fmt.Errorf("read %s: %w", next.name, watch.failed)
		}
		if next.growing != nil && next.growing() {
			next.again(ctx)
			return nil
		}
		next.rest = []byte(next.name)
		return &source.Malformed{Reason: source.ReasonMalformed, Detail: "the file begins like gzip, but is not"}
	}
	f.cur = &reading{file: next, body: body, watched: watch, records: Records(content, f.max)}
	return nil
}

// errGrowing: the file ends within a record, and may not be written whole yet.
var errGrowing = errors.New("the file is still being written to")

// record gives the next record of the file. What can not be read any further is one dead letter.
func (f *feed) record(take collect.Take) (took, ended bool, err error) {
	line, err := f.cur.records.Next()
	position := f.cur.name + ":" + strconv.FormatInt(line.Offset, 10)
	if err == nil {
		f.cur.offset = line.End
		take(source.Record{Bytes: line.Bytes, Position: position}, line.Malformed())
		return true, false, nil
	}
	if f.cur.watched.failed != nil {
		return false, true, fmt.Errorf("read %s: %w", f.cur.name, f.cur.watched.failed)
	}
	whole := errors.Is(err, io.EOF)
	if whole && !line.Partial {
		return false, true, nil
	}
	if f.cur.growing != nil && f.cur.growing() {
		return false, true, errGrowing
	}
	bad := &source.Malformed{Reason: source.ReasonTruncated, Detail: "the file ends within a record, or before its list of records does"}
	if !whole {
		bad.Detail = "the packed file is damaged or cut off; what follows the records read so far is lost"
		position = f.cur.name + ":" + strconv.FormatInt(f.cur.offset, 10)
	}
	rec := source.Record{Bytes: line.Bytes, Position: position}
	if line.TooLong {
		bad.SHA256, bad.Length = bytes.Clone(line.SHA256[:]), line.Length
	}
	take(rec, bad)
	return true, true, nil
}

// watched tells an error of the file from one of what is in it.
type watched struct {
	from   io.Reader
	failed error
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.from.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		w.failed = err
	}
	return n, err
}
