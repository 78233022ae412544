package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"time"
)

// FollowConfig says which log to follow.
type FollowConfig struct {
	// Path of the log. Rotated files are its siblings: PATH.1, PATH-20260102, PATH.2.gz, ...
	Path string
	// Checkpoint is the file that remembers the position. Empty: none, every start reads from the beginning.
	Checkpoint string
	// Backlog reads rotated siblings too when there is no checkpoint yet, the oldest first.
	Backlog bool
	// MaxLine is the longest line that is read; 0 is DefaultMaxLine.
	MaxLine int
	// Poll is how often a file that has been read to its end is looked at again; 0 is 250 ms.
	Poll time.Duration
	Log  *slog.Logger
}

// Follower reads a log that grows and is rotated, line by line, and remembers how far it got.
//
// It survives rename and create, copy and truncate, packing of rotated files, several rotations while it was away, and
// an inode used again. A last line without an end is waited for, until the file is known to be finished. What it can
// not survive: a rotated file that is removed before it was read; Gaps counts that.
//
// Not safe for concurrent use.
type Follower struct {
	cfg FollowConfig
	cur *open
	// after is when the last file that was read to its end was written to: the next one is the oldest written later.
	after time.Time
	gaps  int
}

// open is the file being read.
type open struct {
	path     string
	file     io.ReadCloser
	plain    *os.File // nil if packed
	lines    *Lines
	base     int64 // offset where lines began
	offset   int64 // after the last line given out
	place    []byte
	device   uint64
	inode    uint64
	print    string
	printed  int64
	modified time.Time
	finished bool // nothing more will be written: rotated away, and read to its end once after that was seen
}

// NewFollower finds its place again. It does not fail if the log is not there yet.
func NewFollower(cfg FollowConfig) (*Follower, error) {
	if cfg.Path == "" {
		return nil, errors.New("follow log: no path is configured")
	}
	if cfg.Poll <= 0 {
		cfg.Poll = 250 * time.Millisecond
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	f := &Follower{cfg: cfg}
	var at *Checkpoint
	if cfg.Checkpoint != "" {
		var err error
		if at, err = LoadCheckpoint(cfg.Checkpoint); err != nil {
			return nil, err
		}
	}
	if at == nil {
		if old := siblings(cfg.Path, time.Time{}); !cfg.Backlog && len(old) > 0 {
			f.after = old[len(old)-1].info.ModTime()
		}
		// Remembered before anything is read: a log that is rotated before the first commit is found again.
		if cfg.Checkpoint != "" {
			return f, (&Checkpoint{Path: cfg.Path, Modified: f.after}).Save(cfg.Checkpoint)
		}
		return f, nil
	}
	if err := f.resume(at); err != nil {
		return nil, err
	}
	return f, nil
}

// Gaps counts how often a file was gone before it was read to its end.
func (f *Follower) Gaps() int { return f.gaps }

// Close closes the file. It does not commit.
func (f *Follower) Close() error {
	if f.cur == nil {
		return nil
	}
	err := f.cur.file.Close()
	f.cur = nil
	return err
}

// Read gives up to limit lines to take, with the position of each. It returns as soon as it has given some and the log has no
// more, or when wait is over, or when ctx ends. Lines given are not remembered before what Mark returns is called.
func (f *Follower) Read(ctx context.Context, limit int, wait time.Duration, take func(line Line, position string)) (int, error) {
	deadline := time.Now().Add(wait)
	for {
		// Before anything is read: a file that was emptied and has grown again would be read from its middle.
		if f.cur != nil && f.cur.truncated() {
			if err := f.afterTruncation(); err != nil {
				return 0, err
			}
		}
		n, err := f.drain(limit, take)
		if n > 0 || err != nil {
			return n, err
		}
		if moved, err := f.advance(); moved || err != nil {
			if err != nil {
				return 0, err
			}
			continue
		}
		left := min(time.Until(deadline), f.cfg.Poll)
		if left <= 0 {
			return 0, nil
		}
		timer := time.NewTimer(left)
		select {
		case <-ctx.Done():
			timer.Stop()
			return 0, ctx.Err()
		case <-timer.C:
		}
	}
}

// drain gives what the open file has.
func (f *Follower) drain(limit int, take func(Line, string)) (int, error) {
	if f.cur == nil {
		return 0, nil
	}
	for n := range limit {
		line, err := f.cur.lines.Next()
		if errors.Is(err, io.EOF) {
			if !line.Partial || !f.cur.finished {
				return n, nil
			}
			// The file is finished: its last line is as whole as it will ever be.
			line.Partial = false
			f.cur.give(line, take)
			f.cur.lines = NewLines(eof{}, 0)
			f.cur.base = f.cur.offset
			return n + 1, nil
		}
		if err != nil {
			return n, fmt.Errorf("read %s: %w", f.cur.path, err)
		}
		f.cur.give(line, take)
	}
	return limit, nil
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

func (o *open) give(line Line, take func(Line, string)) {
	o.place = strconv.AppendInt(append(append(o.place[:0], o.path...), ':'), o.base+line.Offset, 10)
	position := string(o.place)
	o.offset = o.base + line.End
	take(line, position)
}

// Mark returns a function that remembers that everything given up to now has been published. The function may be called
// later, from another goroutine, while Read goes on.
func (f *Follower) Mark() func() error {
	if f.cur == nil || f.cfg.Checkpoint == "" {
		return func() error { return nil }
	}
	f.cur.refresh()
	at := Checkpoint{Path: f.cur.path, Device: f.cur.device, Inode: f.cur.inode, Fingerprint: f.cur.print,
		FingerprintSize: f.cur.printed, Offset: f.cur.offset, Modified: f.cur.modified}
	return func() error { return at.Save(f.cfg.Checkpoint) }
}

// Lag is how many bytes of the file being read have not been given yet; 0 for a packed file.
func (f *Follower) Lag() int64 {
	if f.cur == nil || f.cur.plain == nil {
		return 0
	}
	info, err := f.cur.plain.Stat()
	if err != nil {
		return 0
	}
	return max(info.Size()-f.cur.offset, 0)
}
