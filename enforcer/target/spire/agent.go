package spire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	agentv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/agent/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/leastwise/leastwise/enforcer/target"
)

// byAgent is an agent's own SVID. To evict is about the SVID: an agent that
// attests again has another. To ban is about the agent.
type byAgent struct {
	t      *Target
	c      target.Credential
	id     spiffeid.ID
	serial string
}

func (k *byAgent) read(ctx context.Context) (a *types.Agent, gone bool, detail string, err error) {
	a, err = k.t.agent(ctx, k.id)
	switch {
	case err != nil:
		return nil, false, "", err
	case a == nil:
		return nil, true, getAgent + " of " + k.id.String() + ": not found", nil
	case a.Banned:
		return a, true, getAgent + " of " + k.id.String() + ": banned", nil
	case a.X509SvidSerialNumber == k.serial:
		return a, false, "SPIRE serves the agent, by this SVID until " + stamp(time.Unix(a.X509SvidExpiresAt, 0)), nil
	case k.t.cfg.Agent == Evict:
		return a, true, getAgent + " of " + k.id.String() + ": the agent has another SVID, " + a.X509SvidSerialNumber, nil
	default:
		return a, false, "SPIRE serves the agent, by now with SVID " + a.X509SvidSerialNumber, nil
	}
}

func (k *byAgent) lookup(ctx context.Context) (target.Sighting, error) {
	a, gone, detail, err := k.read(ctx)
	if err != nil {
		return target.Sighting{}, err
	}
	s := target.Sighting{Status: target.Alive, Found: "agent " + k.id.String(), Detail: detail}
	switch {
	case gone:
		s.Status = target.Gone
	case k.t.cfg.Agent == Ban && a.CanReattest:
		raw, err := json.Marshal(map[string]string{"agent": k.id.String()})
		if err != nil {
			return target.Sighting{}, impossible("write the agent down", err)
		}
		s.Restore = string(raw)
	}
	return s, nil
}

func (k *byAgent) own(ctx context.Context) (bool, error) {
	self, err := k.t.self(ctx)
	return self.holdsAgent(k.id.String()), err
}

func (k *byAgent) revoke(ctx context.Context) error {
	_, gone, _, err := k.read(ctx)
	if err != nil || gone {
		return err
	}
	if k.t.cfg.Agent == Ban {
		_, err = call(ctx, k.t, banAgent, "ban the agent", func(ctx context.Context, s api) (*emptypb.Empty, error) {
			return s.agent.BanAgent(ctx, &agentv1.BanAgentRequest{Id: wire(k.id)})
		})
	} else {
		err = k.t.deleteAgent(ctx, k.id, "evict the agent")
	}
	if codeOf(err) == codes.NotFound {
		return nil
	}
	return err
}

func (t *Target) deleteAgent(ctx context.Context, id spiffeid.ID, step string) error {
	_, err := call(ctx, t, deleteAgent, step, func(ctx context.Context, s api) (*emptypb.Empty, error) {
		return s.agent.DeleteAgent(ctx, &agentv1.DeleteAgentRequest{Id: wire(id)})
	})
	if codeOf(err) == codes.NotFound {
		return nil
	}
	return err
}

// verify counts what the agent's workloads hold, too: it holds their keys.
func (k *byAgent) verify(ctx context.Context) (target.Proof, error) {
	a, gone, said, err := k.read(ctx)
	if err != nil || !gone {
		return target.Proof{Text: said}, err
	}
	at := k.t.since(k.c)
	bound, why, err := k.t.boundOf(ctx, nil, at, x509SVID)
	if err != nil {
		return target.Proof{}, err
	}
	// An agent that is gone shows no selectors any more by which its entries
	// could be found.
	former := []*types.Entry{nil}
	if a != nil && a.Banned && len(a.Selectors) > 0 {
		if former, err = k.t.through(ctx, a); err != nil {
			return target.Proof{}, err
		}
	}
	for _, e := range former {
		end, reason, err := k.t.boundOf(ctx, e, at, jwtSVID)
		if err != nil {
			return target.Proof{}, err
		}
		if end.After(bound) {
			bound, why = end, reason
		}
	}
	until, why, err := k.t.exposed(ctx, IssuedBy{Agent: k.id.String()}, bound, why)
	if err != nil {
		return target.Proof{}, err
	}
	return k.t.proof(said, until, why), nil
}

func (k *byAgent) collateral(ctx context.Context) ([]target.Hit, error) {
	a, gone, _, err := k.read(ctx)
	if err != nil || gone {
		return nil, err
	}
	entries, err := k.t.through(ctx, a)
	if err != nil {
		return nil, err
	}
	why := "agent " + k.id.String() + " has to attest again"
	if k.t.cfg.Agent == Ban {
		why = "agent " + k.id.String() + " is banned"
	}
	return k.t.hits(entries, why+"; other agents that serve this entry go on"), nil
}

// restore lifts a ban: SPIRE has no call for it, but an agent that was deleted
// may attest again.
func (k *byAgent) restore(ctx context.Context) error {
	const step = "give the agent back"
	if k.c.Restore == "" {
		return impossible(step, errors.New("SPIRE can not bring it back: an evicted agent attests again by itself when it is started; where its attestor takes each proof once (join tokens), start it with a new one (spire-server token generate)"))
	}
	a, err := k.t.agent(ctx, k.id)
	if err != nil || a == nil || !a.Banned {
		return err
	}
	if err := k.t.deleteAgent(ctx, k.id, step); err != nil {
		return fmt.Errorf("lift the ban: %w", err)
	}
	return nil
}
