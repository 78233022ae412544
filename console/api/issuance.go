package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/console/rules"
	"github.com/leastwise/leastwise/console/signin"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// maxIssuances in an answer; older ones are in the audit log.
const maxIssuances = 500

type decided struct {
	Named
	Body struct {
		Reason string `json:"reason" minLength:"1" maxLength:"2000" doc:"Why; it stays in the record"`
	}
}

// issuances are what agents ask the broker for beyond policy. They are exceptions, one for each policy; here they are
// decided together. The broker issues when the agent asks again.
func (s *server) issuances(api huma.API) {
	huma.Register(api, operation("issuances", http.MethodGet, "/v1/issuance", "Credentials that agents ask the broker for beyond policy, newest first"),
		func(ctx context.Context, in *struct {
			State string `query:"state" enum:"waiting,approved,issued,refused,ended,"`
		}) (*answer[contract.List[contract.Issuance]], error) {
			out := contract.List[contract.Issuance]{Items: []contract.Issuance{}}
			for _, all := range s.requests() {
				if one := s.issuance(ctx, all); (in.State == "" || one.State == in.State) && len(out.Items) < maxIssuances {
					out.Items = append(out.Items, one)
				}
			}
			return give(out), nil
		})
	huma.Register(api, operation("approve-issuance", http.MethodPost, "/v1/issuance/{id}/approve", "Let the broker issue it when the agent asks again", 404, 422),
		func(ctx context.Context, in *decided) (*answer[contract.Issuance], error) {
			if err := need(ctx, "approve what agents ask for", signin.Approver); err != nil {
				return nil, err
			}
			return s.decide(ctx, in, "approved", s.Exceptions.ApproveIssuance)
		})
	huma.Register(api, operation("refuse-issuance", http.MethodPost, "/v1/issuance/{id}/refuse", "Refuse it, also after it was approved", 404, 422),
		func(ctx context.Context, in *decided) (*answer[contract.Issuance], error) {
			if err := need(ctx, "refuse what agents ask for", signin.Approver, signin.Security); err != nil {
				return nil, err
			}
			return s.decide(ctx, in, "refused", s.Exceptions.RefuseIssuance)
		})
}

func (s *server) decide(ctx context.Context, in *decided, what string, do func(ctx context.Context, request, why string, who rules.Who) ([]*pb.Exception, error)) (*answer[contract.Issuance], error) {
	if strings.TrimSpace(in.Body.Reason) == "" {
		return nil, huma.Error422UnprocessableEntity(noReason)
	}
	all, err := do(ctx, in.ID, in.Body.Reason, who(ctx))
	if err != nil {
		return nil, s.problem(err)
	}
	for _, e := range all {
		s.Ledger.Put(e)
	}
	s.Log.Warn("issuance "+what, "request", in.ID, "by", person(ctx).Name, "reason", in.Body.Reason)
	s.Hub.Changed("exceptions", []string{in.ID})
	return give(s.issuance(ctx, all)), nil
}

// requests are the exceptions of each request, newest request first.
func (s *server) requests() (out [][]*pb.Exception) {
	at := map[string]int{}
	for _, e := range s.Ledger.All() {
		id := e.GetIssuance().GetRequest()
		if id == "" {
			continue
		}
		if _, known := at[id]; !known {
			at[id] = len(out)
			out = append(out, nil)
		}
		out[at[id]] = append(out[at[id]], e)
	}
	return out
}

// issuance tells of one request; all are its exceptions.
func (s *server) issuance(ctx context.Context, all []*pb.Exception) contract.Issuance {
	of, now := all[0].Issuance, s.Now()
	out := contract.Issuance{ID: of.Request, Agent: of.Agent, Owner: of.Owner, AskedBy: all[0].RequestedBy, Identity: all[0].Identity,
		AskedAt: instant(all[0].RequestedAt), Type: of.Type, Policies: append([]string{}, of.Policies...), Rules: []contract.IssuanceRule{}, Role: maybe(of.Role), Name: maybe(of.Name),
		Seconds: of.LifetimeSeconds, Reason: of.Reason, Objections: []contract.IssuanceObjection{}}
	for _, r := range of.Rules {
		out.Rules = append(out.Rules, contract.IssuanceRule{Path: r.Resource, Capabilities: append([]string{}, r.Capabilities...)})
	}
	sorted := slices.SortedFunc(slices.Values(all), func(a, b *pb.Exception) int { return strings.Compare(a.PolicyId, b.PolicyId) })
	states := map[string]int{}
	why := ""
	for _, e := range sorted {
		state := s.Ledger.State(e, now)
		states[state]++
		out.Objections = append(out.Objections, contract.IssuanceObjection{Policy: e.PolicyId, Says: append([]string{}, e.Issuance.Objections...), Exception: e.Id, Approved: state == "in force"})
		if until := instant(e.Until); until != nil && (out.Until == nil || until.Before(*out.Until)) {
			out.Until = until
		}
		if e.Issuance.IssuedAt.IsValid() {
			out.IssuedAt, out.EndsAt, out.Accessor = instant(e.Issuance.IssuedAt), instant(e.Issuance.EndsAt), maybe(e.Issuance.Accessor)
		}
		switch {
		case e.RevokedAt.IsValid():
			out.DecidedBy, out.DecidedAt, out.DecidedWhy = maybe(e.RevokedBy), instant(e.RevokedAt), maybe(e.RevokedWhy)
		case e.ApprovedAt.IsValid() && out.DecidedBy == nil:
			out.DecidedBy, out.DecidedAt, out.DecidedWhy = maybe(e.ApprovedBy), instant(e.ApprovedAt), maybe(e.ApprovedWhy)
		}
		if state == "waiting" && why == "" {
			why = s.Exceptions.MayApprove(e, who(ctx))
		}
	}
	switch {
	case out.IssuedAt != nil:
		out.State = "issued"
	case states["revoked"] > 0:
		out.State = "refused"
	case states["ended"] > 0:
		out.State = "ended"
	case states["waiting"] > 0:
		out.State = "waiting"
	default:
		out.State = "approved"
	}
	switch {
	case out.State != "waiting":
		why = "It does not wait for anybody."
	case !person(ctx).Is(signin.Approver):
		why = "One needs the role approver."
	}
	out.MayApprove, out.WhyNot = why == "", maybe(why)
	out.MayRefuse = (out.State == "waiting" || out.State == "approved") && person(ctx).Is(signin.Approver, signin.Security)
	return out
}

func instant(at *timestamppb.Timestamp) *time.Time {
	if !at.IsValid() {
		return nil
	}
	t := at.AsTime().UTC()
	return &t
}
