package grafana

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/leastwise/leastwise/processor/record"
	"github.com/leastwise/leastwise/schemas"
)

type marshaler interface{ MarshalVT() ([]byte, error) }

// writeHistory writes decisions and journal entries as the recorder does.
func (s *site) writeHistory(ctx context.Context, st *story) error {
	decided := record.History{Topic: schemas.TopicDecisions, Partition: historyPartition}
	done := record.History{Topic: schemas.TopicEnforcement, Partition: historyPartition}
	add := func(h *record.History, offset int, key string, m marshaler) error {
		value, err := m.MarshalVT()
		if err != nil {
			return err
		}
		return h.Add(int64(offset), []byte(key), value, st.now)
	}
	var failed error
	for i, d := range decisions(st) {
		failed = cmp.Or(failed, add(&decided, i, d.Credential, d))
	}
	for i, l := range ladders(st) {
		failed = cmp.Or(failed, add(&done, i, l.Credential, l))
	}
	if failed != nil {
		return failed
	}
	var a, b record.Chain
	return errors.Join(decided.Write(ctx, s.db, &a, time.Now()), done.Write(ctx, s.db, &b, time.Now()))
}
