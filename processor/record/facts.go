package record

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/internal/store"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Facts collects rows of link_statements, grants, source_health and findings. Writing one again is harmless: the newest replaces it. The
// zero value is empty and ready.
type Facts struct {
	links  []*pb.Link
	grants []*pb.Grant
	beats  []*pb.Heartbeat
	found  []*pb.Finding
}

// Add takes a fact.
func (f *Facts) Add(fact *pb.Fact) {
	switch v := fact.Fact.(type) {
	case *pb.Fact_Link:
		f.links = append(f.links, v.Link)
	case *pb.Fact_Grant:
		f.grants = append(f.grants, v.Grant)
	case *pb.Fact_Heartbeat:
		f.beats = append(f.beats, v.Heartbeat)
	case *pb.Fact_Finding:
		f.found = append(f.found, v.Finding)
	}
}

// Len counts the facts that wait.
func (f *Facts) Len() int { return len(f.links) + len(f.grants) + len(f.beats) + len(f.found) }

// Flush writes what waits and empties it. After an error nothing was taken out.
func (f *Facts) Flush(ctx context.Context, conn *store.DB) error {
	if err := insertLinks(ctx, conn, f.links); err != nil {
		return err
	}
	if err := insertGrants(ctx, conn, f.grants); err != nil {
		return err
	}
	if err := insertBeats(ctx, conn, f.beats); err != nil {
		return err
	}
	if err := insertFound(ctx, conn, f.found); err != nil {
		return err
	}
	*f = Facts{}
	return nil
}

func insertLinks(ctx context.Context, conn *store.DB, links []*pb.Link) error {
	n := len(links)
	kind, from, to, confidence, evidence := texts(n), texts(n), texts(n), texts(n), texts(n)
	at, retracted := make([]time.Time, n), make([]bool, n)
	for i, l := range links {
		kind[i], from[i], to[i] = l.Kind.String(), l.From, l.To
		confidence[i], evidence[i], at[i], retracted[i] = l.Confidence.String(), l.Evidence, moment(l.At), l.Retracted
	}
	return insert(ctx, conn, "link_statements", n, []column{{"from_node", from}, {"to_node", to}, {"kind", kind},
		{"confidence", confidence}, {"at", at}, {"retracted", retracted}, {"evidence", evidence}})
}

func insertGrants(ctx context.Context, conn *store.DB, grants []*pb.Grant) error {
	n := len(grants)
	id, incomplete, body := texts(n), texts(n), texts(n)
	resources, capabilities := make([][]string, n), make([][][]string, n)
	asOf, deleted := make([]time.Time, n), make([]bool, n)
	for i, g := range grants {
		id[i], incomplete[i], asOf[i], deleted[i] = g.Id, g.Incomplete, moment(g.AsOf), g.Deleted
		bytes, err := g.MarshalVT()
		if err != nil {
			return fmt.Errorf("grant %s: %w", g.Id, err)
		}
		body[i] = string(bytes)
		for _, rule := range g.Rules {
			resources[i] = append(resources[i], rule.Resource)
			capabilities[i] = append(capabilities[i], rule.Capabilities)
		}
	}
	return insert(ctx, conn, "grants", n, []column{{"id", id}, {"resource", resources}, {"capabilities", capabilities},
		{"as_of", asOf}, {"deleted", deleted}, {"incomplete", incomplete}, {"body", body}})
}

func insertBeats(ctx context.Context, conn *store.DB, beats []*pb.Heartbeat) error {
	n := len(beats)
	source, instance, trouble := texts(n), texts(n), texts(n)
	records, events, letters, unknown := counts(n), counts(n), counts(n), counts(n)
	at, last := make([]time.Time, n), times(n)
	for i, b := range beats {
		source[i], instance[i], trouble[i], at[i], last[i] = b.Source, b.Instance, b.Trouble, moment(b.At), maybe(b.LastRecordAt)
		records[i], events[i], letters[i], unknown[i] = b.Records, b.Events, b.DeadLetters, b.Unknown
	}
	return insert(ctx, conn, "source_health", n, []column{{"source", source}, {"instance", instance}, {"at", at},
		{"last_record_at", last}, {"records", records}, {"events", events}, {"dead_letters", letters},
		{"unknown", unknown}, {"trouble", trouble}})
}

// LoadGrants calls put for every grant known.
func LoadGrants(ctx context.Context, conn *store.DB, put func(*pb.Grant) bool) error {
	return loadGrants(ctx, conn, "", put)
}

func loadGrants(ctx context.Context, conn *store.DB, where string, put func(*pb.Grant) bool) error {
	// Rows from before body was kept have the rules of a Vault policy in columns of their own.
	rows, err := conn.Query(ctx, `SELECT id, resource, capabilities, toUnixTimestamp64Nano(as_of), deleted, incomplete, body FROM grants FINAL `+where)
	if err != nil {
		return fmt.Errorf("load grants: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		g := &pb.Grant{}
		var resources []string
		var capabilities [][]string
		var asOf int64
		var body string
		if err := rows.Scan(&g.Id, &resources, &capabilities, &asOf, &g.Deleted, &g.Incomplete, &body); err != nil {
			return fmt.Errorf("load grants: %w", err)
		}
		if body != "" {
			g = &pb.Grant{}
			if err := g.UnmarshalVT([]byte(body)); err != nil {
				return fmt.Errorf("load grants: %w", err)
			}
			put(g)
			continue
		}
		g.AsOf = timestamppb.New(time.Unix(0, asOf))
		for i := range resources {
			g.Rules = append(g.Rules, &pb.Rule{Resource: resources[i], Capabilities: capabilities[i]})
		}
		put(g)
	}
	return rows.Err()
}
