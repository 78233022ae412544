package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/console/rules"
	"github.com/leastwise/leastwise/console/signin"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

type answer[T any] struct{ Body T }

func give[T any](body T) *answer[T] { return &answer[T]{Body: body} }

func operation(id, method, path, summary string, codes ...int) huma.Operation {
	return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Errors: append([]int{400, 401, 403, 429, 431, 503}, codes...)}
}

// Named names one of a list.
type Named struct {
	ID string `path:"id" maxLength:"200"`
}

type switched struct {
	Body struct {
		On     bool   `json:"on"`
		Reason string `json:"reason" minLength:"1" maxLength:"2000" doc:"Why; it stays in the record"`
	}
}

type moded struct {
	Body struct {
		Mode   string `json:"mode" enum:"observe,notify,enforce"`
		Reason string `json:"reason" minLength:"1" maxLength:"2000" doc:"Why; it stays in the record"`
	}
}

type wished struct {
	Body struct {
		Credential string    `json:"credential,omitempty" maxLength:"4000" doc:"Key; this or identity"`
		Identity   string    `json:"identity,omitempty" maxLength:"4000" doc:"Key of a principal: all its credentials"`
		Policy     string    `json:"policy" minLength:"1" maxLength:"500" doc:"Id; * for all"`
		Reason     string    `json:"reason" minLength:"1" maxLength:"4000"`
		Ticket     string    `json:"ticket,omitempty" maxLength:"500"`
		Until      time.Time `json:"until" doc:"When it ends by itself"`
	}
}

// writes register what goes to Kafka. Each returns when its record is durable, and none needs ClickHouse.
func (s *server) writes(api huma.API) {
	huma.Register(api, operation("kill", http.MethodPost, "/v1/enforcement/kill", "Stop every act at every issuer, or let them go on", 422),
		func(ctx context.Context, in *switched) (*answer[contract.Status], error) {
			if err := need(ctx, "use the kill switch", signin.Security); err != nil {
				return nil, err
			}
			if err := s.Ledger.Kill(ctx, in.Body.On, who(ctx), in.Body.Reason); err != nil {
				return nil, s.problem(err)
			}
			s.Log.Warn("kill switch", "on", in.Body.On, "by", person(ctx).Name, "reason", in.Body.Reason)
			s.Hub.Changed("control", nil)
			return give(s.status()), nil
		})
	huma.Register(api, operation("mode", http.MethodPost, "/v1/enforcement/mode", "Cap what the enforcer does", 422),
		func(ctx context.Context, in *moded) (*answer[contract.Status], error) {
			if err := need(ctx, "change the mode"); err != nil {
				return nil, err
			}
			if err := s.Ledger.SetMode(ctx, in.Body.Mode, who(ctx), in.Body.Reason); err != nil {
				return nil, s.problem(err)
			}
			s.Log.Warn("mode", "mode", in.Body.Mode, "by", person(ctx).Name, "reason", in.Body.Reason)
			s.Hub.Changed("control", nil)
			return give(s.status()), nil
		})
	s.acts(api)
	huma.Register(api, operation("request-exception", http.MethodPost, "/v1/exceptions", "Ask for an exception", 422), s.request)
	huma.Register(api, operation("approve-exception", http.MethodPost, "/v1/exceptions/{id}/approve", "Approve somebody else's exception", 404, 422),
		func(ctx context.Context, in *Named) (*answer[contract.Exception], error) {
			if err := need(ctx, "approve exceptions", signin.Approver); err != nil {
				return nil, err
			}
			return s.written(ctx)(s.Exceptions.Approve(ctx, in.ID, who(ctx)))
		})
	huma.Register(api, operation("revoke-exception", http.MethodPost, "/v1/exceptions/{id}/revoke", "End an exception now", 404, 422),
		func(ctx context.Context, in *Named) (*answer[contract.Exception], error) {
			if err := need(ctx, "end exceptions", signin.Owner, signin.Approver, signin.Security); err != nil {
				return nil, err
			}
			if e := s.Ledger.Get(in.ID); person(ctx).OnlyOwner() && (e == nil || e.RequestedBy != person(ctx).Name && !s.owns(ctx, e.Credential, e.Identity)) {
				return nil, huma.Error403Forbidden("It is not for a credential of yours, and you did not ask for it.")
			}
			return s.written(ctx)(s.Exceptions.Revoke(ctx, in.ID, who(ctx)))
		})
	huma.Register(api, operation("sign-out", http.MethodPost, "/v1/sign-out", "End this session"),
		func(ctx context.Context, _ *struct{}) (*struct {
			SetCookie string `header:"Set-Cookie"`
		}, error) {
			head := http.Header{}
			if session := signin.From(ctx); session != nil {
				s.Guard.SignOut(head, session)
			}
			return &struct {
				SetCookie string `header:"Set-Cookie"`
			}{head.Get("Set-Cookie")}, nil
		})
	huma.Register(api, operation("end-sessions", http.MethodPost, "/v1/sessions/end", "End all sessions of a person"),
		func(ctx context.Context, in *struct {
			Body struct {
				Name string `json:"name" minLength:"1" maxLength:"500"`
			}
		}) (*answer[endedSessions], error) {
			if in.Body.Name != person(ctx).Name {
				if err := need(ctx, "end other people's sessions"); err != nil {
					return nil, err
				}
			}
			n := s.Guard.Sessions.EndAll(in.Body.Name)
			s.Log.Warn("sessions ended", "of", in.Body.Name, "by", person(ctx).Name, "sessions", n)
			return give(endedSessions{n}), nil
		})
}

type endedSessions struct {
	Ended int `json:"ended" doc:"How many there were"`
}

func (s *server) request(ctx context.Context, in *wished) (*answer[contract.Exception], error) {
	if err := need(ctx, "ask for exceptions", signin.Owner, signin.Approver, signin.Security); err != nil {
		return nil, err
	}
	if person(ctx).OnlyOwner() && !s.owns(ctx, in.Body.Credential, in.Body.Identity) {
		return nil, huma.Error403Forbidden("You are not known to own it: ask its owner to ask, or somebody of security.")
	}
	return s.written(ctx)(s.Exceptions.Request(ctx, &pb.Exception{Credential: in.Body.Credential, Identity: in.Body.Identity, PolicyId: in.Body.Policy,
		Reason: in.Body.Reason, Ticket: in.Body.Ticket, Until: timestamppb.New(in.Body.Until)}, who(ctx)))
}

// owns tells whether a credential, or all that an identity holds, is the person's. It asks the fleet in memory.
func (s *server) owns(ctx context.Context, credential, identity string) bool {
	mine := person(ctx).Owners
	if credential != "" {
		it := s.Fleet.Snapshot().Get(credential)
		return it != nil && slices.Contains(mine, it.Owner)
	}
	some := false
	for _, it := range s.Fleet.Snapshot().Items {
		if it.Principal == identity && identity != "" {
			if !slices.Contains(mine, it.Owner) {
				return false
			}
			some = true
		}
	}
	return some
}

// written answers with an exception that is durable now.
func (s *server) written(ctx context.Context) func(*pb.Exception, error) (*answer[contract.Exception], error) {
	return func(e *pb.Exception, err error) (*answer[contract.Exception], error) {
		if err != nil {
			return nil, s.problem(err)
		}
		s.Ledger.Put(e)
		s.Log.Info("exception written", "id", e.Id, "by", person(ctx).Name)
		s.Hub.Changed("exceptions", []string{e.Credential + e.Identity})
		return give(s.exception(ctx, e)), nil
	}
}

func missing(what, name string) error {
	return fmt.Errorf("%w: no %s %q", rules.ErrNotFound, what, name)
}
