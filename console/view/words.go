// Package view turns what the fleet knows into the answers of the contract: figures as of now, sentences for people, duties,
// what-if and the pictures' columns. It reads nothing and waits for nothing.
package view

import (
	"strings"
	"time"

	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/console/fleet"
	"github.com/leastwise/leastwise/console/rules"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// sentence says in plain words what a violation is.
func sentence(metric, condition, value, threshold string) string {
	value, threshold = plain(value), plain(threshold)
	most := "the policy allows " + threshold + " at most"
	switch condition {
	case "greater_or_equal":
		most = "the policy allows less than " + threshold
	case "less_or_equal":
		most = "the policy asks for more than " + threshold
	case "less_than":
		most = "the policy asks for " + threshold + " at least"
	case "equals":
		most = "the policy does not allow that"
	case "not_equals":
		most = "the policy asks for " + threshold
	}
	switch metric {
	case "credential_age":
		return "It is " + value + " old; " + most + "."
	case "lifetime":
		if value == "never ends" {
			return "It never ends; " + most + "."
		}
		return "It lives for " + value + "; " + most + "."
	case "remaining_validity":
		if value == "never ends" {
			return "It never ends; " + most + "."
		}
		if strings.HasPrefix(condition, "less") {
			return "It ends in " + value + "."
		}
		return "It is valid for another " + value + "; " + most + "."
	case "permission_scope_complexity":
		return "It holds " + value + " permissions; " + most + "."
	case "scope_weight":
		return "The weight of what it may do is " + value + "; " + most + "."
	case "unused_permission_ratio":
		return value + " of what it may do was never used; " + most + "."
	case "idle_time":
		if strings.HasPrefix(condition, "less") {
			return "It was used " + value + " ago; it should not have been used within " + threshold + "."
		}
		return "It was not used for " + value + "; " + most + "."
	case "utilization_ratio":
		return "It is used at " + value + " of what was expected; " + most + "."
	case "elevation_attempts":
		return "It was refused " + value + " different permissions; " + most + "."
	case "novelty":
		return "It did " + value + " things for the first time today; " + most + "."
	case "rotation_age":
		return "It was last replaced " + value + " ago; " + most + "."
	case "unresolved_identity":
		return "Nobody is known who answers for it."
	case "issued_but_unused":
		return "It was issued and never used."
	case "used_but_unissued":
		return "It is used, and no log tells that it was issued."
	case "usage_contradiction":
		return "What the agent and the issuer tell of its use can not both be true."
	}
	if value == "" {
		return "It stands past this policy."
	}
	return strings.ReplaceAll(metric, "_", " ") + " is " + value + "; " + most + "."
}

func violation(v *pb.Violation) contract.Violation {
	out := contract.Violation{Policy: v.PolicyId, Metric: v.Metric, Value: v.Value, Threshold: v.Threshold, Condition: v.Condition,
		Severity: v.Severity, Hint: v.Hint, Evidence: v.Evidence, Title: sentence(v.Metric, v.Condition, v.Value, v.Threshold)}
	if out.Severity == "" {
		out.Severity = "info"
	}
	if v.Deviation > 0 {
		out.Deviation = &v.Deviation
	}
	return out
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func moment(t interface {
	IsValid() bool
	AsTime() time.Time
}) *time.Time {
	if !t.IsValid() {
		return nil
	}
	at := t.AsTime().UTC()
	return &at
}

// label says in words where a ladder stands.
func label(l *pb.LadderState) string {
	switch l.State {
	case pb.LadderState_VIOLATED:
		if l.GetDecision().GetLadder().GetMode() == pb.Ladder_OBSERVE {
			return "found, and only observed"
		}
		return "found, the owner is not told yet"
	case pb.LadderState_NOTIFIED:
		if l.RevokeAt.IsValid() {
			return "told, waiting until the grace period ends"
		}
		return "told"
	case pb.LadderState_REMINDED:
		return "reminded, waiting until the grace period ends"
	case pb.LadderState_HELD:
		if awaited(l) {
			return "held until somebody approves it"
		}
		if l.Waiting != "" {
			return "held: " + waiting(l.Waiting)
		}
		return "held"
	case pb.LadderState_REVOKE_INTENDED:
		return "being revoked"
	case pb.LadderState_REVOKED:
		if exposed(l) {
			return "revoked, and still works for a while where nobody asks the issuer"
		}
		return "revoked and verified"
	case pb.LadderState_REISSUE_INTENDED:
		return "revoked and verified, a narrower one is being issued"
	case pb.LadderState_REISSUED:
		return "revoked and verified, a narrower one was issued"
	case pb.LadderState_CLOSED:
		if l.Proof != "" {
			return "closed: revoked and verified"
		}
		return "closed"
	case pb.LadderState_RESOLVED:
		return "resolved: it stands within policy again"
	case pb.LadderState_EXEMPTED:
		return "excepted for now"
	case pb.LadderState_RETRYING:
		return "the revocation failed and is tried again"
	case pb.LadderState_ESCALATED:
		return "stuck: somebody has to look"
	case pb.LadderState_ROLLED_BACK:
		return "the re-issue was undone"
	case pb.LadderState_RESTORE_INTENDED:
		return "being given back: " + l.GetRestoration().GetAskedBy() + " asked for it"
	case pb.LadderState_RESTORED:
		return "given back: " + l.GetRestoration().GetAskedBy() + " asked for it"
	case pb.LadderState_FINISH_INTENDED:
		return "revoked and verified, now being deleted"
	case pb.LadderState_FINISHED:
		return "revoked, verified and deleted"
	}
	return "nothing is under way"
}

// awaited tells whether a person's word is all that is missing.
func awaited(l *pb.LadderState) bool {
	return strings.HasPrefix(l.Waiting, "approval: ") && !strings.Contains(l.Waiting, ";")
}

// exposed tells whether what was revoked may still be accepted somewhere.
func exposed(l *pb.LadderState) bool { return l.WorksUntil != nil && l.ExposureEndedAt == nil }

// LadderOver tells whether nothing more follows by itself.
func LadderOver(l *pb.LadderState) bool {
	switch l.GetState() {
	case pb.LadderState_NONE, pb.LadderState_CLOSED, pb.LadderState_RESOLVED, pb.LadderState_ROLLED_BACK, pb.LadderState_RESTORED:
		return true
	}
	return false
}

// acted tells whether something was done at the issuer.
func acted(l *pb.LadderState) bool {
	switch l.GetState() {
	case pb.LadderState_REVOKED, pb.LadderState_REISSUE_INTENDED, pb.LadderState_REISSUED, pb.LadderState_ROLLED_BACK,
		pb.LadderState_FINISH_INTENDED, pb.LadderState_FINISHED:
		return true
	case pb.LadderState_CLOSED:
		return l.Proof != ""
	}
	return false
}

func ladder(l *pb.LadderState) *contract.LadderState {
	if l == nil || l.State == pb.LadderState_NONE {
		return nil
	}
	out := &contract.LadderState{State: strings.ToLower(l.State.String()), Label: label(l), Since: l.At.AsTime().UTC(),
		ID: l.LadderId, NeedsApproval: Needed(l, rules.Revoke) > 0, Waiting: text(waiting(l.Waiting)), Awaited: awaited(l), Mode: strings.ToLower(l.GetDecision().GetLadder().GetMode().String())}
	told(out, l)
	next := func(what string, at *time.Time) { out.Next, out.NextAt = &what, at }
	switch l.State {
	case pb.LadderState_VIOLATED:
		if l.GetDecision().GetLadder().GetMode() != pb.Ladder_OBSERVE {
			next("the owner is told", nil)
		}
	case pb.LadderState_NOTIFIED, pb.LadderState_REMINDED:
		if l.RevokeAt.IsValid() && l.GetDecision().GetLadder().GetRevoke() {
			next("revoked", moment(l.RevokeAt))
		}
	case pb.LadderState_HELD:
		next("revoked, once nothing holds it", nil)
	case pb.LadderState_REVOKE_INTENDED:
		next("revoked", nil)
	case pb.LadderState_RETRYING:
		next("tried again", moment(l.GetAttempt().GetNextAt()))
	case pb.LadderState_REVOKED, pb.LadderState_REISSUE_INTENDED:
		if l.GetDecision().GetLadder().GetReissue() {
			next("a narrower one is issued", nil)
		}
	}
	return out
}

// Revocable tells whether the ladder's revocation is still to come.
func Revocable(l *pb.LadderState) bool { return l.GetLadderId() != "" && !LadderOver(l) && !acted(l) }

// Step is an entry of the journal.
func Step(l *pb.LadderState) contract.LadderStep {
	to := l.Told
	if to == nil {
		to = []string{}
	}
	return contract.LadderStep{At: l.At.AsTime().UTC(), State: strings.ToLower(l.State.String()), Label: label(l), Reason: l.Reason,
		Proof: text(l.Proof), Error: text(l.GetAttempt().GetError()), Told: to}
}

func severity(n uint8) *string {
	if n == 0 {
		return nil
	}
	return text(fleet.Severities[n])
}
