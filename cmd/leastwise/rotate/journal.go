package rotate

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/leastwise/leastwise/enforcer/target/spire"
)

// line of the journal: what somebody did, and where the rotation stands after it.
type line struct {
	At       time.Time      `json:"at"`
	By       string         `json:"by"`
	What     string         `json:"what"` // started, intended, done, failed
	Error    string         `json:"error,omitempty"`
	Rotation spire.Rotation `json:"rotation"`
}

// keep appends a line and returns when it is on disk.
func (r *Rotations) keep(l line) (err error) {
	text, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("keep the rotation: %w", err)
	}
	file, err := os.OpenFile(r.Journal, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("keep the rotation: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	// The new line first: what a crash cut off before stays a line of its own.
	if _, err := file.Write(append(append([]byte("\n"), text...), '\n')); err != nil {
		return fmt.Errorf("keep the rotation: %w", err)
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("keep the rotation: %w", err)
	}
	return nil
}

// last gives the rotation as it was kept last; nil: there is none. A line that a crash cut off is passed over: it was never
// acted on.
func (r *Rotations) last() (*spire.Rotation, error) {
	text, err := os.ReadFile(r.Journal)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what was kept of the rotation: %w", err)
	}
	var last *spire.Rotation
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, len(text)+1)
	for lines.Scan() {
		var l line
		if json.Unmarshal(lines.Bytes(), &l) == nil && l.Rotation.Step != "" {
			last = &l.Rotation
		}
	}
	return last, lines.Err()
}
