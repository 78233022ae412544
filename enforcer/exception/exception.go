// Package exception keeps the rules of exceptions: who may ask, who may
// approve, what an exception covers and until when. The enforcer, the command
// line and the console use the same functions.
//
// An exception is a record of the topic leastwise.exceptions, replaced by a
// newer one of the same id; it is never deleted, and it expires by itself.
// Request, Approve and Revoke return when their record is durable; they block
// while no broker answers, until the context ends. Approve and Revoke read the
// whole topic first. Two people who change one exception in the same second
// may overwrite each other: the later record wins, and both are in the topic's
// history.
package exception

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

var (
	// ErrInvalid is wrapped by every refusal of a request.
	ErrInvalid = errors.New("not a valid exception")
	// ErrSelfApproval: the requester may not approve.
	ErrSelfApproval = errors.New("somebody else than the requester has to approve")
	// ErrNotFound: no exception has that id.
	ErrNotFound = errors.New("no such exception: `leastwise exception list` shows them")
	// ErrOver: the exception was revoked or has ended.
	ErrOver = errors.New("the exception is over: request a new one")
)

// Log is where exceptions are written and read. *stream.Client is one.
type Log interface {
	Publish(ctx context.Context, msgs ...stream.Message) error
	Partitions(ctx context.Context, topic string) (int, error)
	ReadPartition(ctx context.Context, topic string, partition int, from int64, fn func(stream.Message) error) (int64, error)
}

// Limits a policy sets on its exceptions. The zero value sets none.
type Limits struct {
	// MaxDuration from the request to the end.
	MaxDuration time.Duration
	// Approvers who alone may approve; empty: anybody but the requester.
	Approvers []string
}

// Request asks for an exception. e.Id, RequestedAt and the fields of approval
// and revocation are set here; the rest is the caller's.
func Request(ctx context.Context, log Log, e *pb.Exception, limits Limits, now time.Time) (*pb.Exception, error) {
	e = proto.CloneOf(e)
	e.Id, e.RequestedAt = newID(), timestamppb.New(now)
	e.ApprovedBy, e.ApprovedAt, e.RevokedBy, e.RevokedAt = "", nil, "", nil
	e.RequestedBy = person(e.RequestedBy)
	if err := check(e, limits, now); err != nil {
		return nil, err
	}
	return e, publish(ctx, log, e)
}

func check(e *pb.Exception, limits Limits, now time.Time) error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
	}
	switch {
	case (e.Credential == "") == (e.Identity == ""):
		return refuse("give one of credential and identity")
	case strings.TrimSpace(e.PolicyId) == "":
		return refuse("give the policy's id, or * for all policies")
	case strings.TrimSpace(e.Reason) == "":
		return refuse("give a reason: it is what the approver decides on")
	case e.RequestedBy == "":
		return refuse("say who asks")
	case e.Until == nil || !e.Until.IsValid():
		return refuse("give an end (until)")
	case !e.Until.AsTime().After(now):
		return refuse("until %s is not in the future", e.Until.AsTime().Format(time.RFC3339))
	case limits.MaxDuration > 0 && e.Until.AsTime().Sub(now) > limits.MaxDuration:
		return refuse("until %s is more than the policy's max_duration of %s away", e.Until.AsTime().Format(time.RFC3339), limits.MaxDuration)
	}
	key := e.Credential + e.Identity
	if _, err := schemas.ParseKey(key); err != nil {
		return refuse("%v", err)
	}
	return nil
}

// Approve makes an exception valid. The limits hold again: policies may have
// become stricter since the request.
func Approve(ctx context.Context, log Log, id, by string, limits Limits, now time.Time) (*pb.Exception, error) {
	e, err := find(ctx, log, id)
	if err != nil {
		return nil, err
	}
	if err := approve(e, by, limits, now); err != nil {
		return nil, err
	}
	if err := settle(ctx, log, []*pb.Exception{e}); err != nil {
		return nil, err
	}
	if e.RevokedAt != nil {
		return nil, fmt.Errorf("approve %s: %w", e.Id, ErrOver)
	}
	return e, nil
}

// approve changes e, or says why it may not be approved.
func approve(e *pb.Exception, by string, limits Limits, now time.Time) error {
	by = person(by)
	switch {
	case by == "":
		return fmt.Errorf("approve %s: %w: say who approves", e.Id, ErrInvalid)
	case by == person(e.RequestedBy):
		return fmt.Errorf("approve %s: %w", e.Id, ErrSelfApproval)
	case len(limits.Approvers) > 0 && !slices.ContainsFunc(limits.Approvers, func(a string) bool { return person(a) == by }):
		return fmt.Errorf("approve %s: %w: the policy's approvers are %s", e.Id, ErrInvalid, strings.Join(limits.Approvers, ", "))
	case e.RevokedAt != nil || !e.Until.AsTime().After(now):
		return fmt.Errorf("approve %s: %w", e.Id, ErrOver)
	case limits.MaxDuration > 0 && e.Until.AsTime().Sub(e.RequestedAt.AsTime()) > limits.MaxDuration:
		return fmt.Errorf("approve %s: %w: it lasts longer than the policy's max_duration of %s", e.Id, ErrInvalid, limits.MaxDuration)
	}
	e.ApprovedBy, e.ApprovedAt = by, timestamppb.New(now)
	return nil
}

// Revoke ends an exception now. Anybody may: it only makes things stricter.
func Revoke(ctx context.Context, log Log, id, by string, now time.Time) (*pb.Exception, error) {
	e, err := find(ctx, log, id)
	if err != nil {
		return nil, err
	}
	if by = person(by); by == "" {
		return nil, fmt.Errorf("revoke exception %s: %w: say who revokes", id, ErrInvalid)
	}
	if e.RevokedAt != nil {
		return e, nil
	}
	e.RevokedBy, e.RevokedAt = by, timestamppb.New(now)
	return e, publish(ctx, log, e)
}

// after is what holds once e was written after old: what has been ended stays
// ended, though somebody who had not read that wrote later.
func after(old, e *pb.Exception) *pb.Exception {
	if old.GetRevokedAt() == nil || e.RevokedAt != nil {
		return e
	}
	e = proto.CloneOf(e)
	e.RevokedBy, e.RevokedAt, e.RevokedWhy = old.RevokedBy, old.RevokedAt, old.RevokedWhy
	return e
}

// settle writes what is not an end, and looks whether somebody ended it since
// it was read: then that is written again, since readers take the newest
// record and the topic keeps no other. It changes list to what holds.
func settle(ctx context.Context, log Log, list []*pb.Exception) error {
	if err := publishAll(ctx, log, list); err != nil {
		return err
	}
	now, err := List(ctx, log)
	if err != nil {
		return err
	}
	for _, e := range list {
		at := slices.IndexFunc(now, func(n *pb.Exception) bool { return n.Id == e.Id })
		if at < 0 || now[at].RevokedAt == nil {
			continue
		}
		e.RevokedBy, e.RevokedAt, e.RevokedWhy = now[at].RevokedBy, now[at].RevokedAt, now[at].RevokedWhy
		if err := publish(ctx, log, e); err != nil {
			return err
		}
	}
	return nil
}

// List gives the newest record of every exception, by time of request.
func List(ctx context.Context, log Log) ([]*pb.Exception, error) {
	n, err := log.Partitions(ctx, schemas.TopicExceptions)
	if err != nil {
		return nil, fmt.Errorf("list exceptions: %w", err)
	}
	byID := map[string]*pb.Exception{}
	for p := range n {
		_, err := log.ReadPartition(ctx, schemas.TopicExceptions, p, stream.Earliest, func(m stream.Message) error {
			if e, err := Decode(m); err == nil {
				byID[e.Id] = after(byID[e.Id], e)
			}
			return nil // what can not be read grants nothing
		})
		if err != nil {
			return nil, fmt.Errorf("list exceptions: %w", err)
		}
	}
	list := make([]*pb.Exception, 0, len(byID))
	for _, e := range byID {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b *pb.Exception) int {
		if c := a.RequestedAt.AsTime().Compare(b.RequestedAt.AsTime()); c != 0 {
			return c
		}
		return strings.Compare(a.Id, b.Id)
	})
	return list, nil
}

// Decode reads a record of the topic.
func Decode(m stream.Message) (*pb.Exception, error) {
	e := &pb.Exception{}
	if err := e.UnmarshalVT(m.Value); err != nil {
		return nil, fmt.Errorf("exception %q: %w", m.Key, err)
	}
	if e.Id == "" || e.Id != string(m.Key) {
		return nil, fmt.Errorf("exception %q: %w: its id is %q", m.Key, ErrInvalid, e.Id)
	}
	return e, nil
}

func find(ctx context.Context, log Log, id string) (*pb.Exception, error) {
	list, err := List(ctx, log)
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		if e.Id == id {
			return proto.CloneOf(e), nil
		}
	}
	return nil, fmt.Errorf("exception %q: %w", id, ErrNotFound)
}

func publish(ctx context.Context, log Log, e *pb.Exception) error {
	value, err := e.MarshalVT()
	if err != nil {
		return fmt.Errorf("encode exception %s: %w", e.Id, err)
	}
	if err := log.Publish(ctx, stream.Message{Topic: schemas.TopicExceptions, Key: []byte(e.Id), Value: value}); err != nil {
		return fmt.Errorf("write exception %s: %w", e.Id, err)
	}
	return nil
}

// person makes "Alice " and "alice" one, so that nobody approves their own
// request by another spelling.
func person(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // crypto/rand never fails
	return "ex-" + hex.EncodeToString(b[:])
}
