package crash

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"time"
)

const (
	rotations = 6 // besides those that fall between a kill and the start of the next process
	feedEvery = 40 * time.Millisecond
)

// feeder appends the log, piece by piece, to the file that the collector follows. Pieces end anywhere, inside lines as
// well. It goes as far as the killing has gone, so that
// there is always work.
type feeder struct {
	whole, path string
	size        int64
	rand        *rand.Rand
	ended       func(accessor []byte) // told before the line is written that revokes

	mu    sync.Mutex // guards what follows
	from  float64    // share of the log that was allowed at since
	until float64    // and towards which it goes on
	since time.Time
	pace  time.Duration // after which two thirds of the way are allowed
	turn  bool          // the log is to be rotated at the next piece, whatever its length
	last  time.Time     // of the last rotation
}

// goOn lets the feeder write up to a share of the log: fast at first and then ever slower, so that it does not come to
// a halt before the next call.
func (f *feeder) goOn(share float64, pace time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.from, f.until, f.pace, f.since = f.share(), share, pace, time.Now()
}

// share is what is allowed now; mu is held.
func (f *feeder) share() float64 {
	if f.pace == 0 {
		return f.until
	}
	return f.from + (f.until-f.from)*(1-math.Exp(-float64(time.Since(f.since))/float64(f.pace)))
}

func (f *feeder) allowed() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return int64(f.share() * float64(f.size))
}

// run feeds until everything is written, or ctx ends.
func (f *feeder) run(ctx context.Context) error {
	source, err := os.Open(f.whole)
	if err != nil {
		return fmt.Errorf("feed the log: %w", err)
	}
	defer source.Close()
	lines := bufio.NewReaderSize(source, 1<<20)
	out, err := create(f.path)
	if err != nil {
		return fmt.Errorf("feed the log: %w", err)
	}
	defer func() { out.Close() }()
	var written int64
	var pending []byte
	live, rotated, late := 0, 0, false
	for {
		line, err := lines.ReadBytes('\n')
		f.notice(line)
		pending = append(pending, line...)
		if done := errors.Is(err, io.EOF); err != nil && !done {
			return fmt.Errorf("feed the log: %w", err)
		} else if done {
			_, err := out.Write(pending)
			return err
		}
		for written+int64(len(pending)) > f.allowed() {
			if !wait(ctx, feedEvery) {
				return nil
			}
		}
		if len(pending) < 8<<10 {
			continue
		}
		// After a rotation the writer holds the old file for one piece more, as a server that has not got its signal yet.
		if late {
			if _, err := out.Write(pending); err != nil {
				return fmt.Errorf("feed the log: %w", err)
			}
			written, pending, late = written+int64(len(pending)), nil, false
			if err := out.Close(); err != nil {
				return fmt.Errorf("feed the log: %w", err)
			}
			if out, err = create(f.path); err != nil {
				return fmt.Errorf("feed the log: %w", err)
			}
			continue
		}
		cut := 1 + f.rand.IntN(len(pending))
		if _, err := out.Write(pending[:cut]); err != nil {
			return fmt.Errorf("feed the log: %w", err)
		}
		written, pending = written+int64(cut), bytes.Clone(pending[cut:])
		if live < rotations && written > f.size*int64(live+1)/(rotations+1) {
			live++
			f.rotate()
		}
		if f.turned() {
			rotated, late = rotated+1, true
			if err := shift(f.path, rotated); err != nil {
				return fmt.Errorf("rotate the log: %w", err)
			}
		}
	}
}

func create(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
}

// rotate asks for a rotation.
func (f *feeder) rotate() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.turn = true
}

// between rotations there is more time than a tick of the file system's clock: two rotations within one are not
// something that a rotating program does, and not what is tried here.
const between = 50 * time.Millisecond

func (f *feeder) turned() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.turn || time.Since(f.last) < between {
		return false
	}
	f.turn, f.last = false, time.Now()
	return true
}

// shift renames as logrotate does: PATH.1 is the youngest.
func shift(path string, n int) error {
	for ; n > 1; n-- {
		if err := os.Rename(fmt.Sprintf("%s.%d", path, n-1), fmt.Sprintf("%s.%d", path, n)); err != nil {
			return err
		}
	}
	return os.Rename(path, path+".1")
}

var (
	revokeSelf = []byte(`"path":"auth/token/revoke-self"`)
	callerName = []byte(`"client_token_accessor":"`)
)

// notice tells the issuer of a credential that its holder revokes.
func (f *feeder) notice(line []byte) {
	if !bytes.Contains(line, revokeSelf) {
		return
	}
	if _, rest, ok := bytes.Cut(line, callerName); ok {
		if accessor, _, ok := bytes.Cut(rest, []byte{'"'}); ok {
			f.ended(accessor)
		}
	}
}
