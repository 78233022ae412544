package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

// Message is one record. Publish ignores Partition and Offset: the key decides
// the partition and the broker the offset.
type Message struct {
	Topic     string
	Partition int
	Offset    int64
	Key       []byte
	Value     []byte // nil is a tombstone; an empty value is read back as nil too
	Headers   []Header
	Time      time.Time // zero: the time of publishing
}

// Header is one record header.
type Header = kafka.Header

// Topic is what EnsureTopics creates.
type Topic struct {
	Name       string
	Partitions int               // 0: Config.Partitions when created, any when it exists
	Settings   map[string]string // cleanup.policy, retention.ms, ...
}

// Client talks to one Kafka cluster. It is safe for concurrent use.
type Client struct {
	cfg       Config
	log       *slog.Logger
	dialer    *kafka.Dialer
	transport *kafka.Transport
	kafka     *kafka.Client

	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	mu      sync.Mutex // guards what follows
	counts  map[string]int
	senders map[topicPartition]*sender
	wg      sync.WaitGroup // running senders
}

type topicPartition struct {
	topic     string
	partition int
}

// Open reads the files that cfg names and returns a client. It does not
// connect: a broker that is away delays the first call, it does not fail Open.
func Open(_ context.Context, cfg Config, log *slog.Logger) (*Client, error) {
	if cfg.Embedded && len(cfg.Brokers) == 0 {
		return nil, ErrEmbedded
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	cfg = cfg.withDefaults()
	tlsConfig, err := cfg.TLS.load()
	if err != nil {
		return nil, err
	}
	mechanism, err := cfg.SASL.load()
	if err != nil {
		return nil, err
	}
	if cfg.SASL != nil && cfg.SASL.Mechanism == "plain" && tlsConfig == nil {
		log.Warn("kafka: sasl plain without tls sends the password in clear")
	}
	transport := &kafka.Transport{
		ClientID:    "leastwise",
		TLS:         tlsConfig,
		SASL:        mechanism,
		DialTimeout: 5 * time.Second,
		MetadataTTL: 5 * time.Second,
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Client{
		cfg:       cfg,
		log:       log,
		transport: transport,
		dialer: &kafka.Dialer{
			ClientID:      "leastwise",
			Timeout:       5 * time.Second,
			DualStack:     true,
			TLS:           tlsConfig,
			SASLMechanism: mechanism,
		},
		kafka:   &kafka.Client{Addr: kafka.TCP(cfg.Brokers...), Transport: transport},
		ctx:     ctx,
		cancel:  cancel,
		counts:  map[string]int{},
		senders: map[topicPartition]*sender{},
	}, nil
}

// Brokers are the configured addresses.
func (c *Client) Brokers() []string { return slices.Clone(c.cfg.Brokers) }

// Close ends every call in flight with ErrClosed and drops the connections.
func (c *Client) Close() error {
	c.cancel()
	c.wg.Wait()
	c.transport.CloseIdleConnections()
	return nil
}

// Ping returns nil when some broker answers now. It does not retry.
func (c *Client) Ping(ctx context.Context) error {
	return c.withConn(ctx, func(conn *kafka.Conn) error {
		_, err := conn.Brokers()
		return err
	})
}

// Partitions is the topic's partition count now, or ErrUnknownTopic.
func (c *Client) Partitions(ctx context.Context, topic string) (int, error) {
	var n int
	err := c.withConn(ctx, func(conn *kafka.Conn) error {
		parts, err := conn.ReadPartitions(topic)
		n = len(parts)
		if err == nil && n == 0 {
			err = kafka.UnknownTopicOrPartition
		}
		return err
	})
	if errors.Is(err, kafka.UnknownTopicOrPartition) {
		err = ErrUnknownTopic
	}
	if err != nil {
		return 0, fmt.Errorf("kafka: partitions of %s: %w", topic, err)
	}
	return n, nil
}

// waitPartitions is Partitions that outlasts an absent broker and a topic that
// is being created.
func (c *Client) waitPartitions(ctx context.Context, topic string) (n int, err error) {
	err = c.retry(ctx, "kafka: partitions of "+topic, func() error {
		n, err = c.Partitions(ctx, topic)
		if errors.Is(err, ErrUnknownTopic) {
			return kafka.UnknownTopicOrPartition // retry's patience applies
		}
		return err
	})
	return n, err
}

// EnsureTopics creates the topics that are missing. It fails with
// ErrPartitionMismatch when one exists with another count than asked for;
// settings of topics that exist are left as they are.
func (c *Client) EnsureTopics(ctx context.Context, topics []Topic) error {
	return c.retry(ctx, "kafka: create topics", func() error { return c.ensureTopics(ctx, topics) })
}

func (c *Client) ensureTopics(ctx context.Context, topics []Topic) error {
	for _, t := range topics {
		have, err := c.Partitions(ctx, t.Name)
		switch {
		case err == nil:
			if t.Partitions != 0 && have != t.Partitions {
				return fmt.Errorf("kafka: topic %s has %d partitions, %d asked for: %w",
					t.Name, have, t.Partitions, ErrPartitionMismatch)
			}
			continue
		case !errors.Is(err, ErrUnknownTopic):
			return err
		}
		if err := c.createTopic(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) createTopic(ctx context.Context, t Topic) error {
	want := t.Partitions
	if want == 0 {
		want = c.cfg.Partitions
	}
	tc := kafka.TopicConfig{Topic: t.Name, NumPartitions: want, ReplicationFactor: c.cfg.ReplicationFactor}
	for k, v := range t.Settings {
		tc.ConfigEntries = append(tc.ConfigEntries, kafka.ConfigEntry{ConfigName: k, ConfigValue: v})
	}
	slices.SortFunc(tc.ConfigEntries, func(a, b kafka.ConfigEntry) int { return strings.Compare(a.ConfigName, b.ConfigName) })
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	res, err := c.kafka.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{tc}})
	if err == nil {
		err = res.Errors[t.Name]
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kafka.TopicAlreadyExists):
		// Another component was faster. The next round checks its count.
		return fmt.Errorf("kafka: create topic %s: %w", t.Name, kafka.LeaderNotAvailable)
	case errors.Is(err, kafka.InvalidReplicationFactor):
		return fmt.Errorf("kafka: create topic %s with replication factor %d (set kafka.replication_factor to at most the number of brokers): %w",
			t.Name, c.cfg.ReplicationFactor, err)
	default:
		return fmt.Errorf("kafka: create topic %s: %w", t.Name, err)
	}
}

// withConn dials the first broker that answers.
func (c *Client) withConn(ctx context.Context, use func(*kafka.Conn) error) error {
	if c.ctx.Err() != nil {
		return ErrClosed
	}
	var errs []error
	for _, addr := range c.cfg.Brokers {
		conn, err := c.dialer.DialContext(ctx, "tcp", addr)
		if err != nil {
			errs = append(errs, fmt.Errorf("broker %s: %w", addr, err))
			continue
		}
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		err = use(conn)
		stop()
		conn.Close()
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("broker %s: %w", addr, err))
	}
	return errors.Join(errs...)
}
