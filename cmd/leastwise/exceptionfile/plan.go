package exceptionfile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/leastwise/leastwise/enforcer/exception"
	"github.com/leastwise/leastwise/internal/terminal"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Change is one difference between the files and what is recorded.
type Change struct {
	// Exception as it would be written, or as it stands.
	*pb.Exception
	// Where it is written; empty: in no file.
	Where string
	// Writes and Ends say what Apply does; neither: nothing, and Why tells why.
	Writes, Ends bool
	Why          string
}

// Plan is what applying files would do.
type Plan struct {
	Changes   []Change
	Unchanged int
}

// Names says who asks and who approves an entry whose file was not verified. Trusted: as the file has it. Else whoever
// applies asks, and a file that names people is refused.
func Names(all []*Entry, trusted bool, by string) error {
	var problems []error
	for _, e := range all {
		switch {
		case trusted && e.RequestedBy == "":
			problems = append(problems, e.problem("requested_by is missing; say who asks"))
		case trusted:
		case e.RequestedBy+e.ApprovedBy != "":
			problems = append(problems, e.problem("names in a file prove nothing: give --verify-commits, or list the folder under "+
				"exceptions.trusted_repositories of the configuration, or leave requested_by and approved_by out; then %s asks, and somebody else approves", by))
		default:
			e.asks = by
		}
	}
	return errors.Join(problems...)
}

// MakePlan compares entries with what is recorded for the repository. limits gives those of a policy.
func MakePlan(all []*Entry, recorded []*pb.Exception, repository string, prune bool, limits func(policy string) (exception.Limits, error), now time.Time) (*Plan, error) {
	p := &Plan{}
	var problems []error
	before, named, wanted := map[string]*pb.Exception{}, map[string]bool{}, map[string]bool{}
	for _, e := range recorded {
		if strings.HasPrefix(e.Id, prefix(repository)) {
			before[e.Id] = e
		}
	}
	for _, e := range all {
		next := proto.CloneOf(e.Exception)
		next.Id = e.record(repository)
		named[e.Id], wanted[next.Id] = true, true
		next.RequestedBy = cmp.Or(next.RequestedBy, e.asks)
		old := before[next.Id]
		switch {
		case !next.Until.AsTime().After(now):
			p.Changes = append(p.Changes, Change{Exception: next, Where: e.Where(), Why: "it has ended by itself; take it out of the file"})
		case old != nil && old.RevokedAt != nil:
			p.Changes = append(p.Changes, Change{Exception: old, Where: e.Where(), Why: "ended by " + old.RevokedBy + "; change the entry to ask anew, or take it out"})
		case old != nil:
			p.Unchanged++
		default:
			bound, err := limits(next.PolicyId)
			if err == nil {
				next, err = exception.Declared(next, bound, now)
			}
			if err != nil {
				problems = append(problems, e.problem("%v", err))
				continue
			}
			p.Changes = append(p.Changes, Change{Exception: next, Where: e.Where(), Writes: true})
		}
	}
	for _, e := range recorded {
		if before[e.Id] == nil || wanted[e.Id] || e.RevokedAt != nil || !e.Until.AsTime().After(now) {
			continue
		}
		id, _, _ := strings.Cut(strings.TrimPrefix(e.Id, prefix(repository)), ".")
		switch {
		case named[id]:
			p.Changes = append(p.Changes, Change{Exception: e, Ends: true, Why: "its entry says something else now"})
		case prune:
			p.Changes = append(p.Changes, Change{Exception: e, Ends: true, Why: "it is in no file any more"})
		default:
			p.Changes = append(p.Changes, Change{Exception: e, Why: "it is in no file any more; --prune ends it"})
		}
	}
	slices.SortStableFunc(p.Changes, func(a, b Change) int { return cmp.Compare(order(a), order(b)) })
	return p, errors.Join(problems...)
}

// order in which changes are made: what is new first, so that what takes the place of another leaves no gap.
func order(c Change) int {
	switch {
	case c.Writes:
		return 0
	case c.Ends:
		return 1
	default:
		return 2
	}
}

// Apply writes what the plan says, as somebody. Ended in the middle it leaves records that are whole; applied again it goes on.
func (p *Plan) Apply(ctx context.Context, log exception.Log, by string, limits func(policy string) (exception.Limits, error), now time.Time) error {
	for _, c := range p.Changes {
		switch {
		case c.Writes:
			bound, err := limits(c.PolicyId)
			if err != nil {
				return err
			}
			if _, err := exception.Declare(ctx, log, c.Exception, bound, now); err != nil {
				return err
			}
		case c.Ends:
			if _, err := exception.Revoke(ctx, log, c.Id, by, now); err != nil {
				return err
			}
		}
	}
	return nil
}

// Write prints the plan as a difference.
func (p *Plan) Write(w io.Writer) error {
	var b strings.Builder
	for _, c := range p.Changes {
		sign := "!"
		switch {
		case c.Writes:
			sign = "+"
		case c.Ends:
			sign = "-"
		}
		fmt.Fprintf(&b, "%s %s\n    %s, from policy %s, until %s\n", sign, terminal.Safe(c.Id), terminal.Safe(c.Credential+c.Identity), terminal.Safe(c.PolicyId),
			c.Until.AsTime().Format(time.RFC3339))
		switch {
		case c.Writes && c.ApprovedBy != "":
			fmt.Fprintf(&b, "    asked by %s, approved by %s", terminal.Safe(c.RequestedBy), terminal.Safe(c.ApprovedBy))
		case c.Writes:
			fmt.Fprintf(&b, "    asked by %s; somebody else approves it: leastwise exception approve %s", terminal.Safe(c.RequestedBy), terminal.Safe(c.Id))
		default:
			fmt.Fprintf(&b, "    %s", terminal.Safe(c.Why))
		}
		if c.Where != "" {
			fmt.Fprintf(&b, " (%s)", terminal.Safe(c.Where))
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "%d unchanged.\n", p.Unchanged)
	_, err := io.WriteString(w, b.String())
	return err
}

// Trusted tells whether a path lies in one of the folders that the site trusts.
func (c Config) Trusted(path string) bool {
	path, err := realPath(path)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(c.TrustedRepositories, func(folder string) bool {
		folder, err := realPath(folder)
		return err == nil && (path == folder || strings.HasPrefix(path, strings.TrimSuffix(folder, "/")+"/"))
	})
}
