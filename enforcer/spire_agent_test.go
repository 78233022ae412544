package enforcer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"

	"github.com/leastwise/leastwise/enforcer/target/spire"
	"github.com/leastwise/leastwise/enforcer/target/spire/spiretest"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// What entries go through, agents go through: killed between intent and result,
// an agent is banned, or evicted, once, and that is proven.
func TestRealSPIREKilledBetweenIntentAndResultAnAgentIsBannedOrEvictedOnce(t *testing.T) {
	s := spiretest.Start(t, "")
	n := seed(t)
	var agents []*spiretest.Agent
	for i := range uint64(40) {
		act, method, join := spire.Ban, "BanAgent", s.X509Agent
		if i%2 == 1 {
			act, method, join = spire.Evict, "DeleteAgent", s.JoinAgent
		}
		t.Run(fmt.Sprintf("%s %d", act, i/2), func(t *testing.T) {
			tg, err := spire.Open(spire.Config{Address: s.Socket, Agent: act}, spire.Deps{})
			if err != nil {
				t.Fatal(err)
			}
			defer tg.Close()
			agent := join()
			known := func() *types.Agent {
				all := s.Agents()
				if at := slices.IndexFunc(all, func(a *types.Agent) bool { return a.Id.Path == agent.ID.Path }); at >= 0 {
					return all[at]
				}
				return nil
			}
			s.Create(&types.Entry{SpiffeId: spiretest.ID(fmt.Sprintf("/on/%d", i)), ParentId: agent.ID})
			d := with(func(d *pb.Decision) {
				d.Credential = "spire/default/x509_svid/" + known().X509SvidSerialNumber
				d.Subject.Labels = map[string]string{"spiffe_id": "spiffe://" + spiretest.Domain + agent.ID.Path}
				d.Ladder.Reissue, d.Proposal = false, nil
				hits := uint32(1) // the entry that it serves
				d.Ladder.MaxCollateral = &hits
			})
			r := &ladderRun{t: t, target: tg, clock: time.Now()}
			r.killed(rand.New(rand.NewPCG(n, 100+i)), d, 2)
			if calls := done(t, s.Log, agent.ID.Path); calls[method] != 1 || calls["BanAgent"]+calls["DeleteAgent"] != 1 {
				t.Errorf("carried out: %v", calls)
			}
			if now := known(); act == spire.Ban && !now.GetBanned() || act == spire.Evict && now != nil {
				t.Errorf("the server knows %v", now)
			}
			proven := slices.ContainsFunc(r.journal, func(s *pb.LadderState) bool {
				return s.State == revokedState && s.Proof != "" && s.WorksUntil != nil
			})
			if end := r.newest(); !proven || end.ExposureEndedAt == nil {
				t.Errorf("revoked without proof or end of exposure: %v", end)
			}
			agents = append(agents, agent)
		})
	}
	for _, agent := range agents {
		s.Until("the agent's process has ended", agent.Ended)
	}
}
