package record

import (
	"context"
	"time"

	"github.com/leastwise/leastwise/internal/store"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

func insertDecisions(ctx context.Context, conn *store.DB, partition uint32, decisions []numbered[*pb.Decision]) error {
	n := len(decisions)
	credential, revision, input, mode, owner, agent := texts(n), texts(n), texts(n), texts(n), texts(n), texts(n)
	at, offset := make([]time.Time, n), make([]int64, n)
	policies, metrics, values := make([][]string, n), make([][]string, n), make([][]string, n)
	thresholds, severities := make([][]string, n), make([][]string, n)
	deviations, deviation := make([][]float64, n), make([]float64, n)
	granted, proposed := make([]*uint32, n), make([]*uint32, n)
	for i, row := range decisions {
		d := row.value
		credential[i], revision[i], input[i], at[i], offset[i] = d.Credential, d.PolicyRevision, d.InputRevision, moment(d.DecidedAt), row.offset
		for _, v := range d.Violations {
			policies[i], metrics[i], values[i] = append(policies[i], v.PolicyId), append(metrics[i], v.Metric), append(values[i], v.Value)
			thresholds[i], severities[i] = append(thresholds[i], v.Threshold), append(severities[i], v.Severity)
			deviations[i], deviation[i] = append(deviations[i], v.Deviation), max(deviation[i], v.Deviation)
		}
		mode[i] = d.GetLadder().GetMode().String()
		owner[i], agent[i] = d.GetSubject().GetOwner().GetId(), d.GetSubject().GetAgent()
		if p := d.Proposal; p != nil && p.Granted > 0 {
			granted[i], proposed[i] = &p.Granted, &p.Proposed
		}
	}
	return insert(ctx, conn, "decisions", n, []column{{"credential", credential}, {"decided_at", at},
		{"policy_revision", revision}, {"input_revision", input}, {"policies", policies}, {"metrics", metrics},
		{"values", values}, {"thresholds", thresholds}, {"severities", severities}, {"deviations", deviations}, {"deviation", deviation},
		{"mode", mode}, {"owner", owner}, {"agent", agent}, {"granted", granted}, {"proposed", proposed},
		{"kafka_partition", repeat(partition, n)}, {"kafka_offset", offset}})
}

func insertLadders(ctx context.Context, conn *store.DB, partition uint32, ladders []numbered[*pb.LadderState]) error {
	n := len(ladders)
	credential, ladder, state, waiting := texts(n), texts(n), texts(n), texts(n)
	failure, proof, policy, exception, reason := texts(n), texts(n), texts(n), texts(n), texts(n)
	step, at, offset := make([]uint64, n), make([]time.Time, n), make([]int64, n)
	revokeAt, notified, works, seen := times(n), times(n), times(n), times(n)
	told := make([][]string, n)
	attempt, before, after := make([]uint32, n), make([]uint32, n), make([]uint32, n)
	for i, row := range ladders {
		l := row.value
		credential[i], ladder[i], step[i], state[i], at[i], offset[i] = l.Credential, l.LadderId, l.Step, l.State.String(), moment(l.At), row.offset
		revokeAt[i], notified[i], works[i], seen[i] = maybe(l.RevokeAt), maybe(l.NotifiedAt), maybe(l.WorksUntil), maybe(l.SeenInLogAt)
		told[i], waiting[i], proof[i], exception[i], reason[i] = l.Told, l.Waiting, l.Proof, l.ExceptionId, l.Reason
		attempt[i], failure[i] = l.GetAttempt().GetNumber(), l.GetAttempt().GetError()
		policy[i], before[i], after[i] = l.GetReissue().GetPolicyName(), l.GetReissue().GetGrantedBefore(), l.GetReissue().GetGrantedAfter()
	}
	return insert(ctx, conn, "enforcement", n, []column{{"credential", credential}, {"ladder_id", ladder}, {"step", step},
		{"state", state}, {"at", at}, {"revoke_at", revokeAt}, {"notified_at", notified}, {"told", told},
		{"waiting", waiting}, {"attempt", attempt}, {"attempt_error", failure}, {"proof", proof}, {"works_until", works},
		{"seen_in_log_at", seen}, {"reissued_policy", policy}, {"granted_before", before}, {"granted_after", after},
		{"exception_id", exception}, {"reason", reason}, {"kafka_partition", repeat(partition, n)}, {"kafka_offset", offset}})
}

func insertExceptions(ctx context.Context, conn *store.DB, exceptions []numbered[*pb.Exception]) error {
	n := len(exceptions)
	id, credential, identity, policy, reason, ticket := texts(n), texts(n), texts(n), texts(n), texts(n), texts(n)
	requestedBy, approvedBy, revokedBy := texts(n), texts(n), texts(n)
	until, requested, approved, revoked := times(n), times(n), times(n), times(n)
	offset := make([]int64, n)
	for i, row := range exceptions {
		e := row.value
		id[i], credential[i], identity[i], policy[i], reason[i], ticket[i] = e.Id, e.Credential, e.Identity, e.PolicyId, e.Reason, e.Ticket
		requestedBy[i], approvedBy[i], revokedBy[i], offset[i] = e.RequestedBy, e.ApprovedBy, e.RevokedBy, row.offset
		until[i], requested[i], approved[i], revoked[i] = maybe(e.Until), maybe(e.RequestedAt), maybe(e.ApprovedAt), maybe(e.RevokedAt)
	}
	return insert(ctx, conn, "exceptions", n, []column{{"id", id}, {"credential", credential}, {"identity", identity},
		{"policy_id", policy}, {"reason", reason}, {"ticket", ticket}, {"until", until}, {"requested_by", requestedBy},
		{"requested_at", requested}, {"approved_by", approvedBy}, {"approved_at", approved}, {"revoked_by", revokedBy},
		{"revoked_at", revoked}, {"kafka_offset", offset}})
}

func insertDeadLetters(ctx context.Context, conn *store.DB, letters []*pb.DeadLetter) error {
	n := len(letters)
	source, instance, position, reason := texts(n), texts(n), texts(n), texts(n)
	detail, excerpt := texts(n), texts(n)
	id, sum := make([][]byte, n), make([][]byte, n)
	length, at := counts(n), make([]time.Time, n)
	for i, l := range letters {
		id[i], sum[i], source[i], instance[i], position[i] = l.Id, l.Sha256, l.Source, l.Instance, l.Position
		reason[i], detail[i], excerpt[i], length[i], at[i] = l.Reason, l.Detail, l.Excerpt, l.Length, moment(l.ObservedAt)
	}
	return insert(ctx, conn, "dead_letters", n, []column{{"id", id}, {"source", source}, {"instance", instance},
		{"position", position}, {"reason", reason}, {"detail", detail}, {"sha256", sum}, {"length", length},
		{"excerpt", excerpt}, {"observed_at", at}})
}
