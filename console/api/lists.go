package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/console/fleet"
	"github.com/leastwise/leastwise/console/read"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Paged is what every list takes. It is exported for huma, which fills in what is embedded only then.
type Paged struct {
	Cursor string `query:"cursor" maxLength:"8000" doc:"What the page before gave as next"`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"100"`
}

type credentialsAsked struct {
	Paged
	Owner  string `query:"owner" maxLength:"500" doc:"Id of an owner; none: those without; *: all; left out: an owner's own, else all"`
	Source string `query:"source" maxLength:"100"`
	Policy string `query:"policy" maxLength:"500"`
	State  string `query:"state" enum:"active,expired,revoked,unknown,"`
	Agent  string `query:"agent" maxLength:"500"`
	Q      string `query:"q" maxLength:"1000" doc:"Words in key, agent, owner or principal"`
	Sort   string `query:"sort" enum:"deviation,seconds_left,scope_weight,attempts,last_used_at" default:"deviation"`
}

// position in the fleet as a cursor, and back.
func (in *credentialsAsked) after() (*fleet.Position, error) {
	parts, err := read.ParseCursor(in.Cursor, "credentials-"+in.Sort, 2)
	if err != nil || parts == nil {
		return nil, err
	}
	rank, err := strconv.ParseFloat(parts[0], 64)
	if err != nil {
		return nil, read.ErrCursor
	}
	return &fleet.Position{Rank: rank, Key: parts[1]}, nil
}

func (s *server) lists(api huma.API) {
	huma.Register(api, operation("credentials", http.MethodGet, "/v1/credentials", "Credentials; with Accept: text/csv a table"),
		func(ctx context.Context, in *credentialsAsked) (*answer[contract.Page[contract.Credential]], error) {
			after, err := in.after()
			if err != nil {
				return nil, s.problem(err)
			}
			v := s.view(ctx)
			items, next := v.Select(fleet.Filter{Owners: owners(ctx, in.Owner), Source: in.Source, Policy: in.Policy, State: in.State, Agent: in.Agent, Text: in.Q},
				fleet.Sort(in.Sort), after, in.Limit, v.Now)
			page := contract.Page[contract.Credential]{Items: v.Credentials(items)}
			if next != nil {
				text := read.Cursor{List: "credentials-" + in.Sort, Parts: []string{strconv.FormatFloat(next.Rank, 'g', -1, 64), next.Key}}.String()
				page.Next = &text
			}
			return give(page), nil
		})
	huma.Register(api, operation("identities", http.MethodGet, "/v1/identities", "Identities"),
		func(ctx context.Context, in *struct {
			Paged
			Q      string `query:"q" maxLength:"1000"`
			Status string `query:"status" enum:"owned,unowned,conflict,"`
		}) (*answer[contract.Page[contract.IdentitySummary]], error) {
			index := s.holders()
			page, err := s.Read.Identities(ctx, in.Q, in.Status, in.Cursor, in.Limit, func(nodes []string) (n uint64) {
				for _, node := range nodes {
					n += uint64(len(index[node]))
				}
				return n
			})
			return give(page), s.problem(err)
		})
	huma.Register(api, operation("duties", http.MethodGet, "/v1/duties", "What needs somebody, most urgent first"),
		func(ctx context.Context, in *struct {
			Owner string `query:"owner" maxLength:"500" doc:"Id of an owner; *: everybody's; left out: mine"`
		}) (*answer[contract.Duties], error) {
			asked := owners(ctx, in.Owner)
			if in.Owner == "" && len(person(ctx).Owners) > 0 {
				asked = person(ctx).Owners
			}
			return give(s.view(ctx).Duties(asked)), nil
		})
	huma.Register(api, operation("exceptions", http.MethodGet, "/v1/exceptions", "Exceptions, newest request first"),
		func(ctx context.Context, in *struct {
			Paged
			State string `query:"state" enum:"waiting,in force,ended,revoked,"`
		}) (*answer[contract.Page[contract.Exception]], error) {
			page, err := s.exceptions(ctx, in.State, in.Cursor, in.Limit)
			return give(page), s.problem(err)
		})
	huma.Register(api, operation("sources", http.MethodGet, "/v1/sources", "Sources and what they noticed"),
		func(ctx context.Context, _ *struct{}) (*answer[contract.List[contract.Source]], error) {
			items, err := s.Read.Sources(ctx)
			return give(contract.List[contract.Source]{Items: items}), s.problem(err)
		})
	huma.Register(api, operation("dead-letters", http.MethodGet, "/v1/dead-letters", "Records that could not be read"),
		func(ctx context.Context, in *struct {
			Paged
			Source string `query:"source" maxLength:"100"`
			Reason string `query:"reason" maxLength:"100"`
		}) (*answer[contract.Page[contract.DeadLetter]], error) {
			page, err := s.Read.DeadLetters(ctx, in.Source, in.Reason, in.Cursor, in.Limit)
			return give(page), s.problem(err)
		})
	huma.Register(api, operation("audit", http.MethodGet, "/v1/audit", "All that was decided and done, newest first"),
		func(ctx context.Context, in *struct {
			Paged
			Topic string `query:"topic" maxLength:"100" doc:"leastwise.decisions, .enforcement, .exceptions or .control"`
		}) (*answer[contract.Audit], error) {
			page, err := s.Read.Audit(ctx, in.Topic, in.Cursor, in.Limit)
			return give(page), s.problem(err)
		})
}

func (s *server) exceptions(ctx context.Context, state, cursor string, limit int) (contract.Page[contract.Exception], error) {
	page := contract.Page[contract.Exception]{Items: []contract.Exception{}}
	after, err := read.ParseCursor(cursor, "exceptions", 2)
	if err != nil {
		return page, err
	}
	var at int64
	if after != nil {
		if at, err = strconv.ParseInt(after[0], 10, 64); err != nil {
			return page, read.ErrCursor
		}
	}
	now := s.Now()
	for _, e := range s.Ledger.All() {
		asked := requested(e)
		if after != nil && (asked > at || asked == at && e.Id <= after[1]) || state != "" && s.Ledger.State(e, now) != state {
			continue
		}
		if len(page.Items) == limit {
			last := page.Items[limit-1]
			when := int64(0)
			if last.RequestedAt != nil {
				when = last.RequestedAt.UnixNano()
			}
			text := read.Cursor{List: "exceptions", Parts: []string{strconv.FormatInt(when, 10), last.ID}}.String()
			page.Next = &text
			break
		}
		page.Items = append(page.Items, s.exception(ctx, e))
	}
	return page, nil
}

func requested(e *pb.Exception) int64 {
	if !e.RequestedAt.IsValid() {
		return 0
	}
	return e.RequestedAt.AsTime().UnixNano()
}

// byNode keeps, for one version of the fleet, who holds what.
type byNode struct {
	mu      sync.Mutex
	version uint64
	index   map[string][]*fleet.Item
}

// holders gives the credentials that live, by the node of who holds them.
func (s *server) holders() map[string][]*fleet.Item {
	snapshot := s.Fleet.Snapshot()
	s.held.mu.Lock()
	defer s.held.mu.Unlock()
	if s.held.index != nil && s.held.version == snapshot.Version {
		return s.held.index
	}
	index := map[string][]*fleet.Item{}
	nodes := map[string]string{}
	now := s.Now().UnixNano()
	for _, it := range snapshot.Sorted(fleet.ByDeviation) {
		if it.Principal == "" || it.Ended(now) {
			continue
		}
		node, ok := nodes[it.Principal]
		if !ok {
			node = s.Names.Node(it.Principal)
			nodes[it.Principal] = node
		}
		index[node] = append(index[node], it)
	}
	s.held.index, s.held.version = index, snapshot.Version
	return index
}

// manyHeld is how many credentials an identity's page shows.
const manyHeld = 100

func (s *server) identity(ctx context.Context, name, asOf string) (contract.Identity, error) {
	var at time.Time
	if asOf != "" {
		var err error
		if at, err = time.Parse(time.RFC3339, asOf); err != nil {
			day, err := time.Parse(time.DateOnly, asOf)
			if err != nil {
				return contract.Identity{}, huma.Error422UnprocessableEntity("as_of: give a day such as 2026-11-21, or a time such as 2026-11-21T06:12:00Z")
			}
			at = day.AddDate(0, 0, 1) // its end
		}
		if at.After(s.Now()) {
			at = time.Time{}
		}
	}
	out, err := s.Read.Identity(ctx, name, at)
	index := s.holders()
	v := s.view(ctx)
	if errors.Is(err, read.ErrNobody) && len(index[s.Names.Node(name)]) > 0 { // nothing is known of it but that it holds credentials
		err = nil
		out.IdentitySummary = contract.IdentitySummary{Name: name, Names: []string{name}, Agents: []string{}, Owners: []string{}, Systems: []string{}, Status: "unowned"}
		out.Nodes = []contract.Node{{Name: name, Kind: "name", Label: name}}
	}
	if err != nil {
		return out, s.problem(err)
	}
	var held []*fleet.Item
	for _, n := range out.Names {
		held = append(held, index[n]...)
	}
	slices.SortStableFunc(held, func(a, b *fleet.Item) int {
		switch {
		case a.Deviation > b.Deviation:
			return -1
		case a.Deviation < b.Deviation:
			return 1
		}
		return 0
	})
	out.HeldTotal, out.Credentials = uint64(len(held)), uint64(len(held))
	out.Held = v.Credentials(held[:min(len(held), manyHeld)])
	return out, nil
}
