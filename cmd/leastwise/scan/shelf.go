package scan

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/leastwise/leastwise/processor/core"
	"github.com/leastwise/leastwise/processor/lifecycle"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// shelf holds the credentials: some thousands in a core, the others on disk in the form in which a restart of the
// processor finds them. One that an event names is brought back. Memory keeps some fifty bytes for each that is away.
type shelf struct {
	fresh func() *core.Core
	most  int // credentials in the core
	core  *core.Core
	away  *spool       // key and state, again and again
	at    map[id]int64 // the newest place of each in away, by the hash of its key
	// parent are those away that have children.
	parent map[id]struct{}
}

func newShelf(hold limits, fresh func() *core.Core) *shelf {
	return &shelf{fresh: fresh, most: hold.credentials, core: fresh(), away: newSpool(hold.bytes), at: map[id]int64{},
		parent: map[id]struct{}{}}
}

func hashOf(key string) id {
	sum := sha256.Sum256([]byte(key))
	return id(sum[:len(id{})])
}

// entry gives a credential, or nil.
func (s *shelf) entry(key string) (*core.Entry, error) {
	if e := s.core.Entry(key); e != nil || len(s.at) == 0 || key == "" {
		return e, nil
	}
	place, ok := s.at[hashOf(key)]
	if !ok {
		return nil, nil
	}
	if s.core.Len() >= s.most {
		if err := s.putAway(); err != nil {
			return nil, err
		}
	}
	if err := s.bring(place); err != nil {
		return nil, err
	}
	return s.core.Entry(key), nil
}

// bring back the credential that is at a place.
func (s *shelf) bring(place int64) error {
	in := s.away.from(place, 4<<10)
	text, err := in.next()
	if err != nil {
		return fmt.Errorf("bring back a credential: %w", err)
	}
	key := string(text)
	state, err := in.next()
	if err != nil {
		return notBack(key, err)
	}
	return s.load(key, state)
}

func notBack(key string, err error) error { return fmt.Errorf("bring back %s: %w", key, err) }

func (s *shelf) load(key string, state []byte) error {
	cred, err := lifecycle.Load(key, state)
	if err != nil {
		return err
	}
	s.core.Load(cred)
	return nil
}

// apply merges an event of a credential that entry was asked for just before.
func (s *shelf) apply(ev *pb.Event, offset int64, counted bool) error {
	if s.core.Len() >= s.most && s.core.Entry(ev.Credential) == nil {
		if err := s.putAway(); err != nil {
			return err
		}
	}
	s.core.Apply(ev, offset, counted)
	return nil
}

func (s *shelf) putAway() (err error) {
	s.core.Entries(func(e *core.Entry) {
		if err != nil {
			return
		}
		var state []byte
		if state, err = e.Marshal(); err != nil {
			return
		}
		key := hashOf(e.Key)
		if s.at[key], err = s.away.put([]byte(e.Key), state); err == nil && len(e.Children()) > 0 {
			s.parent[key] = struct{}{}
		}
	})
	if err != nil {
		return fmt.Errorf("put credentials away: %w", err)
	}
	s.core = s.fresh()
	return nil
}

// parents brings those that have children into the core, some thousands at a time, and calls fn each time. If none was
// ever put away, that is all credentials at once.
func (s *shelf) parents(fn func() error) error {
	if len(s.at) == 0 {
		return fn()
	}
	if err := s.putAway(); err != nil {
		return err
	}
	for hash := range s.parent {
		if err := s.bring(s.at[hash]); err != nil {
			return err
		}
		if s.core.Len() < s.most {
			continue
		}
		if err := fn(); err != nil {
			return err
		}
		if err := s.putAway(); err != nil {
			return err
		}
	}
	return fn()
}

// all brings every credential into the core once, some thousands at a time, and calls fn each time. Nothing that fn does
// to them is kept.
func (s *shelf) all(fn func() error) error {
	if len(s.at) == 0 {
		return fn()
	}
	if err := s.putAway(); err != nil {
		return err
	}
	in := s.away.from(0, readBuffer)
	for {
		place := in.at
		text, err := in.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		key := string(text)
		state, err := in.next()
		if err != nil {
			return notBack(key, err)
		}
		if s.at[hashOf(key)] != place {
			continue // it was put away again later
		}
		if err := s.load(key, state); err != nil {
			return err
		}
		if s.core.Len() >= s.most {
			if err := fn(); err != nil {
				return err
			}
			s.core = s.fresh()
		}
	}
	return fn()
}

func (s *shelf) close() { s.away.close() }
