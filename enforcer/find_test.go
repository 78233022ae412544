package enforcer

import (
	"errors"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

func TestALadderIsFoundByTheIdOfItsCredentialsNewest(t *testing.T) {
	s := newSite(t)
	write := func(credential, ladder string, step uint64) {
		raw, err := (&pb.LadderState{Credential: credential, LadderId: ladder, Step: step, At: stamp(time.Now())}).MarshalVT()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.c.Publish(t.Context(), stream.Message{Topic: schemas.TopicEnforcement, Key: []byte(credential), Value: raw}); err != nil {
			t.Fatal(err)
		}
	}
	write("fake/default/token/a", "first", 1)
	write("fake/default/token/a", "second", 2)
	write("fake/default/token/b", "other", 1)
	for _, id := range []string{"second", "other"} {
		if found, err := FindLadder(t.Context(), s.c, id); err != nil || found.LadderId != id {
			t.Errorf("%s: %v, %v", id, found, err)
		}
	}
	for _, id := range []string{"first", "none", ""} {
		if found, err := FindLadder(t.Context(), s.c, id); !errors.Is(err, ErrNoLadder) {
			t.Errorf("%q: %v, %v", id, found, err)
		}
	}
}
