package sources

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/leastwise/leastwise/simulator/agentlog"
	"github.com/leastwise/leastwise/simulator/awstrail"
	"github.com/leastwise/leastwise/simulator/fleet"
	"github.com/leastwise/leastwise/simulator/tokenissuer"
)

// Paces of the agent's life.
const (
	loginEvery   = 6 * time.Second // a token of the issuer, and a session of AWS for it
	reportEvery  = 700 * time.Millisecond
	svidEvery    = 5 * time.Second
	backupEvery  = 500 * time.Millisecond
	deliverEvery = time.Second // of the trail, where CloudTrail takes minutes
	svidWithin   = 30 * time.Second
	lastly       = 3 * time.Second
)

// Run plays the agent in all sources but Vault, and sends its log, until ctx ends. took is told each credential that it
// takes, by several goroutines. An error means that the simulation is broken.
func (s *Sources) Run(ctx context.Context, took func(source, key string)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	var errs []error
	var running sync.WaitGroup
	play := func(name string, part func(context.Context) error) {
		running.Go(func() {
			if err := part(ctx); err != nil && ctx.Err() == nil {
				mu.Lock()
				errs = append(errs, fmt.Errorf("agent %s: %s: %w", fleet.Steady, name, err))
				mu.Unlock()
				cancel()
			}
		})
	}
	play("log", func(ctx context.Context) error { s.log.Run(ctx); return nil })
	play("tokens and AWS", func(ctx context.Context) error { return s.work(ctx, took) })
	if s.agent != nil {
		play("SPIRE", func(ctx context.Context) error {
			if err := s.firstSVID(ctx, took); err != nil {
				return err
			}
			return each(ctx, svidEvery, func() error { return s.fetchSVID(ctx, took) })
		})
	}
	if s.AWS != nil {
		play("backup", func(ctx context.Context) error { return each(ctx, backupEvery, func() error { return s.backUp(ctx) }) })
		play("trail", func(ctx context.Context) error {
			return each(ctx, deliverEvery, func() error { return s.AWS.Deliver(ctx) })
		})
	}
	running.Wait()
	if s.AWS != nil && len(errs) == 0 { // what was recorded since the last delivery
		last, stop := context.WithTimeout(context.WithoutCancel(ctx), lastly)
		defer stop()
		if err := s.AWS.Deliver(last); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Called logs a call that the agent made at Vault; the other agents keep no log.
func (s *Sources) Called(c fleet.Call) {
	if c.Agent != fleet.Steady || c.Credential == "" {
		return
	}
	s.log.Add(agentlog.Span{Start: c.Began, End: c.Ended, Name: c.Method, Failed: c.Status >= http.StatusBadRequest, Attributes: map[string]string{
		"http.request.method": c.Method, "server.address": "vault.example.org", "url.path": "/v1/" + c.Path,
		"http.response.status_code": strconv.Itoa(c.Status), "vault.token.accessor": c.Credential}})
}

// Took notes the token that the agent holds at Vault, as the audit log shows its accessor.
func (s *Sources) Took(accessor string) { s.hold(Vault, "vault/default/token/"+accessor) }

// work takes tokens, assumes the role with them, and writes and reads reports.
func (s *Sources) work(ctx context.Context, took func(source, key string)) error {
	var session *awstrail.Session
	var since time.Time
	n := 0
	return each(ctx, reportEvery, func() error {
		if time.Since(since) >= loginEvery {
			since = time.Now()
			token, err := s.login(took)
			if err != nil || s.AWS == nil {
				return err
			}
			session, err = s.assume(ctx, token, took)
			return err
		}
		if session == nil {
			return nil
		}
		var content []byte
		if n%2 == 0 {
			content = fmt.Appendf(nil, "report %d", n)
		}
		call, err := session.Report(ctx, fmt.Sprintf("daily/%d", n/2%10), content)
		n++
		if err == nil {
			s.logAWS(call, session)
		}
		return err
	})
}

// backUp is what the backup job does. It goes on trying when AWS refuses it.
func (s *Sources) backUp(ctx context.Context) error {
	written, refused := s.BackedUp()
	call, err := s.Key.Write(ctx, fmt.Sprintf("backup/%d", (written+refused)%10), []byte("backup"))
	switch {
	case err != nil:
		return err
	case call.Failure != "":
		s.refused.Add(1)
	default:
		s.backedUp.Add(1)
	}
	return nil
}

// held is a token of the issuer that the agent holds.
type held struct{ token, jti string }

func (s *Sources) login(took func(source, key string)) (held, error) {
	token, jti, err := s.Issuer.Issue(tokenissuer.Grant{Subject: Subject, AgentID: fleet.SteadyID, Audience: awstrail.Audience,
		Scope: "reports.write", Life: time.Minute})
	if err != nil {
		return held{}, err
	}
	key := "jwtregistry/default/jwt/" + jti
	s.hold(JWTRegistry, key)
	took(JWTRegistry, key)
	if s.AWS == nil { // nobody else takes it: the agent tells that it has it
		now := time.Now()
		s.log.Add(agentlog.Span{Start: now, End: now, Name: "token", Attributes: map[string]string{"rpc.system": "oauth",
			"rpc.service": tokenissuer.Name, "rpc.method": "token", "oauth.token.jti": jti}})
	}
	return held{token, jti}, nil
}

func (s *Sources) assume(ctx context.Context, with held, took func(source, key string)) (*awstrail.Session, error) {
	began := time.Now()
	session, err := s.AWS.Assume(ctx, with.token, Subject)
	if err != nil {
		return nil, err
	}
	s.log.Add(agentlog.Span{Start: began, End: time.Now(), Name: "STS.AssumeRoleWithWebIdentity", Attributes: map[string]string{
		"rpc.system": "aws-api", "rpc.service": "STS", "rpc.method": "AssumeRoleWithWebIdentity", "oauth.token.jti": with.jti}})
	call, err := session.WhoAmI(ctx)
	if err != nil {
		return nil, err
	}
	s.logAWS(call, session)
	key := "cloudtrail/default/session/" + session.KeyID
	s.hold(CloudTrail, key)
	took(CloudTrail, key)
	return session, nil
}

func (s *Sources) logAWS(c awstrail.Call, session *awstrail.Session) {
	attributes := map[string]string{"rpc.system": "aws-api", "rpc.service": c.Service, "rpc.method": c.Action, "aws.access_key_id": session.KeyID}
	if c.Failure != "" {
		attributes["error.type"] = c.Failure
	}
	s.log.Add(agentlog.Span{Start: c.At, End: time.Now(), Name: c.Service + "." + c.Action, Failed: c.Failure != "", Attributes: attributes})
}

// firstSVID waits until there is one: SPIRE's server takes new entries over every five seconds, and its agent too.
func (s *Sources) firstSVID(ctx context.Context, took func(source, key string)) error {
	patience, cancel := context.WithTimeout(ctx, svidWithin)
	defer cancel()
	for {
		err := s.fetchSVID(ctx, took)
		if err == nil {
			return nil
		}
		timer := time.NewTimer(300 * time.Millisecond)
		select {
		case <-timer.C:
		case <-patience.Done():
			timer.Stop()
			return err
		}
	}
}

// fetchSVID asks the Workload API, as a workload does, and notes the SVID if it is another.
func (s *Sources) fetchSVID(ctx context.Context, took func(source, key string)) error {
	began := time.Now()
	out, err := s.agent.Fetch(ctx, "x509", "-output", "json")
	if err != nil {
		return err
	}
	var answer struct {
		SVIDs []struct {
			ID   string `json:"spiffe_id"`
			Cert []byte `json:"x509_svid"`
		} `json:"svids"`
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		return fmt.Errorf("read the Workload API's answer: %w", err)
	}
	for _, svid := range answer.SVIDs {
		chain, err := x509.ParseCertificates(svid.Cert)
		if err != nil || len(chain) == 0 {
			return fmt.Errorf("read the SVID of %s: %w", svid.ID, err)
		}
		if svid.ID != SPIFFEID {
			continue
		}
		serial := chain[0].SerialNumber.String()
		key := "spire/default/x509_svid/" + serial
		if s.hold(SPIRE, key) {
			took(SPIRE, key)
		}
		s.log.Add(agentlog.Span{Start: began, End: time.Now(), Name: "FetchX509SVID", Attributes: map[string]string{"rpc.system": "grpc",
			"rpc.service": "SpiffeWorkloadAPI", "rpc.method": "FetchX509SVID", "spiffe.svid.serial": serial}})
	}
	return nil
}

// each does something at once and then at intervals, until ctx ends or it fails.
func each(ctx context.Context, interval time.Duration, do func() error) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if err := do(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
