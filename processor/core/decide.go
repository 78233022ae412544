package core

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/processor/lifecycle"
	"github.com/leastwise/leastwise/processor/scope"
	"github.com/leastwise/leastwise/rego"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// maxChildren named in a decision; the total is told besides.
const maxChildren = 50

// decide asks the policies and publishes the answer if it is news, or as a heartbeat while violations stand.
func (c *Core) decide(ctx context.Context, e *Entry, values *rego.Values, now int64) error {
	began := time.Now()
	sub := c.subject(e)
	result, err := c.rules.Evaluate(ctx, &sub, values)
	if err != nil {
		return fmt.Errorf("evaluate policies for %s: %w", e.Key, err)
	}
	if c.opts.OnDecision != nil {
		c.opts.OnDecision(time.Since(began), result.Asked)
	}
	c.usageEvidence(e, result.Violations, now)
	revision := c.inputRevision(e, result)
	heartbeat := len(result.Violations) > 0 && now >= e.Decided.At+int64(c.opts.Heartbeat)
	denials := c.denialsDue(e, now)
	if revision == without(e.Decided.Revision) && !heartbeat && !denials {
		return nil
	}
	if len(result.Violations) == 0 && e.Decided.Revision == "" && !denials {
		return nil // never violated anything: nothing to take back
	}
	c.publish(e, &pb.Decision{Violations: result.Violations, Ladder: result.Ladder}, now, revision)
	c.markDirty(e)
	return nil
}

// inputRevision is a hash of what the answer says: policies violated, severity, whom it concerns. Measured values are
// left out, because an age differs every second.
func (c *Core) inputRevision(e *Entry, result rego.Result) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00", c.rules.Revision(), e.Principal)
	if e.Match.Owner != nil {
		fmt.Fprintf(h, "%s\x00", e.Match.Owner.ID)
	}
	if e.Match.Agent != nil {
		fmt.Fprintf(h, "%s\x00", e.Match.Agent.ID)
	}
	for _, v := range result.Violations {
		fmt.Fprintf(h, "%s\x00%s\x00%s\x00", v.PolicyId, v.Metric, v.Severity)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func (c *Core) publish(e *Entry, d *pb.Decision, now int64, revision string) {
	at := timestamppb.New(lifecycle.Time(now))
	d.Credential, d.DecidedAt, d.AsOf, d.InputRevision = e.Key, at, at, revision+denialsRevision(e)
	d.Denials = denials(e)
	if c.rules != nil {
		d.PolicyRevision = c.rules.Revision()
	}
	d.Subject = c.describe(e, now)
	e.Decided = decided(d)
	if len(d.Violations) > 0 {
		d.Proposal = c.propose(e, now)
	}
	c.decisions = append(c.decisions, d)
}

func decided(d *pb.Decision) lifecycle.Decided {
	out := lifecycle.Decided{At: d.DecidedAt.AsTime().UnixNano(), Revision: d.InputRevision}
	for _, v := range d.Violations {
		out.Policies = append(out.Policies, v.PolicyId)
	}
	slices.Sort(out.Policies)
	out.Policies = slices.Compact(out.Policies)
	return out
}

// Published tells of a decision that stands in leastwise.decisions. A decision is published before the state that says
// so is written. After a crash between the two, the events that are read again may come together with later ones that
// end the credential, or what it violated: then nobody would decide what was decided, and nobody take it back. Call it
// after Load, with the decisions in their order, and before Apply.
func (c *Core) Published(d *pb.Decision) {
	said := decided(d)
	e := c.Entry(d.Credential)
	if e == nil {
		c.published[d.Credential] = said
		return
	}
	if said.At <= e.Decided.At {
		return
	}
	e.Decided = said
	c.touch(e)
	c.markDirty(e)
}

// describe tells the enforcer what it has to know of the credential.
func (c *Core) describe(e *Entry, now int64) *pb.Subject {
	key := e.ID()
	sub := &pb.Subject{Type: key.Type, Source: key.System, Instance: key.Instance, Principal: e.Principal,
		IssuedAt: stamp(e.IssuedAt), ExpiresAt: stamp(e.ExpiresAt), NeverExpires: e.NeverExpires(),
		State: e.State(now).String(), Policies: e.Policies, Labels: e.Labels, ChildrenTotal: uint64(len(e.Children()))}
	sub.Children = slices.Clone(e.Children()[:min(maxChildren, len(e.Children()))])
	if agent := e.Match.Agent; agent != nil {
		sub.Agent = agent.ID
	}
	if owner := e.Match.Owner; owner != nil {
		sub.Owner = owner.Message(e.Match.Evidence)
	}
	return sub
}

// propose computes the scope that observed use justifies. The `default` policy stays with every token that has it, so
// its permissions count on both sides.
func (c *Core) propose(e *Entry, now int64) *pb.Proposal {
	rules, incomplete := c.proposal(e, now)
	p := &pb.Proposal{Rules: scope.Proto(rules), Incomplete: incomplete,
		ObservedFrom: stamp(max(e.FirstSeenAt, now-int64(c.opts.Observation))), ObservedUntil: stamp(now)}
	if e.Scope == nil || !e.Scope.Known {
		return p
	}
	p.Granted = uint32(e.Scope.Permissions)
	kept := rules
	if slices.Contains(e.Policies, "default") {
		key := e.ID()
		kept = scope.Union(rules, c.opts.Grants.Scope(key.System, key.Instance, []string{"default"}).Rules)
	}
	p.Proposed = uint32(scope.Count(kept))
	return p
}

func stamp(nanos int64) *timestamppb.Timestamp {
	if nanos == 0 {
		return nil
	}
	return timestamppb.New(lifecycle.Time(nanos))
}
