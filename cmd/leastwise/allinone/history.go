package allinone

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/cmd/leastwise/narrower"
	"github.com/leastwise/leastwise/enforcer/target/aws"
	"github.com/leastwise/leastwise/enforcer/target/spire"
	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/processor/record"
	"github.com/leastwise/leastwise/processor/scope"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// historyPatience bounds one question to ClickHouse: an act waits for the answer.
const historyPatience = 10 * time.Second

// defaultObservation is the processor's.
const defaultObservation = 30 * 24 * time.Hour

// History answers the enforcer's targets from what is stored: what issuers do not list. Where ClickHouse can not be asked
// the answer is "unknown", never "nothing".
type History struct {
	Store *store.DB
	// Catalog in force; may be nil.
	Catalog func() *catalog.Catalog
	// Observation is how far back uses count; zero: 30 days.
	Observation time.Duration
	Now         func() time.Time
	Log         *slog.Logger
}

// AWS is for enforcer.Deps.
func (h *History) AWS() aws.History { return aws.History{Sessions: h.sessions, Used: h.used} }

func (h *History) sessions(ctx context.Context, role string, before time.Time) ([]aws.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, historyPatience)
	defer cancel()
	found, err := record.RoleSessions(ctx, h.Store, role, before, h.Now())
	if err != nil {
		return nil, err
	}
	sessions := make([]aws.Session, 0, len(found))
	for _, s := range found {
		sessions = append(sessions, aws.Session{Key: s.Key, Name: s.Name, SourceIdentity: s.SourceIdentity,
			IssuedAt: s.IssuedAt, ExpiresAt: s.ExpiresAt, Owner: s.Owner})
	}
	return sessions, nil
}

// used is what `leastwise rightsize` proposes for the principal. Whatever makes it doubtful makes it incomplete, and then
// nothing is narrowed by itself.
func (h *History) used(ctx context.Context, principal string) (*pb.Proposal, error) {
	ctx, cancel := context.WithTimeout(ctx, historyPatience)
	defer cancel()
	observed := h.Observation
	if observed == 0 {
		observed = defaultObservation
	}
	days := max(1, int(observed/(24*time.Hour)))
	var cat *catalog.Catalog
	if h.Catalog != nil {
		cat = h.Catalog()
	}
	key, err := record.PrincipalKey(ctx, h.Store, "cloudtrail", principal)
	if err != nil {
		return nil, err
	}
	if key == "" {
		return &pb.Proposal{Incomplete: "the events tell of no credential of " + principal}, nil
	}
	r, err := narrower.Ask(ctx, h.Store, cat, narrower.Question{Name: key, Days: days, Replay: days, Now: h.Now()})
	if err != nil {
		return nil, err
	}
	p := &pb.Proposal{ObservedFrom: timestamppb.New(r.From), ObservedUntil: timestamppb.New(r.Until), Proposed: uint32(r.Proposed)}
	if r.Granted != nil {
		p.Granted = uint32(*r.Granted)
	}
	if r.Proposal != nil {
		p.Rules = scope.Proto(r.Proposal.Rules)
	}
	doubts := r.Gaps
	if r.Refused != "" {
		doubts = append(doubts, r.Refused)
	}
	if len(r.Refusals) > 0 {
		doubts = append(doubts, "it would have refused what was used: "+r.Refusals[0].Permission+" on "+r.Refusals[0].Resource)
	}
	p.Incomplete = strings.Join(doubts, "; ")
	return p, nil
}

// SPIREIssued is for enforcer.Deps. An answer that can not be had is none: then the entry's own bound holds.
func (h *History) SPIREIssued(ctx context.Context, by spire.IssuedBy) (time.Time, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, historyPatience)
	defer cancel()
	latest, known, err := record.LastSVID(ctx, h.Store, by.Entry, by.Agent, by.Type, h.Now())
	if err != nil {
		h.Log.Warn("what SPIRE was seen to issue is not known: its own bounds are shown", "error", err)
		return time.Time{}, false, nil
	}
	return latest, known, nil
}
