package enforcer

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Readings of a journal entry. The entry is the whole truth about a ladder, so
// everything that decides its way is read from it by these, and nothing is
// kept beside it that a restart would lose.

// dueAt is when the grace period is over: the time that was announced, and
// never less than the announced grace after the owner was told. Zero: nothing
// was announced.
func dueAt(s *pb.LadderState) time.Time {
	if s.GetRevokeAt() == nil {
		return time.Time{}
	}
	due := s.RevokeAt.AsTime()
	if s.NotifiedAt != nil {
		if full := s.NotifiedAt.AsTime().Add(graceOf(s.Decision)); full.After(due) {
			due = full
		}
	}
	return due
}

func graceOf(d *pb.Decision) time.Duration {
	return time.Duration(max(0, d.GetLadder().GetGraceMs())) * time.Millisecond
}

// intended tells whether the journal holds an intent to revoke whose result is
// not known yet: from then on the target is asked before anything is concluded.
// The intent stores what the target called the credential.
func intended(s *pb.LadderState) bool {
	if givingBack(s) {
		return false
	}
	return s.GetState() == pb.LadderState_REVOKE_INTENDED || !ended(s) && !revoked(s) && s.GetIntendedAs() != ""
}

// revoked tells whether the target has proven the credential gone.
func revoked(s *pb.LadderState) bool {
	switch s.GetState() {
	case pb.LadderState_REVOKED, pb.LadderState_REISSUE_INTENDED, pb.LadderState_REISSUED, pb.LadderState_CLOSED, pb.LadderState_ROLLED_BACK,
		pb.LadderState_FINISH_INTENDED, pb.LadderState_FINISHED:
		return true
	default:
		return false
	}
}

// givingBack tells whether the credential is about to be, or was, given back:
// nothing is concluded from the intent to take it any more.
func givingBack(s *pb.LadderState) bool {
	return s.GetState() == pb.LadderState_RESTORE_INTENDED || s.GetState() == pb.LadderState_RESTORED
}

// exposed tells whether what was revoked may still be accepted somewhere, or
// was not yet proven not to be.
func exposed(s *pb.LadderState) bool {
	return s.GetWorksUntil() != nil && s.GetExposureEndedAt() == nil
}

// startedAt is when the ladder began, which its id says.
func startedAt(s *pb.LadderState) time.Time {
	if id := s.GetLadderId(); len(id) > len(ladderTime) {
		if at, err := time.Parse(ladderTime, id[:len(ladderTime)]); err == nil {
			return at
		}
	}
	return instant(s.GetAt())
}

// ended tells whether a new violation starts a new ladder.
func ended(s *pb.LadderState) bool {
	return s == nil || s.State == pb.LadderState_NONE || s.State == pb.LadderState_RESOLVED
}

const escalatedPrefix = "escalated to "

// escalated tells whether somebody was told that the ladder is stuck.
func escalated(s *pb.LadderState) bool { return strings.HasPrefix(s.GetReason(), escalatedPrefix) }

func policiesOf(d *pb.Decision) []string {
	var list []string
	for _, v := range d.GetViolations() {
		if !slices.Contains(list, v.PolicyId) {
			list = append(list, v.PolicyId)
		}
	}
	return list
}

// standing are the violations of d whose policies the ladder was started for.
func standing(started, d *pb.Decision) []*pb.Violation {
	known := policiesOf(started)
	var list []*pb.Violation
	for _, v := range d.GetViolations() {
		if slices.Contains(known, v.PolicyId) {
			list = append(list, v)
		}
	}
	return list
}

// over tells that the issuer's log or clock has ended the credential.
func over(d *pb.Decision) string {
	switch state := d.GetSubject().GetState(); state {
	case "revoked", "expired":
		return state
	default:
		return ""
	}
}

const ladderTime = "20060102T150405.000Z"

// newLadderID names a ladder by its start and its credential, so that ids sort
// by time and a resumed or repeated start gives the same one.
func newLadderID(credential string, at time.Time) string {
	sum := sha256.Sum256([]byte(credential))
	return at.UTC().Format(ladderTime) + "-" + hex.EncodeToString(sum[:4])
}

// changed tells whether d says something else than the journaled decision that
// a restart must not lose: measured values alone do not.
func changed(old, d *pb.Decision) bool {
	return !proto.Equal(outline(old), outline(d))
}

func outline(d *pb.Decision) *pb.Decision {
	o := &pb.Decision{
		PolicyRevision: d.GetPolicyRevision(), Ladder: d.GetLadder(), Proposal: &pb.Proposal{
			Rules: d.GetProposal().GetRules(), Incomplete: d.GetProposal().GetIncomplete(),
		},
		Subject: &pb.Subject{
			Owner: d.GetSubject().GetOwner(), State: d.GetSubject().GetState(),
			Policies: d.GetSubject().GetPolicies(), Labels: d.GetSubject().GetLabels(), Agent: d.GetSubject().GetAgent(),
			Principal: d.GetSubject().GetPrincipal(),
		},
	}
	for _, v := range d.GetViolations() {
		o.Violations = append(o.Violations, &pb.Violation{PolicyId: v.PolicyId, Metric: v.Metric, Threshold: v.Threshold, Condition: v.Condition})
	}
	return o
}

func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func instant(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

// ceilSecond rounds up: what is announced to the second is never early.
func ceilSecond(t time.Time) time.Time {
	if r := t.Truncate(time.Second); !r.Equal(t) {
		return r.Add(time.Second)
	}
	return t
}
