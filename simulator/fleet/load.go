package fleet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

const loadRole = "load"

// LoadOptions of a background load.
type LoadOptions struct {
	Seed uint64
	// Tokens that call, each with a login of its own; 0: 10.
	Tokens int
	// CallsPerSecond over all tokens; 0: 100. Vault may be slower: then so is the load.
	CallsPerSecond float64
	// DeniedShare of the calls asks for what was not granted; 0: none.
	DeniedShare float64
}

// LoadToken is what one of the load's tokens did.
type LoadToken struct {
	// Accessor in clear, and Credential as the audit device shows it.
	Accessor, Credential string
	IssuedAt             time.Time
	TTL                  time.Duration
	// Uses were allowed; Denied were refused, on DeniedPermissions distinct pairs of operation and path.
	Uses, Denied, DeniedPermissions uint64
	// Unanswered calls may or may not have been carried out: where there are any, the counts are lower bounds.
	Unanswered uint64
}

// Load calls with many tokens until ctx ends, and then tells what each did. Calls begun before the end are waited for,
// so that the counts are exact; a login that Vault did not answer is not told of. An error is Vault's refusal of a
// login, or an answer to a call that is neither yes nor no.
func (s *Site) Load(ctx context.Context, opts LoadOptions) ([]LoadToken, error) {
	if opts.Tokens == 0 {
		opts.Tokens = 10
	}
	if opts.CallsPerSecond == 0 {
		opts.CallsPerSecond = 100
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		workers sync.WaitGroup
		tokens  = make([]LoadToken, opts.Tokens)
		errs    = make([]error, opts.Tokens)
		every   = time.Duration(float64(opts.Tokens) / opts.CallsPerSecond * float64(time.Second))
	)
	for i := range tokens {
		workers.Go(func() {
			if err := s.loadToken(ctx, opts, i, max(every, time.Microsecond), &tokens[i]); err != nil {
				errs[i] = fmt.Errorf("load token %d: %w", i, err)
				cancel()
			}
		})
	}
	workers.Wait()
	var logged []LoadToken
	for _, t := range tokens {
		if t.Credential != "" {
			logged = append(logged, t)
		}
	}
	return logged, errors.Join(errs...)
}

func (s *Site) loadToken(ctx context.Context, opts LoadOptions, index int, every time.Duration, truth *LoadToken) error {
	random := rand.New(rand.NewPCG(opts.Seed, uint64(index)))
	// The first call comes at a random moment of the interval, or all tokens would call at once.
	if sleep(ctx, time.Duration(random.Int64N(int64(every)))) != nil {
		return nil
	}
	session, err := s.session(loadRole, uint64(index), RunOptions{Seed: opts.Seed}, func(Report) {})
	if err != nil {
		return err
	}
	// Only the pace ends with ctx: a login or call that has begun is finished, or nobody would know whether it counts.
	whole := context.WithoutCancel(ctx)
	var issuedAt time.Time
	for session.credential == "" {
		if ctx.Err() != nil {
			return nil // Vault was away to the end: there is no token to tell of
		}
		issuedAt = time.Now()
		once, cancel := context.WithTimeout(whole, callTimeout)
		err := session.login(once)
		cancel()
		if err != nil && once.Err() == nil {
			return err
		}
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for n := 0; err == nil && ctx.Err() == nil; n++ {
		method, path, data := loadCall(random, index, n, random.Float64() < opts.DeniedShare)
		err = session.call(whole, method, path, data)
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
	calls := session.calls
	*truth = LoadToken{
		Accessor: session.accessor, Credential: session.credential, IssuedAt: issuedAt, TTL: time.Hour,
		Uses: calls.OK, Denied: calls.Denied, DeniedPermissions: uint64(calls.DeniedPermissions), Unanswered: calls.Unanswered,
	}
	if err == nil && calls.Failed > 0 {
		err = fmt.Errorf("%d calls got an answer that is neither yes nor no, the last: %s", calls.Failed, calls.Failure)
	}
	return err
}

func loadCall(random *rand.Rand, index, n int, deny bool) (method, path string, data map[string]any) {
	if deny {
		return http.MethodGet, fmt.Sprintf("secret/data/config/%d", random.IntN(itemsPerTree)), nil
	}
	switch random.IntN(10) {
	case 0:
		return "LIST", "secret/metadata/load/", nil
	case 1, 2:
		return http.MethodPut, fmt.Sprintf("secret/data/load/token-%d", index), kv("load", n)
	default:
		return http.MethodGet, fmt.Sprintf("secret/data/load/%d", random.IntN(itemsPerTree)), nil
	}
}
