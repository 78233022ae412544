package api

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/console/fleet"
	"github.com/leastwise/leastwise/console/rules"
	"github.com/leastwise/leastwise/console/signin"
	"github.com/leastwise/leastwise/console/view"
)

type ladderApproved struct {
	Body struct {
		Ladder string `json:"ladder" minLength:"1" maxLength:"500" doc:"Id of the ladder"`
		Act    string `json:"act,omitempty" enum:"revoke,narrow,restore,finish" default:"revoke" doc:"What is approved"`
		Reason string `json:"reason" minLength:"1" maxLength:"2000" doc:"Why; it stays in the record"`
	}
}

type ladderNamed struct {
	Body struct {
		Ladder string `json:"ladder" minLength:"1" maxLength:"500" doc:"Id of the ladder"`
		Reason string `json:"reason" minLength:"1" maxLength:"2000" doc:"Why; it stays in the record"`
	}
}

type because struct {
	Body struct {
		Reason string `json:"reason" minLength:"1" maxLength:"2000" doc:"Why; it stays in the record"`
	}
}

// acts register what people decide on ladders. Like the other writes they need no ClickHouse: a ladder is found in the fleet
// as last known.
func (s *server) acts(api huma.API) {
	huma.Register(api, operation("approve-ladder", http.MethodPost, "/v1/enforcement/approve", "Approve an act of a ladder, as one of the people whom its policy asks for", 404, 422), s.approveLadder)
	huma.Register(api, operation("restore-ladder", http.MethodPost, "/v1/enforcement/restore", "Break the glass: ask for what a ladder took", 404, 422), s.restoreLadder)
	huma.Register(api, operation("roll-back-ladder", http.MethodPost, "/v1/enforcement/rollback", "Ask for the scope that a ladder's re-issue replaced", 404, 422), s.rollBackLadder)
	huma.Register(api, operation("resume", http.MethodPost, "/v1/enforcement/resume", "Let revocations go on that a budget stopped", 422),
		func(ctx context.Context, in *because) (*answer[contract.Status], error) {
			if err := need(ctx, "let revocations go on", signin.Security); err != nil {
				return nil, err
			}
			if strings.TrimSpace(in.Body.Reason) == "" {
				return nil, huma.Error422UnprocessableEntity(noReason)
			}
			if err := s.Ledger.Resume(ctx, who(ctx), in.Body.Reason); err != nil {
				return nil, s.problem(err)
			}
			s.Log.Warn("revocations go on", "by", person(ctx).Name, "reason", in.Body.Reason)
			s.Hub.Changed("control", nil)
			return give(s.status()), nil
		})
}

const noReason = "Say why: it stays in the record."

// onLadder finds a ladder, and answers with how it stands after something was written on it.
func (s *server) onLadder(ctx context.Context, ladder, reason, what string, do func(*fleet.Item) error) (*answer[contract.LadderState], error) {
	if strings.TrimSpace(reason) == "" {
		return nil, huma.Error422UnprocessableEntity(noReason)
	}
	for _, it := range s.Fleet.Snapshot().Items {
		if it.Ladder.GetLadderId() != ladder {
			continue
		}
		if err := do(it); err != nil {
			return nil, err
		}
		s.Log.Warn(what, "ladder", ladder, "credential", it.Key, "by", person(ctx).Name, "reason", reason)
		s.Hub.Changed("ladders", []string{it.Key})
		return give(*s.view(ctx).Ladder(it)), nil
	}
	return nil, s.problem(missing("ladder", ladder))
}

func (s *server) approveLadder(ctx context.Context, in *ladderApproved) (*answer[contract.LadderState], error) {
	if err := need(ctx, "approve what is to be done", signin.Approver, signin.Security); err != nil {
		return nil, err
	}
	act := in.Body.Act
	return s.onLadder(ctx, in.Body.Ladder, in.Body.Reason, "approved: "+act, func(it *fleet.Item) error {
		if view.Needed(it.Ladder, act) == 0 {
			return huma.Error422UnprocessableEntity("Its policy asks for no approval of this: it goes on by itself.")
		}
		if _, why, forbidden := s.approvals(ctx, it, act); forbidden {
			return huma.Error403Forbidden(why)
		} else if why != "" {
			return huma.Error422UnprocessableEntity(why)
		}
		return s.problem(s.Ledger.ApproveAct(ctx, in.Body.Ladder, act, who(ctx), in.Body.Reason))
	})
}

func (s *server) restoreLadder(ctx context.Context, in *ladderNamed) (*answer[contract.LadderState], error) {
	if err := need(ctx, "ask for what was taken", signin.Approver, signin.Security); err != nil {
		return nil, err
	}
	return s.onLadder(ctx, in.Body.Ladder, in.Body.Reason, "asked back", func(it *fleet.Item) error {
		if why := (asker{s, ctx}).NotRestore(it); why != "" {
			return huma.Error422UnprocessableEntity(why)
		}
		return s.problem(s.Ledger.Restore(ctx, in.Body.Ladder, who(ctx), in.Body.Reason))
	})
}

func (s *server) rollBackLadder(ctx context.Context, in *ladderNamed) (*answer[contract.LadderState], error) {
	if err := need(ctx, "put a former scope back", signin.Approver, signin.Security); err != nil {
		return nil, err
	}
	return s.onLadder(ctx, in.Body.Ladder, in.Body.Reason, "rolled back", func(it *fleet.Item) error {
		if why := (asker{s, ctx}).NotRollBack(it); why != "" {
			return huma.Error422UnprocessableEntity(why)
		}
		return s.problem(s.Ledger.RollBack(ctx, in.Body.Ladder, who(ctx), in.Body.Reason))
	})
}

// approvals of an act, and why who asks may not add theirs: forbidden if nobody like them may, whatever comes. Who answers
// for a credential does not decide on it, and nobody counts twice, or for what they asked for themselves.
func (s *server) approvals(ctx context.Context, it *fleet.Item, act string) (given []contract.Approval, why string, forbidden bool) {
	p, id := person(ctx), it.Ladder.GetLadderId()
	wish := s.Ledger.Restoring(id)
	given = []contract.Approval{}
	mine := false
	for _, a := range s.Ledger.Approvals(id, act) {
		if act == rules.Restore && wish != nil && same(a.By, wish.By) {
			continue
		}
		mine = mine || same(a.By, p.Name)
		given = append(given, contract.Approval{Name: a.By, At: a.At.UTC()})
	}
	left := view.Missing(it.Ladder, act, given)
	switch {
	case left == 0:
		return given, "It is approved already.", false
	case act == rules.Restore && wish == nil:
		return given, "Nobody has asked for it back.", false
	case !view.ToCome(it.Ladder, act):
		return given, "This is not to come any more.", false
	case !p.Is(signin.Approver, signin.Security):
		return given, "One needs the role approver or security.", true
	case it.Owner != "" && slices.Contains(p.Owners, it.Owner):
		return given, "You answer for it: somebody else has to approve.", true
	case act == rules.Restore && same(wish.By, p.Name):
		return given, "You asked for it: somebody else has to approve.", true
	case mine && len(given) < view.Needed(it.Ladder, act):
		return given, "You have approved it: one more person has to.", true
	}
	return given, "", false
}

func same(a, b string) bool { return strings.EqualFold(strings.TrimSpace(a), strings.TrimSpace(b)) }

// asker is who asks, to the view.
type asker struct {
	s   *server
	ctx context.Context // lives as long as one answer
}

// Approvals implements view.Asker, as do the others.
func (a asker) Approvals(it *fleet.Item, act string) ([]contract.Approval, string) {
	given, why, _ := a.s.approvals(a.ctx, it, act)
	return given, why
}

func (a asker) NotRestore(it *fleet.Item) string {
	switch {
	case !view.Taken(it.Ladder):
		return "Nothing was taken that could be given back. Ask for an exception instead."
	case !person(a.ctx).Is(signin.Approver, signin.Security):
		return "One needs the role approver or security."
	}
	wish, known := a.s.Ledger.Restoring(it.Ladder.LadderId), it.Ladder.Restoration
	if wish != nil && (known == nil || known.Refused == "" && known.DoneAt == nil || wish.At.After(known.AskedAt.AsTime())) {
		return wish.By + " has asked for it already."
	}
	return ""
}

func (a asker) NotRollBack(it *fleet.Item) string {
	switch {
	case !view.Reissued(it.Ladder):
		return "Nothing narrower stands in its place."
	case !person(a.ctx).Is(signin.Approver, signin.Security):
		return "One needs the role approver or security."
	case a.RollingBack(it.Ladder.LadderId):
		return "Somebody has asked for it already."
	}
	return ""
}

func (a asker) Restoring(ladder string) *rules.Wish { return a.s.Ledger.Restoring(ladder) }

func (a asker) RollingBack(ladder string) bool { return a.s.Ledger.RollingBack(ladder) }
