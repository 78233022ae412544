package spire

import (
	"context"
	"slices"
	"strings"

	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"

	"github.com/leastwise/leastwise/enforcer/target"
	"github.com/leastwise/leastwise/schemas"
)

// An entry's parent is an agent, or an alias: a SPIFFE ID that other entries
// give to agents, by their id or (parent: the server) by their selectors.
// https://spiffe.io/docs/latest/deploying/registering/

// below are the entries whose SVIDs come through one of ids, in steps.
func (t *Target) below(ctx context.Context, ids ...*types.SPIFFEID) ([]*types.Entry, error) {
	var found []*types.Entry
	asked, seen := map[string]bool{}, map[string]bool{}
	for len(ids) > 0 {
		id := ids[0]
		ids = ids[1:]
		if asked[text(id)] {
			continue
		}
		asked[text(id)] = true
		children, err := t.entries(ctx, &entryv1.ListEntriesRequest_Filter{ByParentId: id})
		if err != nil {
			return nil, err
		}
		for _, e := range children {
			if !seen[e.Id] {
				seen[e.Id] = true
				found = append(found, e)
				ids = append(ids, e.SpiffeId)
			}
		}
	}
	return found, nil
}

// through are the entries whose SVIDs an agent gets.
func (t *Target) through(ctx context.Context, a *types.Agent) ([]*types.Entry, error) {
	ids := []*types.SPIFFEID{a.Id}
	nodes, err := t.entries(ctx, &entryv1.ListEntriesRequest_Filter{ByParentId: &types.SPIFFEID{TrustDomain: a.Id.GetTrustDomain(), Path: "/spire/server"}})
	if err != nil {
		return nil, err
	}
	var aliases []*types.Entry
	for _, e := range nodes {
		if has(a.Selectors, e.Selectors) {
			aliases = append(aliases, e)
			ids = append(ids, e.SpiffeId)
		}
	}
	found, err := t.below(ctx, ids...)
	return append(aliases, found...), err
}

func has(all, some []*types.Selector) bool {
	for _, s := range some {
		if !slices.ContainsFunc(all, func(a *types.Selector) bool { return a.Type == s.Type && a.Value == s.Value }) {
			return false
		}
	}
	return len(some) > 0
}

// self is what the enforcer's own SVID hangs on.
type self struct {
	id      string
	serials []string
	entries []*types.Entry
	agents  []*types.Agent
}

func (s self) holdsEntry(id string) bool {
	return slices.ContainsFunc(s.entries, func(e *types.Entry) bool { return e.Id == id })
}

func (s self) holdsAgent(id string) bool {
	return slices.ContainsFunc(s.agents, func(a *types.Agent) bool { return text(a.Id) == id })
}

// self goes from the own entries up to the agents. Where an alias leads to more
// than one agent all are taken: which of them runs here is not known.
func (t *Target) self(ctx context.Context) (self, error) {
	var s self
	var err error
	if s.id, s.serials, err = t.server.own(ctx); err != nil || s.id == "" {
		return s, err
	}
	domain, path, _ := strings.Cut(strings.TrimPrefix(s.id, "spiffe://"), "/")
	ids := []*types.SPIFFEID{{TrustDomain: domain, Path: "/" + path}}
	asked := map[string]bool{}
	for len(ids) > 0 {
		id := ids[0]
		ids = ids[1:]
		if asked[text(id)] {
			continue
		}
		asked[text(id)] = true
		if strings.HasPrefix(id.GetPath(), "/spire/agent/") {
			a, err := t.agentOf(ctx, id)
			if err != nil {
				return self{}, err
			}
			if a != nil {
				s.agents = append(s.agents, a)
			}
			continue
		}
		entries, err := t.entries(ctx, &entryv1.ListEntriesRequest_Filter{BySpiffeId: id})
		if err != nil {
			return self{}, err
		}
		for _, e := range entries {
			s.entries = append(s.entries, e)
			if e.ParentId.GetPath() != "/spire/server" {
				ids = append(ids, e.ParentId)
				continue
			}
			agents, err := t.agents(ctx, e.Selectors)
			if err != nil {
				return self{}, err
			}
			s.agents = append(s.agents, agents...)
		}
	}
	return s, nil
}

// hits tells of entries.
func (t *Target) hits(entries []*types.Entry, why string) []target.Hit {
	list := make([]target.Hit, 0, len(entries))
	for _, e := range entries {
		key := schemas.Key{System: "spire", Instance: t.cfg.Instance, Type: "entry", ID: e.Id}
		list = append(list, target.Hit{Key: key.String(), Text: "workloads with " + text(e.SpiffeId) + " get no SVIDs by entry " + e.Id + " any more: " + why})
	}
	return list
}
