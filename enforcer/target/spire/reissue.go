package spire

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/leastwise/leastwise/enforcer/target"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Plan says to which TTL the entry would be cut: the longest that stands past
// no violated policy. Only TTLs are corrected: admin and downstream flags,
// selectors and names are for its owner.
func (t *Target) Plan(ctx context.Context, d *pb.Decision) (plan *pb.Reissue, refused string, err error) {
	k, err := t.of(ctx, target.Credential{Key: d.GetCredential(), Labels: d.GetSubject().GetLabels()})
	var u *unresolved
	if errors.As(err, &u) {
		return nil, u.detail, nil
	}
	if err != nil {
		return nil, "", err
	}
	by, ok := k.(*byEntry)
	if !ok {
		return nil, "an agent gets its SVID by attesting: there is no TTL of its own to correct", nil
	}
	limit, found := allowed(d)
	if !found {
		return nil, "no finding is about how long it lives, and only TTLs are corrected at SPIRE: flags, selectors and names are for its owner to change", nil
	}
	e, err := by.read(ctx)
	if err != nil {
		return nil, "", err
	}
	if e == nil {
		return nil, "its entry is gone", nil
	}
	ttl, known := t.ttl(e, by.jwt)
	switch {
	case !known:
		return nil, "the entry has the server's default TTL, which the configuration does not tell (enforcer.spire.default_x509_svid_ttl, default_jwt_svid_ttl)", nil
	case ttl <= limit:
		return nil, fmt.Sprintf("the entry's TTL of %s is within policy already", ttl), nil
	case t.cfg.SVID == Shorten && by.limit() <= limit:
		return nil, fmt.Sprintf("workloads go on with SVIDs that live for %s", by.limit()), nil
	}
	previous, why, err := t.keep(ctx, e)
	if err != nil {
		return nil, "", err
	}
	if why != "" {
		return nil, "the entry can not be kept for a rollback: " + why, nil
	}
	change := &entryv1.BatchUpdateEntryRequest{Entries: []*types.Entry{{Id: e.Id, X509SvidTtl: int32(limit / time.Second)}}, InputMask: &types.EntryMask{X509SvidTtl: true}}
	kind := "X.509-SVIDs"
	if by.jwt {
		change = &entryv1.BatchUpdateEntryRequest{Entries: []*types.Entry{{Id: e.Id, JwtSvidTtl: int32(limit / time.Second)}}, InputMask: &types.EntryMask{JwtSvidTtl: true}}
		kind = "JWT-SVIDs"
	}
	update, err := protojson.Marshal(change)
	if err != nil {
		return nil, "", impossible("write the plan", err)
	}
	return &pb.Reissue{PolicyName: "entry " + e.Id, PolicyText: string(update), Previous: previous, GrantedBefore: 1, GrantedAfter: 1,
		Narrowed: fmt.Sprintf("%s of %s live for %s, not %s", kind, text(e.SpiffeId), limit, ttl)}, "", nil
}

// Reissue makes the entry anew with the shorter TTL, or cuts the TTL of one
// that is there. It lengthens none. Agents fetch the SVIDs by themselves:
// nothing is delivered.
func (t *Target) Reissue(ctx context.Context, _ string, _ *pb.Decision, plan *pb.Reissue) (*pb.Reissue, error) {
	former, err := formerEntry(plan.GetPrevious())
	if err != nil {
		return nil, err
	}
	change := &entryv1.BatchUpdateEntryRequest{}
	if err := protojson.Unmarshal([]byte(plan.GetPolicyText()), change); err != nil {
		return nil, impossible("read the plan", err)
	}
	if former == nil || len(change.Entries) != 1 || change.Entries[0].Id != former.Id {
		return nil, impossible("read the plan", errors.New("it is not of this target"))
	}
	cut, jwt := change.Entries[0], change.InputMask.GetJwtSvidTtl()
	e, err := t.entry(ctx, former.Id)
	switch {
	case err != nil:
		return nil, err
	case e == nil && t.cfg.SVID == Shorten:
		return nil, impossible("cut the entry's TTL", errors.New("somebody has deleted the entry: it is not made anew"))
	case e == nil:
		e = proto.CloneOf(former)
		if jwt {
			e.JwtSvidTtl = cut.JwtSvidTtl
		} else {
			e.X509SvidTtl = cut.X509SvidTtl
		}
		return plan, t.createEntry(ctx, e)
	}
	limit := time.Duration(cut.X509SvidTtl+cut.JwtSvidTtl) * time.Second // one of them is set
	if ttl, known := t.ttl(e, jwt); !known || ttl > limit {
		return plan, t.update(ctx, cut, change.InputMask)
	}
	return plan, nil
}

// Rollback puts the entry's former TTLs back, and makes it anew if it is gone.
func (t *Target) Rollback(ctx context.Context, done *pb.Reissue) error {
	former, err := formerEntry(done.GetPrevious())
	if err != nil {
		return err
	}
	if former == nil {
		return impossible("put the entry back", errors.New("the journal does not say what it was"))
	}
	e, err := t.entry(ctx, former.Id)
	if err != nil {
		return err
	}
	if e == nil {
		return t.createEntry(ctx, former)
	}
	return t.putTTLs(ctx, former)
}

// allowed is the longest life that no violated policy is against.
func allowed(d *pb.Decision) (limit time.Duration, found bool) {
	for _, v := range d.GetViolations() {
		if v.GetMetric() != "lifetime" && v.GetMetric() != "credential_age" {
			continue
		}
		most, ok := duration(v.GetThreshold())
		switch v.GetCondition() {
		case "greater_than":
		case "greater_or_equal":
			most -= time.Second
		default:
			ok = false
		}
		if most = most.Truncate(time.Second); ok && most > 0 && (!found || most < limit) {
			limit, found = most, true
		}
	}
	return limit, found
}

// duration reads a threshold as decisions write it: as Go does, and with days.
func duration(text string) (time.Duration, bool) {
	days, rest, ok := strings.Cut(text, "d")
	if !ok {
		d, err := time.ParseDuration(text)
		return d, err == nil
	}
	d, err := time.ParseDuration(days + "h")
	if err != nil {
		return 0, false
	}
	d *= 24
	if rest == "" {
		return d, true
	}
	more, err := time.ParseDuration(rest)
	return d + more, err == nil
}
