package api_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/console/rules"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// ruling stands for the enforcer's rules and the policies: as few of them as the API's own behaviour needs.
type ruling struct {
	log *topics
	now func() time.Time

	mu  sync.Mutex
	set rules.Settings
	// metrics of the one policy, where a test wants others than its own.
	metrics []rules.Metric
	acts    []*pb.Control
}

func (r *ruling) Apply(m stream.Message) error {
	c := &pb.Control{}
	if err := c.UnmarshalVT(m.Value); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch c.Setting {
	case pb.Control_MODE:
		r.set.Mode = c.Value
	case pb.Control_KILL_SWITCH:
		r.set.Killed, r.set.By, r.set.Why, r.set.At = c.Value == "on", c.SetBy, c.Reason, c.SetAt.AsTime()
	}
	r.acts = append(r.acts, c)
	return nil
}

func (r *ruling) ApproveAct(ctx context.Context, ladder, act string, who rules.Who, reason string) error {
	return r.put(ctx, "approve/"+ladder+"/"+act+"/"+who.Name, &pb.Control{Setting: pb.Control_APPROVE, Value: ladder, Act: act, SetBy: who.Name, Reason: reason})
}

// written are the records of a setting on a ladder, each person's and act's newest.
func (r *ruling) written(setting pb.Control_Setting, ladder string) map[string]*pb.Control {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string]*pb.Control{}
	for _, c := range r.acts {
		if c.Setting == setting && c.Value == ladder {
			out[c.Act+" "+c.SetBy] = c
		}
	}
	return out
}

func (r *ruling) Approvals(ladder, act string) (list []rules.Approval) {
	for _, c := range r.written(pb.Control_APPROVE, ladder) {
		if c.Act == act {
			list = append(list, rules.Approval{By: c.SetBy, At: c.SetAt.AsTime()})
		}
	}
	slices.SortFunc(list, func(a, b rules.Approval) int { return strings.Compare(a.By, b.By) })
	return list
}

func (r *ruling) Resume(ctx context.Context, who rules.Who, reason string) error {
	return r.put(ctx, "resume", &pb.Control{Setting: pb.Control_RESUME, SetBy: who.Name, Reason: reason})
}

func (r *ruling) Restore(ctx context.Context, ladder string, who rules.Who, reason string) error {
	return r.put(ctx, "restore/"+ladder, &pb.Control{Setting: pb.Control_RESTORE, Value: ladder, SetBy: who.Name, Reason: reason})
}

func (r *ruling) Restoring(ladder string) *rules.Wish {
	for _, c := range r.written(pb.Control_RESTORE, ladder) {
		return &rules.Wish{By: c.SetBy, Reason: c.Reason, At: c.SetAt.AsTime()}
	}
	return nil
}

func (r *ruling) RollBack(ctx context.Context, ladder string, who rules.Who, reason string) error {
	return r.put(ctx, "rollback/"+ladder, &pb.Control{Setting: pb.Control_ROLLBACK, Value: ladder, SetBy: who.Name, Reason: reason})
}

func (r *ruling) RollingBack(ladder string) bool {
	return len(r.written(pb.Control_ROLLBACK, ladder)) > 0
}

func (r *ruling) Now() rules.Settings {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.set
}

func (r *ruling) put(ctx context.Context, key string, c *pb.Control) error {
	c.SetAt = timestamppb.New(r.now())
	raw, err := c.MarshalVT()
	if err != nil {
		return err
	}
	m := stream.Message{Topic: schemas.TopicControl, Key: []byte(key), Value: raw}
	return errors.Join(r.log.Publish(ctx, m), r.Apply(m))
}

func (r *ruling) Kill(ctx context.Context, on bool, who rules.Who, reason string) error {
	return r.put(ctx, "kill_switch", &pb.Control{Setting: pb.Control_KILL_SWITCH, Value: map[bool]string{true: "on", false: "off"}[on], SetBy: who.Name, Reason: reason})
}

func (r *ruling) SetMode(ctx context.Context, mode string, who rules.Who, reason string) error {
	return r.put(ctx, "mode", &pb.Control{Setting: pb.Control_MODE, Value: mode, SetBy: who.Name, Reason: reason})
}

func (r *ruling) Decode(m stream.Message) (*pb.Exception, error) {
	e := &pb.Exception{}
	return e, e.UnmarshalVT(m.Value)
}

func (r *ruling) write(ctx context.Context, e *pb.Exception) (*pb.Exception, error) {
	raw, err := e.MarshalVT()
	if err != nil {
		return nil, err
	}
	return e, r.log.Publish(ctx, stream.Message{Topic: schemas.TopicExceptions, Key: []byte(e.Id), Value: raw})
}

func (r *ruling) find(id string) (*pb.Exception, error) {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	var found *pb.Exception
	for _, m := range r.log.all {
		if m.Topic == schemas.TopicExceptions && string(m.Key) == id {
			found = &pb.Exception{}
			if err := found.UnmarshalVT(m.Value); err != nil {
				return nil, err
			}
		}
	}
	if found == nil {
		return nil, rules.ErrNotFound
	}
	return found, nil
}

func (r *ruling) Request(ctx context.Context, e *pb.Exception, who rules.Who) (*pb.Exception, error) {
	if !e.Until.AsTime().After(r.now()) {
		return nil, fmt.Errorf("%w: until is not in the future", rules.ErrRefused)
	}
	r.log.mu.Lock()
	e.Id = fmt.Sprintf("ex-%d", len(r.log.all))
	r.log.mu.Unlock()
	e.RequestedBy, e.RequestedAt = who.Name, timestamppb.New(r.now())
	return r.write(ctx, e)
}

func (r *ruling) Approve(ctx context.Context, id string, who rules.Who) (*pb.Exception, error) {
	e, err := r.find(id)
	if err != nil {
		return nil, err
	}
	if why := r.MayApprove(e, who); why != "" {
		return nil, fmt.Errorf("%w: %s", rules.ErrForbidden, why)
	}
	e.ApprovedBy, e.ApprovedAt = who.Name, timestamppb.New(r.now())
	return r.write(ctx, e)
}

func (r *ruling) Revoke(ctx context.Context, id string, who rules.Who) (*pb.Exception, error) {
	e, err := r.find(id)
	if err != nil {
		return nil, err
	}
	e.RevokedBy, e.RevokedAt = who.Name, timestamppb.New(r.now())
	return r.write(ctx, e)
}

func (r *ruling) ofRequest(request string) (out []*pb.Exception) {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	byID := map[string]*pb.Exception{}
	for _, m := range r.log.all {
		if e, err := r.Decode(m); m.Topic == schemas.TopicExceptions && err == nil && e.GetIssuance().GetRequest() == request {
			byID[e.Id] = e
		}
	}
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		out = append(out, byID[id])
	}
	return out
}

func (r *ruling) ApproveIssuance(ctx context.Context, request, why string, who rules.Who) ([]*pb.Exception, error) {
	all := r.ofRequest(request)
	if len(all) == 0 {
		return nil, rules.ErrNotFound
	}
	for _, e := range all {
		if why := r.MayApprove(e, who); why != "" {
			return nil, fmt.Errorf("%w: %s", rules.ErrForbidden, why)
		}
		e.ApprovedBy, e.ApprovedAt, e.ApprovedWhy = who.Name, timestamppb.New(r.now()), why
		if _, err := r.write(ctx, e); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (r *ruling) RefuseIssuance(ctx context.Context, request, why string, who rules.Who) ([]*pb.Exception, error) {
	all := r.ofRequest(request)
	if len(all) == 0 {
		return nil, rules.ErrNotFound
	}
	for _, e := range all {
		e.RevokedBy, e.RevokedAt, e.RevokedWhy = who.Name, timestamppb.New(r.now()), why
		if _, err := r.write(ctx, e); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (r *ruling) MayApprove(e *pb.Exception, who rules.Who) string {
	if e.RequestedBy == who.Name {
		return "You asked for it."
	}
	return ""
}

func (r *ruling) Valid(e *pb.Exception, now time.Time) bool {
	return e.ApprovedAt.IsValid() && e.RevokedAt == nil && e.Until.AsTime().After(now)
}

func (r *ruling) Rego() []rules.Text {
	return []rules.Text{{File: "decision.rego", Source: "package leastwise"}}
}

func (r *ruling) All() ([]rules.Policy, string) {
	if r.metrics != nil {
		return []rules.Policy{{ID: "long-lived", Title: "Lives too long", Severity: "high", Mode: "enforce", MatchAll: true, Metrics: r.metrics, Line: 3}}, "r2"
	}
	return []rules.Policy{{ID: "long-lived", Title: "Lives too long", Severity: "high", Mode: "enforce",
		Metrics: []rules.Metric{{Name: "lifetime", Source: "any", Condition: "greater_than", Text: "1h", Unit: "seconds", Value: 3600}}}}, "r1"
}

func (r *ruling) Applying(rules.Subject) []string { return []string{"long-lived"} }

func (r *ruling) Parse(_, text string) (float64, error) {
	d, err := time.ParseDuration(text)
	return d.Seconds(), err
}

func (r *ruling) Expected(agent string) float64 {
	if agent == "busy" {
		return 2
	}
	return 0
}

func (r *ruling) Node(key string) string { return key }
