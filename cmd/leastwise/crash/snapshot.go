package crash

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/processor/record"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// snapshot is all that a pipeline made of the log.
type snapshot struct {
	events  map[[16]byte]int // rows, by event id
	derived map[[16]byte]int // of those that follow from other events
	letters map[[32]byte]int // rows, by the hash of the line
	states  map[string]*credential
	journal map[string][]*pb.LadderState // of each credential, from Kafka, in its order
	entries int
	told    int // messages of leastwise.events: what is more than the events was published again after a kill
	// What ClickHouse holds of the journal, and the rows of the audit log that prove themselves.
	recorded, proven uint64
	chain            error
}

// credential is one row of the table.
type credential struct {
	columns []string // values of columns, as text
	state   *pb.CredentialState
}

// open reads what runs in s.
func (s *site) open(ctx context.Context) (*allinone.Engines, error) {
	var cfg allinone.Config
	if err := daemon.Load(s.config, &cfg); err != nil {
		return nil, err
	}
	return attach(ctx, cfg, daemon.NewEnv("crash", slog.New(slog.DiscardHandler)))
}

func take(ctx context.Context, engines *allinone.Engines) (*snapshot, error) {
	s := &snapshot{letters: map[[32]byte]int{}, states: map[string]*credential{}, journal: map[string][]*pb.LadderState{}}
	var err error
	db := engines.Store
	if s.events, err = ids(ctx, db, "position != 'derived'"); err != nil {
		return nil, err
	}
	if s.derived, err = ids(ctx, db, "position = 'derived'"); err != nil {
		return nil, err
	}
	if err := s.takeLetters(ctx, db); err != nil {
		return nil, err
	}
	if err := s.takeCredentials(ctx, db); err != nil {
		return nil, err
	}
	if err := each(ctx, engines.Stream, schemas.TopicEnforcement, s.addEntry); err != nil {
		return nil, err
	}
	if err := each(ctx, engines.Stream, schemas.TopicEvents, func(stream.Message) error { s.told++; return nil }); err != nil {
		return nil, err
	}
	if err := db.QueryRow(ctx, "SELECT count() FROM enforcement FINAL").Scan(&s.recorded); err != nil {
		return nil, fmt.Errorf("count the recorded journal: %w", err)
	}
	if s.proven, err = record.VerifyChains(ctx, db); errors.Is(err, record.ErrChain) {
		s.chain, err = err, nil
	}
	return s, err
}

// ids counts the rows of each event, as they are in the table: FINAL or DISTINCT would hide what is looked for.
func ids(ctx context.Context, db *store.DB, where string) (map[[16]byte]int, error) {
	rows, err := db.Query(ctx, "SELECT id FROM events WHERE "+where)
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	defer rows.Close()
	out := map[[16]byte]int{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("read events: %w", err)
		}
		out[[16]byte([]byte(id))]++
	}
	return out, rows.Err()
}

// takeLetters reads with FINAL, as the table's comment says: its rows of one id are one letter.
func (s *snapshot) takeLetters(ctx context.Context, db *store.DB) error {
	rows, err := db.Query(ctx, "SELECT sha256 FROM dead_letters FINAL")
	if err != nil {
		return fmt.Errorf("read dead letters: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var sum string
		if err := rows.Scan(&sum); err != nil {
			return fmt.Errorf("read dead letters: %w", err)
		}
		s.letters[[32]byte([]byte(sum))]++
	}
	return rows.Err()
}

// columns are those that a reader sees of a credential, but for times, which are compared in its state.
var columns = []string{"type", "source", "instance", "state", "principal", "agent", "owner", "never_expires", "revoked_how", "parent",
	"children", "policies", "mapSort(labels)", "scope_known", "scope_permissions", "used_permissions", "uses", "uses_1h", "uses_24h", "uses_7d",
	"uses_30d", "denied", "denied_permissions", "denied_samples", "violated_policies"}

func (s *snapshot) takeCredentials(ctx context.Context, db *store.DB) error {
	texts := make([]string, len(columns))
	for i, column := range columns {
		texts[i] = "ifNull(toString(" + column + "), 'unknown')"
	}
	rows, err := db.Query(ctx, "SELECT credential, blob, array("+strings.Join(texts, ", ")+") FROM credentials FINAL")
	if err != nil {
		return fmt.Errorf("read credentials: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var key, blob string
		c := &credential{state: &pb.CredentialState{}}
		if err := rows.Scan(&key, &blob, &c.columns); err != nil {
			return fmt.Errorf("read credentials: %w", err)
		}
		if err := c.state.UnmarshalVT([]byte(blob)); err != nil {
			return fmt.Errorf("read the state of %s: %w", key, err)
		}
		s.states[key] = c
	}
	return rows.Err()
}

func (s *snapshot) addEntry(m stream.Message) error {
	l := &pb.LadderState{}
	if err := l.UnmarshalVT(m.Value); err != nil {
		return fmt.Errorf("read the journal: %w", err)
	}
	s.journal[l.Credential] = append(s.journal[l.Credential], l)
	s.entries++
	return nil
}

// each reads a topic whole.
func each(ctx context.Context, client *stream.Client, topic string, fn func(stream.Message) error) error {
	partitions, err := client.Partitions(ctx, topic)
	if err != nil {
		return err
	}
	for p := range partitions {
		if _, err := client.ReadPartition(ctx, topic, p, stream.Earliest, fn); err != nil {
			return err
		}
	}
	return nil
}
