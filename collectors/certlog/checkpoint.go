package certlog

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
)

var ranges = compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}

// state is what the collector knows of a log for certain; the checkpoint file holds it.
type state struct {
	// Log is the log's id.
	Log string `json:"log"`
	URL string `json:"url"`
	Head
	// Position is the number of entries read and published, or passed over at the first start.
	Position uint64 `json:"position"`
	// Hashes are the roots of the full subtrees that make up the entries before Position, from the left.
	Hashes [][]byte `json:"hashes"`
}

// tree hashes the entries that were read.
func (s *state) tree() (*compact.Range, error) {
	for _, hash := range s.Hashes {
		if len(hash) != rfc6962.DefaultHasher.Size() {
			return nil, errors.New("a hash has the wrong length")
		}
	}
	tree, err := ranges.NewRange(0, s.Position, slices.Clone(s.Hashes))
	if err != nil {
		return nil, errors.New("its hashes do not fit its position")
	}
	if s.Position > s.Size {
		return nil, errors.New("its position is beyond its tree")
	}
	return tree, nil
}

// root of a tree.
func root(tree *compact.Range) ([]byte, error) {
	if tree.End() == 0 {
		return rfc6962.DefaultHasher.EmptyRoot(), nil
	}
	return tree.GetRootHash(nil)
}

// loadState returns nil if there is none yet.
func loadState(path string) (*state, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read checkpoint: %w", err)
	}
	var s state
	if err = json.Unmarshal(text, &s); err == nil {
		_, err = s.tree()
	}
	if err != nil {
		return nil, fmt.Errorf("checkpoint %s is damaged (%w); remove it to read the log from its start again, which is safe: events are counted once", path, err)
	}
	return &s, nil
}

// save replaces the checkpoint, all or nothing: a crash leaves the old or the new one.
func (s *state) save(path string) error {
	text, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	if err := source.ReplaceFile(path, append(text, '\n')); err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	return nil
}
