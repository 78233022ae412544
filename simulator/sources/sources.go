// Package sources gives one agent of the fleet, the steady one, a life beyond Vault: an SVID of a real SPIRE, a role in an
// AWS account on moto with the trail of what it does there, tokens of an issuer with a registry, and a log of its own over
// OTLP, in which it tells of every call it makes, those at Vault too.
//
// It promises that whatever it names is real: keys, serials and ids are those that the servers gave. Start blocks until
// all servers answer; a server whose program is not on the machine is left out, and said to be. Stop ends exactly what
// Start started; nothing survives it.
package sources

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/leastwise/leastwise/simulator/agentlog"
	"github.com/leastwise/leastwise/simulator/awstrail"
	"github.com/leastwise/leastwise/simulator/child"
	"github.com/leastwise/leastwise/simulator/fleet"
	"github.com/leastwise/leastwise/simulator/motoserver"
	"github.com/leastwise/leastwise/simulator/spireserver"
	"github.com/leastwise/leastwise/simulator/tokenissuer"
)

// Names of the sources, as they stand in events.
const (
	Vault       = "vault"
	SPIRE       = "spire"
	CloudTrail  = "cloudtrail"
	JWTRegistry = "jwtregistry"
	AgentUsage  = "agentusage"
)

// What the agent is called in each source; the demo's catalog lists the same.
const (
	TrustDomain = "example.org"
	SPIFFEID    = "spiffe://" + TrustDomain + "/ns/reports/sa/" + fleet.Steady
	// Subject of the agent's tokens, and the issuer's name of the client.
	Subject = fleet.Steady
	RoleARN = "arn:aws:iam::" + awstrail.Account + ":role/" + fleet.Steady

	node    = "spiffe://" + TrustDomain + "/node"
	svidTTL = 60 // seconds; its half is when SPIRE's agent takes another

	// Backup is a job that no agent is: it works with one access key, for ever.
	Backup    = "backup"
	BackupARN = "arn:aws:iam::" + awstrail.Account + ":user/" + Backup
)

// LeftOut is a source that does not run here.
type LeftOut struct{ Source, Why string }

// Sources that run.
type Sources struct {
	// SPIRELog and SPIRESocket are the server's log and admin API; empty if SPIRE is left out.
	SPIRELog, SPIRESocket string
	// Moto is the endpoint of AWS and AWS the account in it; empty and nil if moto is left out.
	Moto string
	AWS  *awstrail.Site
	// Key is that of the backup job; nil if moto is left out.
	Key *awstrail.Key
	// Issuer of tokens, and its registry.
	Issuer *tokenissuer.Issuer
	// OTLP is HOST:PORT at which the agent's log is to be received.
	OTLP    string
	LeftOut []LeftOut

	log   *agentlog.Log
	spire *spireserver.Server
	agent *spireserver.Agent
	moto  *motoserver.Server

	backedUp atomic.Uint64 // writes of the backup job that AWS took
	refused  atomic.Uint64 // and those that it refused

	mu      sync.Mutex
	current map[string]string // under mu; key of the credential that the agent holds, by source
}

// Start starts all servers, side by side, with their files in dir. say is told what is begun, from several goroutines.
func Start(ctx context.Context, dir string, say func(string)) (*Sources, error) {
	s := &Sources{current: map[string]string{}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the sources' directory: %w", err)
	}
	var err error
	if s.OTLP, err = child.FreePort(); err != nil {
		return nil, err
	}
	s.log = agentlog.New(s.OTLP, fleet.Steady, fleet.SteadyID)
	if s.Issuer, err = tokenissuer.Start(filepath.Join(dir, "registry_token")); err != nil {
		return nil, err
	}
	var starting sync.WaitGroup
	var spireErr, motoErr error
	starting.Go(func() { spireErr = s.startSPIRE(ctx, dir, say) })
	starting.Go(func() { motoErr = s.startMoto(ctx, dir, say) })
	starting.Wait()
	for _, missing := range []struct {
		source string
		err    error
		is     error
	}{{SPIRE, spireErr, spireserver.ErrNotFound}, {CloudTrail, motoErr, motoserver.ErrNotFound}} {
		if errors.Is(missing.err, missing.is) {
			s.LeftOut = append(s.LeftOut, LeftOut{missing.source, missing.err.Error()})
		} else if missing.err != nil {
			return nil, errors.Join(missing.err, s.Stop())
		}
	}
	return s, nil
}

func (s *Sources) startSPIRE(ctx context.Context, dir string, say func(string)) error {
	if _, err := spireserver.Find(); err != nil {
		return err
	}
	say("starting a SPIRE server and agent (" + spireserver.Version + ") …")
	log := filepath.Join(dir, "spire-server.log")
	server, err := spireserver.Start(ctx, spireserver.Options{TrustDomain: TrustDomain, LogFile: log})
	if err != nil {
		return fmt.Errorf("start SPIRE: %w", err)
	}
	s.spire, s.SPIRELog, s.SPIRESocket = server, log, server.Socket
	// Before the agent comes, which then has it with its first look.
	if _, err := server.CreateEntry(ctx, node, SPIFFEID, "-selector", "unix:uid:"+strconv.Itoa(os.Getuid()),
		"-x509SVIDTTL", strconv.Itoa(svidTTL)); err != nil {
		return fmt.Errorf("register the agent at SPIRE: %w", err)
	}
	if s.agent, err = server.StartAgent(ctx, node); err != nil {
		return fmt.Errorf("start a SPIRE agent: %w", err)
	}
	return nil
}

func (s *Sources) startMoto(ctx context.Context, dir string, say func(string)) error {
	if _, err := motoserver.Find(); err != nil {
		return err
	}
	say("starting moto, which answers as AWS does …")
	server, err := motoserver.Start(ctx, filepath.Join(dir, "moto"))
	if err != nil {
		return fmt.Errorf("start moto: %w", err)
	}
	s.moto, s.Moto = server, server.Endpoint
	if s.AWS, err = awstrail.Setup(ctx, server.Endpoint, fleet.Steady, tokenissuer.Name, Subject); err != nil {
		return err
	}
	s.Key, err = s.AWS.MakeKey(ctx, Backup)
	return err
}

// Stop ends the servers, and returns when they have ended.
func (s *Sources) Stop() error {
	var errs []error
	if s.spire != nil {
		errs = append(errs, s.spire.Stop())
	}
	if s.moto != nil {
		s.moto.Stop()
	}
	return errors.Join(append(errs, s.Issuer.Stop())...)
}

// Running lists the sources in which the agent lives, Vault among them.
func (s *Sources) Running() []string {
	return slices.DeleteFunc([]string{Vault, SPIRE, CloudTrail, JWTRegistry, AgentUsage}, func(source string) bool {
		return slices.ContainsFunc(s.LeftOut, func(l LeftOut) bool { return l.Source == source })
	})
}

// Current gives the key of the credential that the agent holds in each source but its own log, which issues none.
func (s *Sources) Current() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]string, len(s.current))
	for source, key := range s.current {
		out[source] = key
	}
	return out
}

// KeyID is the key of the backup job's credential; empty if there is none.
func (s *Sources) KeyID() string {
	if s.Key == nil {
		return ""
	}
	return "cloudtrail/default/access_key/" + s.Key.ID
}

// BackedUp counts what the backup job wrote, and what it was refused.
func (s *Sources) BackedUp() (written, refused uint64) { return s.backedUp.Load(), s.refused.Load() }

// hold notes a credential; false if the agent has it already.
func (s *Sources) hold(source, key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current[source] == key {
		return false
	}
	s.current[source] = key
	return true
}
