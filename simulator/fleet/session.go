package fleet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"
)

// Behaviour plays an agent until ctx ends. An error ends the whole fleet: it means that the simulation itself is
// broken, not that the agent was refused something.
type Behaviour func(ctx context.Context, s *Session) error

// RunOptions of a fleet.
type RunOptions struct {
	// Seed of everything that is left to chance.
	Seed uint64
	// DeliveryDir is where the enforcer leaves <agent>.json for an agent whose credential it revoked.
	DeliveryDir string
	// Report is called for every report, one at a time; it must not block for long, since the agents wait for it.
	Report func(Report)
	// Called is called after every answered call that an agent made with its token, by several agents at once; nil: nobody
	// wants to know. It must not block.
	Called func(Call)
	// Agents to run; nil: Agents().
	Agents []Agent
}

// Run plays the agents until ctx ends, which is not an error.
func (s *Site) Run(ctx context.Context, opts RunOptions) error {
	if opts.Agents == nil {
		opts.Agents = Agents()
	}
	if opts.Report == nil {
		opts.Report = func(Report) {}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		telling sync.Mutex
		agents  sync.WaitGroup
		errs    = make([]error, len(opts.Agents))
	)
	for i, a := range opts.Agents {
		session, err := s.session(a.Name, uint64(i), opts, func(r Report) {
			telling.Lock()
			defer telling.Unlock()
			opts.Report(r)
		})
		if err != nil {
			cancel()
			agents.Wait()
			return err
		}
		agents.Go(func() {
			err := a.Behaviour(ctx, session)
			session.tell(Stopped)
			if err != nil && ctx.Err() == nil {
				errs[i] = fmt.Errorf("agent %s: %w", a.Name, err)
				cancel()
			}
		})
	}
	agents.Wait()
	return errors.Join(errs...)
}

// Session is a running agent: its client, the credential it holds, and what it counted with it. One goroutine's.
type Session struct {
	name     string
	site     *Site
	client   *api.Client
	rand     *rand.Rand
	delivery string
	emit     func(Report)
	called   func(Call)

	accessor   string
	credential string
	delivered  bool
	alive      bool
	takenAt    time.Time
	calls      Calls
	denied     map[string]struct{}
	toldAt     time.Time
}

func (s *Site) session(name string, stream uint64, opts RunOptions, emit func(Report)) (*Session, error) {
	client, err := newClient(s.Addr)
	if err != nil {
		return nil, err
	}
	if opts.Called == nil {
		opts.Called = func(Call) {}
	}
	return &Session{
		name: name, site: s, client: client, delivery: opts.DeliveryDir, emit: emit, called: opts.Called,
		rand: rand.New(rand.NewPCG(opts.Seed, stream)),
	}, nil
}

// errLost says that Vault does not know the agent's token any more.
var errLost = errors.New("the token is gone")

// login takes a credential with the agent's AppRole, and keeps trying while Vault is away.
func (s *Session) login(ctx context.Context) error {
	role, ok := s.site.roles[s.name]
	if !ok {
		return fmt.Errorf("there is no role %q", s.name)
	}
	if s.alive {
		s.tell(Replaced)
	}
	for {
		s.client.ClearToken()
		secret, err := s.client.Logical().WriteWithContext(ctx, "auth/approle/login",
			map[string]any{"role_id": role.roleID, "secret_id": role.secretID})
		if err == nil {
			return s.take(ctx, secret.Auth, LoggedIn)
		}
		if answered(err) {
			return fmt.Errorf("log in: %w", err)
		}
		if err := sleep(ctx, s.site.day/3); err != nil {
			return err
		}
	}
}

// take makes a token the session's own and begins its counts.
func (s *Session) take(ctx context.Context, auth *api.SecretAuth, how Event) error {
	if auth == nil || auth.ClientToken == "" {
		return errors.New("vault answered without a token")
	}
	s.client.SetToken(auth.ClientToken)
	s.accessor, s.credential = auth.Accessor, ""
	s.delivered = how == Reissued
	s.alive, s.takenAt = true, time.Now()
	s.calls, s.denied = Calls{}, map[string]struct{}{}
	for {
		hash, err := s.site.Hashed(ctx, auth.Accessor)
		if err == nil {
			s.credential = hash
			break
		}
		if answered(err) {
			return err
		}
		if err := sleep(ctx, s.site.day/3); err != nil {
			return err
		}
	}
	s.tell(how)
	return nil
}

func (s *Session) read(ctx context.Context, path string) error {
	return s.call(ctx, http.MethodGet, path, nil)
}

func (s *Session) write(ctx context.Context, path string, data map[string]any) error {
	return s.call(ctx, http.MethodPut, path, data)
}

// call makes one call with the session's token and counts its answer. Being denied is not an error: it is what some
// agents are for. It returns errLost when Vault refused the token itself, and the context's error.
func (s *Session) call(ctx context.Context, method, path string, data map[string]any) error {
	began := time.Now()
	err := s.ask(ctx, method, path, data)
	if err != nil && ctx.Err() != nil {
		s.calls.CutOff++ // neither allowed nor refused, as far as the agent knows
		return ctx.Err()
	}
	response := (*api.ResponseError)(nil)
	if err == nil || errors.As(err, &response) {
		status := http.StatusOK
		if err != nil {
			status = response.StatusCode
		}
		s.called(Call{Agent: s.name, Credential: s.credential, Method: method, Path: path, Status: status, Began: began, Ended: time.Now()})
	}
	switch {
	case err == nil:
		s.calls.OK++
	case response == nil:
		s.calls.Unanswered++
	case gone(response):
		s.alive = false
		return errLost
	case response.StatusCode == http.StatusForbidden:
		s.calls.Denied++
		s.denied[method+" "+path] = struct{}{}
		s.calls.DeniedPermissions = len(s.denied)
	default:
		s.calls.Failed++
		s.calls.Failure = fmt.Sprintf("%s %s: %d %s", method, path, response.StatusCode, strings.Join(response.Errors, "; "))
	}
	if time.Since(s.toldAt) >= 500*time.Millisecond {
		s.tell(Working)
	}
	return nil
}

func (s *Session) ask(ctx context.Context, method, path string, data map[string]any) error {
	request := s.client.NewRequest(method, "/v1/"+path)
	if data != nil {
		if err := request.SetJSONBody(data); err != nil {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
	}
	//nolint:staticcheck // The raw call: only it shows what Vault answered, without retries and without a 404 made nil.
	response, err := s.client.RawRequestWithContext(ctx, request)
	if response != nil {
		_ = response.Body.Close()
	}
	return err
}

// tell reports where the agent stands.
func (s *Session) tell(event Event) {
	s.toldAt = time.Now()
	s.emit(Report{
		At: s.toldAt, Agent: s.name, Event: event, Accessor: s.accessor, Credential: s.credential,
		Delivered: s.delivered, Alive: s.alive, Calls: s.calls,
	})
}

// item is a random item of a tree that Setup has written.
func (s *Session) item(tree string) string {
	return fmt.Sprintf("secret/data/%s/%d", tree, s.rand.IntN(itemsPerTree))
}

// answered reports whether an error is Vault's own answer, so that asking again would give the same.
func answered(err error) bool {
	response := (*api.ResponseError)(nil)
	return errors.As(err, &response) && response.StatusCode < http.StatusInternalServerError
}

// gone reports whether Vault refused the token or accessor itself, and not merely what was asked with it.
func gone(response *api.ResponseError) bool {
	// Vault 1.19 answers 403 for a token and 400 for an accessor; a denied call has neither text.
	return response.StatusCode < http.StatusInternalServerError && slices.ContainsFunc(response.Errors, func(text string) bool {
		return strings.Contains(text, "invalid token") || strings.Contains(text, "invalid accessor")
	})
}

// removeFile removes what an agent has taken, so that no secret lies about.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove what was delivered: %w", err)
	}
	return nil
}
