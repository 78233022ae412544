package gcpaudit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/collectors/source"
	"google.golang.org/api/option"
)

// subscription is the feed of a Pub/Sub subscription. A message is acknowledged when its events are published, not
// before; until then it counts against the limit of outstanding messages, so that no more are held. What is not
// acknowledged Pub/Sub delivers again.
type subscription struct {
	client     *pubsub.Client
	subscriber *pubsub.Subscriber
	name       string
	ctx        context.Context // ends when the feed is closed
	cancel     context.CancelFunc
	arrived    chan *delivery
	stopped    chan error // what Receive returned; nil while it is not running
}

// delivery is one message on its way.
type delivery struct {
	message   *pubsub.Message
	published chan struct{} // closed when the message may be acknowledged
}

func subscribe(ctx context.Context, cfg Config) (*subscription, error) {
	project := subscriptionName.FindStringSubmatch(cfg.Subscription)[1]
	var opts []option.ClientOption
	if cfg.CredentialsFile != "" {
		creds, err := credentials(cfg.CredentialsFile)
		if err != nil {
			return nil, err
		}
		opts = append(opts, creds)
	}
	client, err := pubsub.NewClient(ctx, project, opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to Pub/Sub: %w", err)
	}
	s := &subscription{client: client, subscriber: client.Subscriber(cfg.Subscription), name: cfg.Subscription,
		arrived: make(chan *delivery, cfg.MaxOutstanding)}
	s.subscriber.ReceiveSettings = pubsub.ReceiveSettings{MaxOutstandingMessages: cfg.MaxOutstanding,
		MaxOutstandingBytes: cfg.MaxOutstandingBytes, NumGoroutines: 1, MaxExtension: time.Hour}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return s, nil
}

// Read implements collect.Feed.
func (s *subscription) Read(ctx context.Context, limit int, wait time.Duration, take collect.Take) (int, func() error, error) {
	if s.stopped == nil {
		stopped := make(chan error, 1)
		s.stopped = stopped
		go func() { stopped <- s.subscriber.Receive(s.ctx, s.receive) }()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	var given []*delivery
	give := func(d *delivery) {
		take(source.Record{Bytes: d.message.Data, Position: s.name + "/" + d.message.ID}, nil)
		given = append(given, d)
	}
	select {
	case <-ctx.Done():
		return 0, nil, ctx.Err()
	case <-timer.C:
		return 0, nil, nil
	case err := <-s.stopped:
		s.stopped = nil
		if err == nil {
			err = errors.New("the stream ended")
		}
		return 0, nil, fmt.Errorf("receive from %s: %w", s.name, err)
	case d := <-s.arrived:
		give(d)
	}
	for len(given) < limit {
		select {
		case d := <-s.arrived:
			give(d)
			continue
		default:
		}
		break
	}
	return len(given), func() error {
		for _, d := range given {
			close(d.published)
		}
		return nil
	}, nil
}

// receive holds a message until it is published, or the feed ends.
func (s *subscription) receive(ctx context.Context, message *pubsub.Message) {
	d := &delivery{message: message, published: make(chan struct{})}
	select {
	case s.arrived <- d:
	case <-ctx.Done():
		message.Nack()
		return
	}
	select {
	case <-d.published:
		message.Ack()
		return
	case <-ctx.Done():
	}
	select {
	case <-d.published:
		message.Ack()
	default:
		message.Nack()
	}
}

// Close gives back what was not published.
func (s *subscription) Close() error {
	s.cancel()
	if s.stopped != nil {
		<-s.stopped
	}
	return s.client.Close()
}
