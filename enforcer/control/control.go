// Package control changes the enforcer's settings while it runs: mode, kill
// switch, budget, approvals, rollbacks, restorations and what a re-issue denies, each a record of the topic
// leastwise.control. The command line and the console write them; the enforcer
// follows the topic and acts on nothing before it has read it whole.
//
// The functions return when the record is durable and block while no broker
// answers, until the context ends.
package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// ErrInvalid is wrapped by every refusal of a value.
var ErrInvalid = errors.New("not a valid setting")

// Class is what an act does, as far as approvals tell acts apart.
type Class string

// The classes.
const (
	Revoke Class = "revoke"
	// Narrow gives back less than there was, or narrows the role that issued.
	Narrow Class = "narrow"
	// Restore gives back what was taken.
	Restore Class = "restore"
	// Finish is the step of a revocation that can not be taken back.
	Finish Class = "finish"
	// Rotate replaces a SPIRE server's signing authority. No ladder does it: its
	// approvals name the authority that ends in place of a ladder.
	Rotate Class = "rotate"
)

// Classes are those of a ladder's acts.
var Classes = []Class{Revoke, Narrow, Restore, Finish}

// Log is where settings are written. *stream.Client is one.
type Log interface {
	Publish(ctx context.Context, msgs ...stream.Message) error
}

// Who changes a setting, and why: both stay in the record.
type Who struct {
	Name   string
	Reason string
}

// SetMode caps what the enforcer does, whatever policies say.
func SetMode(ctx context.Context, log Log, mode string, who Who, now time.Time) error {
	if _, err := ParseMode(mode); err != nil {
		return err
	}
	return put(ctx, log, "mode", pb.Control_MODE, mode, who, now)
}

// SetKillSwitch stops, or lets go on, every act at every target.
func SetKillSwitch(ctx context.Context, log Log, on bool, who Who, now time.Time) error {
	value := "off"
	if on {
		value = "on"
	}
	return put(ctx, log, "kill_switch", pb.Control_KILL_SWITCH, value, who, now)
}

// SetBudget bounds revocations an hour: "20/h 5%".
func SetBudget(ctx context.Context, log Log, budget string, who Who, now time.Time) error {
	if _, err := ParseBudget(budget); err != nil {
		return err
	}
	return put(ctx, log, "budget", pb.Control_BUDGET, budget, who, now)
}

// Resume lets revocations go on that a budget stopped: what was revoked
// before counts no more. The budget itself stays, so that it stops again.
func Resume(ctx context.Context, log Log, who Who, now time.Time) error {
	return put(ctx, log, keyResume, pb.Control_RESUME, "", who, now)
}

// Approve is one person's yes to an act of a ladder. Each person's is a record
// of its own: where a policy asks for two, two of them have to say it.
func Approve(ctx context.Context, log Log, ladderID string, act Class, who Who, now time.Time) error {
	if !slices.Contains(Classes, act) && act != Rotate {
		return fmt.Errorf("approve %q: %w: want one of %v", act, ErrInvalid, Classes)
	}
	if err := checkLadder(ladderID); err != nil {
		return err
	}
	c := record(pb.Control_APPROVE, ladderID, who, now)
	c.Act = string(act)
	return write(ctx, log, keyApprove+ladderID+"/"+string(act)+"/"+person(who.Name), c)
}

// ApproveLadder lets the ladder's revocation pass the approval guard.
func ApproveLadder(ctx context.Context, log Log, ladderID string, who Who, now time.Time) error {
	return Approve(ctx, log, ladderID, Revoke, who, now)
}

// Rollback asks the enforcer to undo the ladder's re-issue.
func Rollback(ctx context.Context, log Log, ladderID string, who Who, now time.Time) error {
	if err := checkLadder(ladderID); err != nil {
		return err
	}
	return put(ctx, log, keyRollback+ladderID, pb.Control_ROLLBACK, ladderID, who, now)
}

// RequestRestore asks the enforcer to give back what the ladder took. It needs
// a reason: it goes past everything that policies say.
func RequestRestore(ctx context.Context, log Log, ladderID string, who Who, now time.Time) error {
	if err := checkLadder(ladderID); err != nil {
		return err
	}
	if strings.TrimSpace(who.Reason) == "" {
		return fmt.Errorf("%w: give the reason why it has to work again", ErrInvalid)
	}
	return put(ctx, log, keyRestore+ladderID, pb.Control_RESTORE, ladderID, who, now)
}

// Denied notes what a credential was denied because of the ladder's re-issue,
// up to now: the newest record of a credential holds what the older ones held.
// The enforcer whose partition the credential is in writes it, since the ladder
// may be another one's.
func Denied(ctx context.Context, log Log, ladderID, credential string, denials []*pb.Denial, who Who, now time.Time) error {
	if err := checkLadder(ladderID); err != nil {
		return err
	}
	c := record(pb.Control_DENIED, ladderID, who, now)
	c.Denials = denials
	return write(ctx, log, keyDenied+ladderID+"/"+credential, c)
}

func checkLadder(id string) error {
	if id == "" || strings.Contains(id, "/") {
		return fmt.Errorf("%w: give the ladder's id, as the notification shows it", ErrInvalid)
	}
	return nil
}

// Keys of the topic. Each person's approval has a key of its own:
// approve/LADDER/ACT/PERSON; without act and person it means revoke.
const (
	keyResume   = "resume"
	keyApprove  = "approve/"
	keyRollback = "rollback/"
	keyRestore  = "restore/"
	keyDenied   = "denied/" // denied/LADDER/CREDENTIAL
)

func put(ctx context.Context, log Log, key string, setting pb.Control_Setting, value string, who Who, now time.Time) error {
	return write(ctx, log, key, record(setting, value, who, now))
}

func record(setting pb.Control_Setting, value string, who Who, now time.Time) *pb.Control {
	return &pb.Control{Setting: setting, Value: value, SetBy: who.Name, SetAt: timestamppb.New(now), Reason: who.Reason}
}

func write(ctx context.Context, log Log, key string, c *pb.Control) error {
	if strings.TrimSpace(c.SetBy) == "" {
		return fmt.Errorf("%w: say who sets it", ErrInvalid)
	}
	raw, err := c.MarshalVT()
	if err != nil {
		return fmt.Errorf("encode setting %s: %w", key, err)
	}
	if err := log.Publish(ctx, stream.Message{Topic: schemas.TopicControl, Key: []byte(key), Value: raw}); err != nil {
		return fmt.Errorf("write setting %s: %w", key, err)
	}
	return nil
}

// ParseMode reads observe, notify or enforce.
func ParseMode(text string) (pb.Ladder_Mode, error) {
	switch text {
	case "observe":
		return pb.Ladder_OBSERVE, nil
	case "notify":
		return pb.Ladder_NOTIFY, nil
	case "enforce":
		return pb.Ladder_ENFORCE, nil
	default:
		return pb.Ladder_OBSERVE, fmt.Errorf("mode %q: %w: want observe, notify or enforce", text, ErrInvalid)
	}
}

// Budget bounds how much may be revoked within an hour: at most Count, and at
// most Share of the live credentials, but one is always allowed as far as
// Count allows it. The zero value allows nothing.
type Budget struct {
	Count int
	// Share is a ratio: 0.05 for 5%.
	Share float64
}

// ParseBudget reads "20/h 5%".
func ParseBudget(text string) (Budget, error) {
	refuse := fmt.Errorf("budget %q: %w: want a count an hour and a share of the live credentials, such as \"20/h 5%%\"", text, ErrInvalid)
	fields := strings.Fields(text)
	if len(fields) != 2 {
		return Budget{}, refuse
	}
	count, ok := strings.CutSuffix(fields[0], "/h")
	if !ok {
		return Budget{}, refuse
	}
	percent, ok := strings.CutSuffix(fields[1], "%")
	if !ok {
		return Budget{}, refuse
	}
	n, err := strconv.ParseUint(count, 10, 31)
	if err != nil {
		return Budget{}, refuse
	}
	share, err := strconv.ParseFloat(percent, 64)
	if err != nil || !(share >= 0 && share <= 100) {
		return Budget{}, refuse
	}
	return Budget{Count: int(n), Share: share / 100}, nil
}

// ParseCount reads "5/h": a budget without a share, for a part of the
// credentials of which nobody counts how many live.
func ParseCount(text string) (Budget, error) {
	b, err := ParseBudget(text + " 100%")
	if err != nil {
		return Budget{}, fmt.Errorf("budget %q: %w: want a count an hour, such as \"5/h\"", text, ErrInvalid)
	}
	return b, nil
}

// Allows is how many revocations an hour the budget allows with that many live
// credentials.
func (b Budget) Allows(live int) int {
	if b.Count <= 0 || b.Share <= 0 {
		return 0
	}
	return min(b.Count, max(1, int(b.Share*float64(live))))
}

func (b Budget) String() string {
	return strconv.Itoa(b.Count) + "/h " + strconv.FormatFloat(b.Share*100, 'g', 4, 64) + "%"
}
