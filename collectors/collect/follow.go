package collect

import (
	"context"
	"time"

	"github.com/leastwise/leastwise/collectors/source"
)

// Follow is the feed of a log file that grows: one record a line.
func Follow(cfg source.FollowConfig) (Feed, error) {
	f, err := source.NewFollower(cfg)
	if err != nil {
		return nil, err
	}
	return &following{f}, nil
}

type following struct{ *source.Follower }

func (f *following) Read(ctx context.Context, limit int, wait time.Duration, take Take) (int, func() error, error) {
	n, err := f.Follower.Read(ctx, limit, wait, func(line source.Line, position string) {
		take(source.Record{Bytes: line.Bytes, Position: position}, line.Malformed())
	})
	if n == 0 {
		return 0, nil, err
	}
	return n, f.Mark(), err // whatever the error: the lines it gave are published before it is asked again
}
