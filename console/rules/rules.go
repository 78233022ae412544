// Package rules says what the console takes from the rooms that it does not import: the policies in force, the enforcer's
// settings and its rules of exceptions. Whoever starts the console fills it in.
package rules

import (
	"context"
	"errors"
	"time"

	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/internal/stream"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

var (
	// ErrRefused is wrapped by errors that the caller mends by asking otherwise; their text says how.
	ErrRefused = errors.New("refused")
	// ErrForbidden is wrapped by errors of those who may not do it, however they ask.
	ErrForbidden = errors.New("not allowed")
	// ErrNotFound: there is no such thing.
	ErrNotFound = errors.New("not found")
)

// Who does something.
type Who struct {
	Name string
	// Groups that the person is in: a policy may name approvers by group.
	Groups []string
}

// Metric is one threshold of a policy.
type Metric struct {
	Name, Source, Condition, Text string
	// Unit is seconds, count, share, ratio or flag.
	Unit  string
	Value float64
	// Sources of the credentials that it speaks of; nil: any.
	Sources []string
}

// Policy is one in force.
type Policy struct {
	ID, Title, Rationale, Severity, Mode string
	Grace                                *time.Duration
	MatchAll                             bool
	Metrics                              []Metric
	// File, Line and YAML are where and how it is written.
	File, YAML string
	Line       int
	// ByLabels: whether it applies depends on more than type, source, principal and owner.
	ByLabels bool
}

// Text is one file of Rego.
type Text struct{ File, Source string }

// Subject is what decides whether a policy applies to a credential.
type Subject struct {
	Credential, Type, Source, Principal, Agent, Owner string
	Labels                                            map[string]string
	Policies                                          []string
}

// Policies are those in force.
type Policies interface {
	All() (policies []Policy, revision string)
	// Applying gives the ids of the policies that apply to a credential.
	Applying(s Subject) []string
	// Parse reads a threshold of a metric as a policy writes it.
	Parse(metric, text string) (float64, error)
	// Rego is what decides: the bundle's files, and those of policies that are written in Rego.
	Rego() []Text
	// Expected is how often an hour an agent is expected to use its credentials; 0: nobody said.
	Expected(agent string) float64
}

// Settings are those of the enforcer that hold now.
type Settings struct {
	Mode   string // observe, notify or enforce
	Killed bool
	// Who switched everything off, why and when.
	By, Why string
	At      time.Time
	// Limit of revocations an hour.
	Limit int
	// Resumed is since when revocations count; zero: within the hour.
	Resumed time.Time
}

// Acts of a ladder that may ask for approvals.
const (
	Revoke = "revoke"
	// Narrow gives back less than there was.
	Narrow = "narrow"
	// Restore gives back what was taken.
	Restore = "restore"
	// Finish is the step of a revocation that can not be taken back.
	Finish = "finish"
)

// Approval is one person's yes.
type Approval struct {
	By string
	At time.Time
}

// Wish is somebody's to have back what a ladder took.
type Wish struct {
	By, Reason string
	At         time.Time
}

// Control reads and writes the enforcer's settings. It does not need ClickHouse.
type Control interface {
	// Apply takes a record of the topic leastwise.control.
	Apply(m stream.Message) error
	Now() Settings
	Kill(ctx context.Context, on bool, who Who, reason string) error
	SetMode(ctx context.Context, mode string, who Who, reason string) error
	// Resume lets revocations go on that a budget stopped.
	Resume(ctx context.Context, who Who, reason string) error
	// ApproveAct is one person's yes to an act of a ladder; Approvals are those that were given, one for each person.
	ApproveAct(ctx context.Context, ladder, act string, who Who, reason string) error
	Approvals(ladder, act string) []Approval
	// Restore asks for what a ladder took; Restoring tells who did, nil: nobody.
	Restore(ctx context.Context, ladder string, who Who, reason string) error
	Restoring(ladder string) *Wish
	// RollBack asks for the scope that a ladder's re-issue replaced; RollingBack tells whether somebody did.
	RollBack(ctx context.Context, ladder string, who Who, reason string) error
	RollingBack(ladder string) bool
}

// Questions are those that more rooms than the console answer. Each may take as long as its context lets it. An identity or
// a credential is named by its whole key; ErrNotFound says that there is none.
type Questions interface {
	// Compromise tells what a leak of it would lead to; after is empty, rightsize or revoke.
	Compromise(ctx context.Context, key, after string, at time.Time) (*contract.Compromise, error)
	// Rightsize tells which scope the use of so many days justifies, tried against the calls of replay days.
	Rightsize(ctx context.Context, key string, days, replay int, now time.Time) (*contract.Rightsize, error)
	// Plan tells what the enforcer would do. It changes nothing.
	Plan(ctx context.Context) (*contract.Plan, error)
}

// Holder is a cloud's credential, as the question what it may do needs it.
type Holder struct {
	Credential, Principal string
	Policies              []string
	Labels                map[string]string
	Used                  []*pb.PermissionUse
	// UsedComplete: all that it used is among Used.
	UsedComplete bool
}

// Permission is one that a cloud's credential is granted.
type Permission struct {
	Name, Level string
	Weight      float64
	Conditional bool
	// By are the names of what it is granted through.
	By []string
	// Uses and the time of the last, in unix nanoseconds.
	Uses   uint64
	LastAt int64
}

// Clouds expands what the policies and roles of clouds grant, as docs/scope.md has it.
type Clouds interface {
	// Granted by an issuer's grants. missing says what is not known of it; empty: all is.
	Granted(grants []*pb.Grant, h Holder) (permissions []Permission, missing string)
}

// Exceptions are the enforcer's rules of who may ask, approve and end. They do not need ClickHouse. Each returns when its
// record is durable.
type Exceptions interface {
	// Decode reads a record of the topic leastwise.exceptions.
	Decode(m stream.Message) (*pb.Exception, error)
	Request(ctx context.Context, e *pb.Exception, who Who) (*pb.Exception, error)
	Approve(ctx context.Context, id string, who Who) (*pb.Exception, error)
	Revoke(ctx context.Context, id string, who Who) (*pb.Exception, error)
	// ApproveIssuance and RefuseIssuance decide on all exceptions of one request at the broker, with a reason. They give all of
	// them as they stand then.
	ApproveIssuance(ctx context.Context, request, why string, who Who) ([]*pb.Exception, error)
	RefuseIssuance(ctx context.Context, request, why string, who Who) ([]*pb.Exception, error)
	// MayApprove says why somebody may not approve; empty if they may.
	MayApprove(e *pb.Exception, who Who) string
	// Valid tells whether it lets anything pass at a time.
	Valid(e *pb.Exception, now time.Time) bool
}
