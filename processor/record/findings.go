package record

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/internal/store"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// insertFound writes what was noticed to be wrong, or to stand no more. Written again, the newest word replaces.
func insertFound(ctx context.Context, conn *store.DB, findings []*pb.Finding) error {
	n := len(findings)
	source, instance, kind, subject, detail := texts(n), texts(n), texts(n), texts(n), texts(n)
	evidence, about := make([][]string, n), make([][]string, n)
	standing, since, said, seen := make([]bool, n), make([]time.Time, n), make([]time.Time, n), counts(n)
	for i, f := range findings {
		source[i], instance[i], kind[i], subject[i], detail[i] = f.Source, f.Instance, f.Kind, f.Subject, f.Detail
		evidence[i], about[i], standing[i], seen[i] = f.Evidence, f.About, f.Standing, f.Count
		since[i], said[i] = moment(f.Since), moment(f.At)
	}
	return insert(ctx, conn, "findings", n, []column{{"source", source}, {"instance", instance}, {"kind", kind},
		{"subject", subject}, {"detail", detail}, {"evidence", evidence}, {"about", about}, {"standing", standing},
		{"since", since}, {"seen", seen}, {"said_at", said}})
}

// StandingOf lists the findings of a kind that stand.
func StandingOf(ctx context.Context, conn *store.DB, kind string) ([]*pb.Finding, error) {
	return readFindings(ctx, conn, `WHERE standing AND kind = ?`, kind)
}

// FindingsAbout lists those that stand and concern one of the names: of a credential, or of an identity.
func FindingsAbout(ctx context.Context, conn *store.DB, names []string) ([]*pb.Finding, error) {
	return readFindings(ctx, conn, `WHERE standing AND hasAny(about, ?)`, names)
}

func readFindings(ctx context.Context, conn *store.DB, where string, args ...any) ([]*pb.Finding, error) {
	rows, err := conn.Query(ctx, `SELECT source, instance, kind, subject, detail, evidence, about, seen, toUnixTimestamp64Nano(since)
		FROM findings FINAL `+where+` ORDER BY kind, subject, source, instance`, args...)
	if err != nil {
		return nil, fmt.Errorf("read findings: %w", err)
	}
	defer rows.Close()
	var out []*pb.Finding
	for rows.Next() {
		f := &pb.Finding{Standing: true}
		var since int64
		if err := rows.Scan(&f.Source, &f.Instance, &f.Kind, &f.Subject, &f.Detail, &f.Evidence, &f.About, &f.Count, &since); err != nil {
			return nil, fmt.Errorf("read findings: %w", err)
		}
		f.Since = timestamppb.New(time.Unix(0, since))
		out = append(out, f)
	}
	if rows.Err() != nil {
		return nil, fmt.Errorf("read findings: %w", rows.Err())
	}
	return out, nil
}

// FindingTotal counts the findings of a source and kind that stand.
type FindingTotal struct {
	Source, Kind string
	Standing     uint64
}

// FindingTotals counts what stands; what stood once and stands no more is there with 0.
func FindingTotals(ctx context.Context, conn *store.DB) ([]FindingTotal, error) {
	rows, err := conn.Query(ctx, `SELECT source, kind, countIf(standing) FROM findings FINAL GROUP BY source, kind`)
	if err != nil {
		return nil, fmt.Errorf("count findings: %w", err)
	}
	defer rows.Close()
	var out []FindingTotal
	for rows.Next() {
		var t FindingTotal
		if err := rows.Scan(&t.Source, &t.Kind, &t.Standing); err != nil {
			return nil, fmt.Errorf("count findings: %w", err)
		}
		out = append(out, t)
	}
	if rows.Err() != nil {
		return nil, fmt.Errorf("count findings: %w", rows.Err())
	}
	return out, nil
}
