package exception

import (
	"context"
	"errors"
	"testing"

	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// between does something right before the first record is written: after it was read.
type between struct {
	Log
	do func()
}

func (b *between) Publish(ctx context.Context, msgs ...stream.Message) error {
	if do := b.do; do != nil {
		b.do = nil
		do()
	}
	return b.Log.Publish(ctx, msgs...)
}

func TestWhatSomebodyEndedMeanwhileStaysEnded(t *testing.T) {
	c := log(t)
	newest := func(id string) (last *pb.Exception) {
		t.Helper()
		for p := range 8 {
			if n, _ := c.Partitions(t.Context(), schemas.TopicExceptions); p >= n {
				break
			}
			_, err := c.ReadPartition(t.Context(), schemas.TopicExceptions, p, stream.Earliest, func(m stream.Message) error {
				if e, err := Decode(m); err == nil && e.Id == id {
					last = e
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		return last
	}
	for name, write := range map[string]func(l Log, e *pb.Exception) error{
		"approve": func(l Log, e *pb.Exception) error {
			_, err := Approve(t.Context(), l, e.Id, "bob", Limits{}, now)
			return err
		},
		"approve a request": func(l Log, e *pb.Exception) error {
			_, err := ApproveIssuance(t.Context(), l, e.Issuance.Request, "bob", "x", func(string) (Limits, error) { return Limits{}, nil }, now)
			return err
		},
		"issued": func(l Log, e *pb.Exception) error {
			return Issued(t.Context(), l, e.Issuance.Request, "accessor", now, now)
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := ask()
			e.Issuance = &pb.Issuance{Request: "iss-" + name}
			e, err := Request(t.Context(), c, e, Limits{}, now)
			if err != nil {
				t.Fatal(err)
			}
			err = write(&between{Log: c, do: func() {
				if _, err := Revoke(t.Context(), c, e.Id, "carol", now); err != nil {
					t.Error(err)
				}
			}}, e)
			if name == "approve" && !errors.Is(err, ErrOver) || name != "approve" && err != nil {
				t.Errorf("%v", err)
			}
			if last := newest(e.Id); last.RevokedBy != "carol" || Valid(last, now) {
				t.Errorf("the newest record: %v", last)
			}
			list, err := List(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range list {
				if x.Id == e.Id && Valid(x, now) {
					t.Errorf("it holds: %v", x)
				}
			}
		})
	}
}
