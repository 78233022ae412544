package spire

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/leastwise/leastwise/enforcer/target"
	"github.com/leastwise/leastwise/enforcer/target/spire/spiretest"
	"github.com/leastwise/leastwise/enforcer/target/targettest"
)

// site is a SPIRE server with the enforcer's own agent and entry, which is an
// administrator's, and an agent for workloads.
type site struct {
	*spiretest.Server
	own, agent *spiretest.Agent
	n          atomic.Int64
}

func realSPIRE(t *testing.T, extra string) *site {
	t.Helper()
	s := &site{Server: spiretest.Start(t, extra)}
	s.own, s.agent = s.JoinAgent(), s.X509Agent()
	s.Create(&types.Entry{SpiffeId: spiretest.ID("/leastwise"), ParentId: s.own.ID, Admin: true})
	if !s.own.Gets("/leastwise") {
		t.Fatal("the enforcer got no SVID")
	}
	return s
}

// faults breaks the answers of calls.
type faults struct{ lose, busy atomic.Bool }

func (f *faults) intercept(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if f.busy.CompareAndSwap(true, false) {
		return status.Error(codes.ResourceExhausted, "rate exceeds what is allowed")
	}
	err := invoke(ctx, method, req, reply, cc, opts...)
	changes := strings.HasSuffix(method, "BatchUpdateEntry") || strings.HasSuffix(method, "BatchDeleteEntry") ||
		strings.HasSuffix(method, "DeleteAgent") || strings.HasSuffix(method, "BanAgent")
	if changes && f.lose.CompareAndSwap(true, false) {
		return status.Error(codes.Unavailable, "connection reset")
	}
	return err
}

func (s *site) open(t *testing.T, cfg Config, f *faults) *Target {
	t.Helper()
	cfg.Address, cfg.TrustDomain, cfg.WorkloadAPI = s.Addr, spiretest.Domain, s.own.Socket
	deps := Deps{}
	if f != nil {
		deps.dial = []grpc.DialOption{grpc.WithUnaryInterceptor(f.intercept)}
	}
	tg, err := Open(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tg.Close(); err != nil {
			t.Error(err)
		}
	})
	return tg
}

// entry makes a workload's entry, and the credential that the collector would
// tell of.
func (s *site) entry(kind string, ttl int32) (target.Credential, string) {
	path := fmt.Sprintf("/work/%d", s.n.Add(1))
	e := s.Create(&types.Entry{SpiffeId: spiretest.ID(path), ParentId: s.agent.ID, X509SvidTtl: ttl, JwtSvidTtl: ttl})
	return target.Credential{Key: fmt.Sprintf("spire/default/%s/%d", kind, s.n.Load()),
		Labels: map[string]string{"spiffe_id": text(e.SpiffeId), "entry_id": e.Id}}, path
}

func (s *site) world(t *testing.T, cfg Config) targettest.World {
	f := &faults{}
	return targettest.World{
		Target: s.open(t, cfg, f),
		New: func(*testing.T) (target.Credential, func() bool) {
			c, path := s.entry("x509_svid", 7200)
			return c, func() bool { return s.agent.Gets(path) }
		},
		Unknown: target.Credential{Key: "spire/default/x509_svid/17"},
		Foreign: target.Credential{Key: "vault/default/token/abc"},
		Lingers: true,
		Lose:    func(*testing.T) { f.lose.Store(true) },
		Busy:    func(*testing.T) { f.busy.Store(true) },
	}
}

func TestRealSPIREEntriesHoldTheContractWhenDeleted(t *testing.T) {
	s := realSPIRE(t, "")
	targettest.Run(t, func(t *testing.T) targettest.World {
		w := s.world(t, Config{SVID: Delete})
		w.Beside = func(t *testing.T, c target.Credential) target.Credential {
			e := s.Create(&types.Entry{SpiffeId: spiretest.ID("/below" + c.Labels["entry_id"]), ParentId: idOf(c)})
			return target.Credential{Key: "spire/default/entry/" + e.Id}
		}
		return w
	})
}

func TestRealSPIREEntriesHoldTheContractWhenShortened(t *testing.T) {
	s := realSPIRE(t, "")
	targettest.Run(t, func(t *testing.T) targettest.World {
		w := s.world(t, Config{SVID: Shorten, ShortenX509TTL: 10 * time.Minute})
		w.NotCounted = true
		return w
	})
}

func idOf(c target.Credential) *types.SPIFFEID {
	return spiretest.ID(strings.TrimPrefix(c.Labels["spiffe_id"], "spiffe://"+spiretest.Domain))
}

// agentWorld makes agents, each with a workload once it is asked for.
func (s *site) agentWorld(t *testing.T, cfg Config, start func() *spiretest.Agent) targettest.World {
	w := s.world(t, cfg)
	w.Unknown = target.Credential{Key: "spire/default/x509_svid/18"}
	w.New = func(t *testing.T) (target.Credential, func() bool) {
		a := start()
		c := s.credentialOf(t, a)
		path := fmt.Sprintf("/on/%d", s.n.Add(1))
		made := false
		return c, func() bool {
			if a.Ended() {
				a.Start() // as whoever runs it would
			}
			if !made {
				made = true
				s.Create(&types.Entry{SpiffeId: spiretest.ID(path), ParentId: a.ID})
			}
			return a.Gets(path)
		}
	}
	w.Beside = func(t *testing.T, c target.Credential) target.Credential {
		alias := s.Create(&types.Entry{SpiffeId: spiretest.ID(fmt.Sprintf("/alias/%d", s.n.Add(1))), ParentId: idOf(c)})
		e := s.Create(&types.Entry{SpiffeId: spiretest.ID(fmt.Sprintf("/on/%d", s.n.Add(1))), ParentId: alias.SpiffeId})
		return target.Credential{Key: "spire/default/entry/" + e.Id}
	}
	return w
}

func (s *site) credentialOf(t *testing.T, a *spiretest.Agent) target.Credential {
	t.Helper()
	for _, known := range s.Agents() {
		if known.Id.Path == a.ID.Path {
			return target.Credential{Key: "spire/default/x509_svid/" + known.X509SvidSerialNumber, Labels: map[string]string{"spiffe_id": text(a.ID)}}
		}
	}
	t.Fatalf("no agent %v", a.ID)
	return target.Credential{}
}

func TestRealSPIREAgentsHoldTheContractWhenEvicted(t *testing.T) {
	s := realSPIRE(t, "")
	targettest.Run(t, func(t *testing.T) targettest.World { return s.agentWorld(t, Config{Agent: Evict}, s.JoinAgent) })
}

func TestRealSPIREAgentsHoldTheContractWhenBanned(t *testing.T) {
	s := realSPIRE(t, "")
	targettest.Run(t, func(t *testing.T) targettest.World { return s.agentWorld(t, Config{Agent: Ban}, s.X509Agent) })
}

func (s *site) now(t *testing.T, id string) *types.Entry {
	t.Helper()
	e, err := s.Entry.GetEntry(t.Context(), &entryv1.GetEntryRequest{Id: id})
	if err != nil {
		t.Fatal(err)
	}
	return e
}
