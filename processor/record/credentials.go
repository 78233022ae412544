package record

import (
	"context"
	"fmt"
	"time"

	"github.com/leastwise/leastwise/internal/store"

	"github.com/leastwise/leastwise/processor/core"
	"github.com/leastwise/leastwise/processor/lifecycle"
)

// Credentials writes the state of credentials of a partition, as of now (unix nanoseconds). Rows of one key replace each
// other by offset, so an owner that lost the partition and still writes for a moment loses.
func Credentials(ctx context.Context, conn *store.DB, partition uint32, entries []*core.Entry, now int64) error {
	n := len(entries)
	var (
		key, typ, source, instance, state    = texts(n), texts(n), texts(n), texts(n), texts(n)
		principal, agent, owner, evidence    = texts(n), texts(n), texts(n), texts(n)
		system, how, parent, blob            = texts(n), texts(n), texts(n), texts(n)
		issued, expires, first, last, used   = times(n), times(n), times(n), times(n), times(n)
		deniedAt, revoked                    = times(n), times(n)
		never, known                         = make([]bool, n), make([]bool, n)
		children, uses, hour, day, week, mon = counts(n), counts(n), counts(n), counts(n), counts(n), counts(n)
		denied, distinct                     = counts(n), counts(n)
		policies, samples, violated          = make([][]string, n), make([][]string, n), make([][]string, n)
		labels                               = make([]map[string]string, n)
		permissions, usedPermissions         = make([]*uint64, n), make([]*uint64, n)
		weight                               = make([]*float64, n)
		reported                             = newReported(n)
		offsets                              = make([]int64, n)
	)
	for i, e := range entries {
		id := e.ID()
		key[i], typ[i], source[i], instance[i] = e.Key, id.Type, id.System, id.Instance
		state[i], principal[i], how[i], parent[i] = e.State(now).String(), e.Principal, e.RevokedHow, e.Parent
		if e.Match.Agent != nil {
			agent[i] = e.Match.Agent.ID
		}
		if e.Match.Owner != nil {
			owner[i] = e.Match.Owner.ID
		}
		if e.Match.System != nil {
			system[i] = e.Match.System.ID
		}
		evidence[i] = e.Match.Evidence
		if e.Match.Conflict != "" {
			evidence[i] = e.Match.Conflict
		}
		issued[i], expires[i], never[i] = maybeNanos(e.IssuedAt), maybeNanos(e.ExpiresAt), e.NeverExpires()
		first[i], last[i], used[i] = maybeNanos(e.FirstSeenAt), maybeNanos(e.LastSeenAt), maybeNanos(e.LastUsedAt)
		deniedAt[i] = maybeNanos(e.LastDeniedAt)
		if e.State(now) == lifecycle.Revoked {
			revoked[i] = maybeNanos(e.RevokedAt)
		}
		children[i], policies[i], labels[i] = uint64(len(e.Children())), e.Policies, e.Labels
		if e.Scope != nil && e.Scope.Known {
			count, w := uint64(e.Scope.Permissions), e.Scope.Weight
			known[i], permissions[i], weight[i] = true, &count, &w
			if n, ok := e.UsedPermissions(); ok {
				u := uint64(n)
				usedPermissions[i] = &u
			}
		}
		totals := e.Windows(now)
		uses[i], hour[i], day[i], week[i], mon[i] = e.Uses, totals.Hour, totals.Day, totals.Week, totals.Month
		denied[i], distinct[i], samples[i] = e.Denied, e.DeniedPermissions(), e.DeniedSamples()
		violated[i] = e.Decided.Policies
		reported.take(i, e)
		bytes, err := e.Marshal()
		if err != nil {
			return err
		}
		blob[i], offsets[i] = string(bytes), e.Offset
	}
	return insert(ctx, conn, "credentials", n, append([]column{
		{"credential", key}, {"type", typ}, {"source", source}, {"instance", instance}, {"state", state},
		{"principal", principal}, {"agent", agent}, {"owner", owner}, {"owner_evidence", evidence}, {"system_of_record", system},
		{"issued_at", issued}, {"expires_at", expires}, {"never_expires", never}, {"first_seen_at", first},
		{"last_seen_at", last}, {"last_used_at", used}, {"last_denied_at", deniedAt}, {"revoked_at", revoked},
		{"revoked_how", how}, {"parent", parent}, {"children", children}, {"policies", policies}, {"labels", labels},
		{"scope_known", known}, {"scope_permissions", permissions}, {"scope_weight", weight},
		{"used_permissions", usedPermissions}, {"uses", uses}, {"uses_1h", hour}, {"uses_24h", day}, {"uses_7d", week},
		{"uses_30d", mon}, {"denied", denied}, {"denied_permissions", distinct}, {"denied_samples", samples},
		{"violated_policies", violated}, {"blob", blob}, {"kafka_partition", repeat(partition, n)},
		{"applied_offset", offsets}, {"written_at", repeat(time.Unix(0, now), n)},
	}, reported.columns()...))
}

// LoadCredentials calls fn for every credential of a partition as last written.
func LoadCredentials(ctx context.Context, conn *store.DB, partition int, fn func(*lifecycle.Credential)) error {
	rows, err := conn.Query(ctx, `SELECT credential, blob FROM credentials FINAL WHERE kafka_partition = ?`, uint32(partition))
	if err != nil {
		return fmt.Errorf("load credentials of partition %d: %w", partition, err)
	}
	defer rows.Close()
	for rows.Next() {
		var key, blob string
		if err := rows.Scan(&key, &blob); err != nil {
			return fmt.Errorf("load credentials of partition %d: %w", partition, err)
		}
		cred, err := lifecycle.Load(key, []byte(blob))
		if err != nil {
			return fmt.Errorf("load credentials of partition %d: %w", partition, err)
		}
		fn(cred)
	}
	return rows.Err()
}

func texts(n int) []string     { return make([]string, n) }
func times(n int) []*time.Time { return make([]*time.Time, n) }
func counts(n int) []uint64    { return make([]uint64, n) }

// FindCredential gives the credential whose key is key or ends with it. It fails if there is none, or more than one.
func FindCredential(ctx context.Context, conn *store.DB, key string) (*lifecycle.Credential, error) {
	rows, err := conn.Query(ctx, `SELECT credential, blob FROM credentials FINAL
		WHERE credential = ? OR endsWith(credential, ?) ORDER BY credential = ? DESC LIMIT 2`, key, key, key)
	if err != nil {
		return nil, fmt.Errorf("find credential: %w", err)
	}
	defer rows.Close()
	var keys, blobs []string
	for rows.Next() {
		var found, blob string
		if err := rows.Scan(&found, &blob); err != nil {
			return nil, fmt.Errorf("find credential: %w", err)
		}
		keys, blobs = append(keys, found), append(blobs, blob)
	}
	switch {
	case rows.Err() != nil:
		return nil, fmt.Errorf("find credential: %w", rows.Err())
	case len(keys) == 0:
		return nil, fmt.Errorf("no credential has the key %q or one that ends so", key)
	case len(keys) > 1 && keys[0] != key:
		return nil, fmt.Errorf("more than one credential's key ends with %q: %s, %s, …; give more of it", key, keys[0], keys[1])
	}
	return lifecycle.Load(keys[0], []byte(blobs[0]))
}
