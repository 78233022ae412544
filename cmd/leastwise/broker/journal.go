package broker

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// States of a request.
const (
	waiting = "waiting" // for approval
	begun   = "begun"   // Vault is being asked; whether it answered is not known if this is the last word
	done    = "issued"
	refused = "refused"
)

// entry is one line of the journal, and what the broker knows of a request. It holds no secret.
type entry struct {
	ID         string    `json:"id"`
	At         time.Time `json:"at"`
	State      string    `json:"state"`
	Caller     string    `json:"caller"`
	Agent      string    `json:"agent,omitempty"`
	Owner      string    `json:"owner,omitempty"`
	Wish       *Wish     `json:"wish"`
	Digest     string    `json:"digest"` // of the wish: the same key with another wish is refused
	Exceptions []string  `json:"exceptions,omitempty"`
	Accessor   string    `json:"accessor,omitempty"`
	Ends       time.Time `json:"ends,omitzero"`
	Why        string    `json:"why,omitempty"`
}

// journal is a file of lines, each durable before append returns, and the last word on each request.
type journal struct {
	mu   sync.Mutex
	file *os.File
	last map[string]entry
}

func openJournal(path string) (*journal, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the broker's journal: %w", err)
	}
	j := &journal{file: file, last: map[string]entry{}}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e entry
		if json.Unmarshal(lines.Bytes(), &e) == nil && e.ID != "" { // the last line may be torn by a crash
			j.last[e.ID] = e
		}
	}
	if err := lines.Err(); err != nil {
		return nil, errors.Join(fmt.Errorf("read the broker's journal: %w", err), file.Close())
	}
	// What follows a torn line begins on a line of its own.
	if _, err := file.WriteString("\n"); err != nil {
		return nil, errors.Join(fmt.Errorf("write the broker's journal: %w", err), file.Close())
	}
	return j, nil
}

func (j *journal) get(id string) (entry, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e, ok := j.last[id]
	return e, ok
}

func (j *journal) append(e entry) error {
	text, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write the broker's journal: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := j.file.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("write the broker's journal: %w", err)
	}
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("write the broker's journal: %w", err)
	}
	j.last[e.ID] = e
	return nil
}

func (j *journal) close() error { return j.file.Close() }
