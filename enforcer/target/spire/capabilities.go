package spire

import (
	"context"
	"errors"

	agentv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/agent/v1"
	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/leastwise/leastwise/enforcer/target"
)

// nobody is an agent that no attestor makes.
const nobody = "/spire/agent/leastwise/capability-check"

// Capabilities tries each call that the acts are made of with nothing in it:
// an empty batch, or an agent that is not there. SPIRE's policy decides before
// it looks.
func (t *Target) Capabilities(ctx context.Context) ([]target.Missing, error) {
	domain, err := t.trustDomain(ctx)
	if err != nil {
		return nil, err
	}
	agent := &types.SPIFFEID{TrustDomain: domain, Path: nobody}
	type probe struct {
		method, step string
		do           func(ctx context.Context, s api) (proto.Message, error)
	}
	probes := []probe{
		{getEntry, "read the entry", func(ctx context.Context, s api) (proto.Message, error) {
			return s.entry.GetEntry(ctx, &entryv1.GetEntryRequest{Id: "leastwise-capability-check"})
		}},
		{listEntries, "list entries", func(ctx context.Context, s api) (proto.Message, error) {
			return s.entry.ListEntries(ctx, &entryv1.ListEntriesRequest{PageSize: 1})
		}},
		{countEntries, "count entries", func(ctx context.Context, s api) (proto.Message, error) {
			return s.entry.CountEntries(ctx, &entryv1.CountEntriesRequest{})
		}},
		{updateEntry, "shorten an entry's TTL", func(ctx context.Context, s api) (proto.Message, error) {
			return s.entry.BatchUpdateEntry(ctx, &entryv1.BatchUpdateEntryRequest{})
		}},
		{getAgent, "read the agent", func(ctx context.Context, s api) (proto.Message, error) {
			return s.agent.GetAgent(ctx, &agentv1.GetAgentRequest{Id: agent})
		}},
		{countAgents, "count agents", func(ctx context.Context, s api) (proto.Message, error) {
			return s.agent.CountAgents(ctx, &agentv1.CountAgentsRequest{})
		}},
		{listAgents, "find the enforcer's own agent", func(ctx context.Context, s api) (proto.Message, error) {
			return s.agent.ListAgents(ctx, &agentv1.ListAgentsRequest{PageSize: 1})
		}},
		{deleteAgent, "evict an agent, or lift its ban", func(ctx context.Context, s api) (proto.Message, error) {
			return s.agent.DeleteAgent(ctx, &agentv1.DeleteAgentRequest{Id: agent})
		}},
	}
	if t.cfg.SVID == Delete {
		probes = append(probes, probe{deleteEntry, "delete an entry", func(ctx context.Context, s api) (proto.Message, error) {
			return s.entry.BatchDeleteEntry(ctx, &entryv1.BatchDeleteEntryRequest{})
		}}, probe{createEntry, "give an entry back", func(ctx context.Context, s api) (proto.Message, error) {
			return s.entry.BatchCreateEntry(ctx, &entryv1.BatchCreateEntryRequest{})
		}})
	}
	if t.cfg.Agent == Ban {
		probes = append(probes, probe{banAgent, "ban an agent", func(ctx context.Context, s api) (proto.Message, error) {
			return s.agent.BanAgent(ctx, &agentv1.BanAgentRequest{Id: agent})
		}})
	}
	var missing []target.Missing
	for _, p := range probes {
		_, err := call(ctx, t, p.method, p.step, p.do)
		var e *target.Error
		switch {
		case err == nil || codeOf(err) == codes.NotFound:
		case errors.As(err, &e) && e.Kind == target.Permission:
			missing = append(missing, e.Missing)
		default:
			return nil, err
		}
	}
	return missing, nil
}
