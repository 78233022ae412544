package cloudtrail

import (
	"bytes"
	"context"
	"io"
	"math"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/collectors/source"
)

// retryAfter is when a message whose object could not be read comes again.
const retryAfter = 30 * time.Second

// closeTime bounds how long messages are given back at the end; those that are not come again by themselves.
const closeTime = 5 * time.Second

// queue finds objects in the messages of SQS. A message is deleted when all that its objects hold is published; until
// then it is kept hidden from others. One that can not be understood becomes a dead letter, and is then deleted.
type queue struct {
	cloud   *cloud
	cfg     QueueConfig
	digests *digests
	say     func(error)
	stop    context.CancelFunc
	wait    sync.WaitGroup

	pending []*file

	mu   sync.Mutex          // guards held: commits come from another goroutine
	held map[*message]string // receipt handles
}

// message is one that was received.
type message struct {
	receipt string
	left    int  // files not published yet; guarded by queue.mu
	dropped bool // it comes again
}

func newQueue(cloud *cloud, cfg QueueConfig, digests *digests, say func(error)) *queue {
	ctx, stop := context.WithCancel(context.Background())
	q := &queue{cloud: cloud, cfg: cfg, digests: digests, say: say, stop: stop, held: map[*message]string{}}
	q.wait.Go(func() { q.extend(ctx) })
	return q
}

// Close gives back the messages that are not done, for the next reader.
func (q *queue) Close() error {
	q.stop()
	q.wait.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	q.mu.Lock()
	defer q.mu.Unlock()
	for m, receipt := range q.held {
		q.hide(ctx, receipt, 0)
		delete(q.held, m)
	}
	return nil
}

func (q *queue) next(ctx context.Context, wait time.Duration) (*file, error) {
	if len(q.pending) == 0 {
		answer, err := q.cloud.sqs.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &q.cfg.URL, MaxNumberOfMessages: 10,
			VisibilityTimeout: int32(q.cfg.Visibility.Seconds()), WaitTimeSeconds: int32(min(math.Ceil(wait.Seconds()), 20))})
		if ctx.Err() != nil {
			return nil, nil
		}
		if err != nil {
			return nil, refused("receive messages from "+q.cfg.URL, err, "sqs:ReceiveMessage")
		}
		for _, one := range answer.Messages {
			q.take(one)
		}
		if len(q.pending) == 0 {
			return nil, nil
		}
	}
	one := q.pending[0]
	q.pending = q.pending[1:]
	return one, nil
}

// take makes a message's files. One without any is a file without records: it too is deleted when its turn has come.
func (q *queue) take(received types.Message) {
	m := &message{receipt: aws.ToString(received.ReceiptHandle)}
	body := []byte(aws.ToString(received.Body))
	position := q.cfg.URL + "#" + aws.ToString(received.MessageId)
	objects, event, err := unwrap(body)
	var files []*file
	for _, at := range objects {
		if isDigest(at.key) && q.digests != nil {
			files = append(files, q.file(m, "s3://"+at.bucket+"/"+at.key, q.digests.open(at.bucket, at.key)))
		} else if wanted(at.key) {
			files = append(files, q.file(m, "s3://"+at.bucket+"/"+at.key, func(ctx context.Context) (io.ReadCloser, error) {
				body, _, err := q.cloud.get(ctx, at.bucket, at.key)
				return body, err
			}))
		}
	}
	if len(files) == 0 {
		files = append(files, q.file(m, position, func(context.Context) (io.ReadCloser, error) {
			if err != nil {
				return nil, &source.Malformed{Reason: source.ReasonRejected, Detail: err.Error()}
			}
			return io.NopCloser(bytes.NewReader(event)), nil
		}))
		files[0].rest = body
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	m.left = len(files)
	q.held[m] = m.receipt
	q.pending = append(q.pending, files...)
}

func (q *queue) file(m *message, name string, open func(context.Context) (io.ReadCloser, error)) *file {
	return &file{name: name, rest: []byte(name), open: open,
		done:  func(ctx context.Context) error { return q.done(ctx, m) },
		again: func(ctx context.Context) { q.again(ctx, m) }}
}

// done deletes the message with its last file.
func (q *queue) done(ctx context.Context, m *message) error {
	q.mu.Lock()
	m.left--
	last := m.left == 0 && !m.dropped
	if m.left == 0 {
		delete(q.held, m)
	}
	q.mu.Unlock()
	if !last {
		return nil
	}
	_, err := q.cloud.sqs.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &q.cfg.URL, ReceiptHandle: &m.receipt})
	if err != nil {
		return refused("delete the message", err, "sqs:DeleteMessage")
	}
	return nil
}

// again gives a message back, so that it does not keep others from being read.
func (q *queue) again(ctx context.Context, m *message) {
	q.mu.Lock()
	was := m.dropped
	m.dropped = true
	delete(q.held, m)
	q.mu.Unlock()
	if !was {
		q.hide(ctx, m.receipt, retryAfter)
	}
}

// extend keeps messages hidden while they are worked on, however long Kafka is away.
func (q *queue) extend(ctx context.Context) {
	for collect.Pause(ctx, q.cfg.Visibility/3) {
		q.mu.Lock()
		receipts := make([]string, 0, len(q.held))
		for _, receipt := range q.held {
			receipts = append(receipts, receipt)
		}
		q.mu.Unlock()
		for _, receipt := range receipts {
			q.hide(ctx, receipt, q.cfg.Visibility)
		}
	}
}

// hide failing is no loss: the message comes again, and its events are counted once.
func (q *queue) hide(ctx context.Context, receipt string, d time.Duration) {
	_, err := q.cloud.sqs.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: &q.cfg.URL,
		ReceiptHandle: &receipt, VisibilityTimeout: int32(d.Seconds())})
	if err != nil && ctx.Err() == nil {
		q.say(refused("keep a message hidden", err, "sqs:ChangeMessageVisibility"))
		return
	}
	q.say(nil)
}
