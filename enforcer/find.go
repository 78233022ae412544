package enforcer

import (
	"context"
	"errors"
	"fmt"

	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// ErrNoLadder is what FindLadder returns for an id that no journal entry has.
var ErrNoLadder = errors.New("the journal knows no such ladder: take its id from the notification, the page or v_ladder")

// FindLadder reads the journal up to its end for the newest entry of a ladder,
// so that nobody asks for something that no enforcer will ever do. A credential
// that has a newer ladder is not found by the old one's id.
func FindLadder(ctx context.Context, s *stream.Client, id string) (*pb.LadderState, error) {
	n, err := s.Partitions(ctx, schemas.TopicEnforcement)
	if err != nil {
		return nil, fmt.Errorf("find ladder %s: %w", id, err)
	}
	newest := map[string]*pb.LadderState{}
	for p := range n {
		_, err := s.ReadPartition(ctx, schemas.TopicEnforcement, p, stream.Earliest, func(m stream.Message) error {
			e, err := decodeEntry(m)
			if err != nil {
				return nil //nolint:nilerr // the enforcer tells of it and goes on, too
			}
			if old := newest[e.Credential]; old == nil || e.Step >= old.Step {
				newest[e.Credential] = e
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("find ladder %s: %w", id, err)
		}
	}
	for _, e := range newest {
		if e.LadderId == id {
			return e, nil
		}
	}
	return nil, fmt.Errorf("ladder %q: %w", id, ErrNoLadder)
}
