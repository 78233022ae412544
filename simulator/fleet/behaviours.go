package fleet

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Times of the agents' lives, in days of the site's scale.
const (
	steadyTTL    = 4
	steadyMaxTTL = 6
	// The steady agent renews at half its time to live and takes a new token before the old one can be renewed no more.
	steadyRenewAfter = 2
	steadyLoginAfter = 4

	childAfter = 5
	childDays  = 20
)

// SteadyCallsPerDay is how often the steady agent calls, in the site's scaled days: the expected use of its catalog entry.
const SteadyCallsPerDay = 6

// steady keeps its tokens short and uses all of what it may do, at an even rate.
func steady(ctx context.Context, s *Session) error {
	day := s.site.day
	if err := s.login(ctx); err != nil {
		return err
	}
	renewedAt := s.takenAt
	for n := 0; ; n++ {
		now := time.Now()
		var err error
		switch {
		case now.Sub(s.takenAt) >= steadyLoginAfter*day:
			err = s.login(ctx)
			renewedAt = s.takenAt
		case now.Sub(renewedAt) >= steadyRenewAfter*day:
			err = s.write(ctx, "auth/token/renew-self", nil)
			renewedAt = now
		}
		if err == nil {
			if n%2 == 0 {
				err = s.read(ctx, s.item("config"))
			} else {
				err = s.write(ctx, fmt.Sprintf("secret/data/reports/%d", n/2%10), kv("report", n))
			}
		}
		if errors.Is(err, errLost) {
			s.tell(Lost)
			err = s.login(ctx)
			renewedAt = s.takenAt
		}
		if err != nil {
			return err
		}
		if err := sleep(ctx, day/SteadyCallsPerDay); err != nil {
			return err
		}
	}
}

// ingest does its task, which needs to write storage, and then only reads for the rest of its life with the same
// token. It uses what it is given back the same way.
func ingest(ctx context.Context, s *Session) error {
	if err := s.login(ctx); err != nil {
		return err
	}
	err := s.ingestTask(ctx)
	for {
		if err == nil {
			err = s.readOn(ctx, "ingest", s.site.day/5)
		}
		if !errors.Is(err, errLost) {
			return err
		}
		err = s.awaitReissue(ctx)
	}
}

// ingestTask takes about a day.
func (s *Session) ingestTask(ctx context.Context) error {
	const parts = 20
	for part := range parts {
		if err := s.read(ctx, s.item("ingest")); err != nil {
			return err
		}
		// A quarter of the parts is written again, which is an update to Vault, where the first time is a create.
		if err := s.write(ctx, fmt.Sprintf("secret/data/storage/part-%d", part-part%4/3), kv("part", part)); err != nil {
			return err
		}
		if err := sleep(ctx, s.site.day/parts); err != nil {
			return err
		}
	}
	return nil
}

// diagnostic means to keep one token for its whole deployment, and makes a child of it on the way.
func diagnostic(ctx context.Context, s *Session) error {
	if err := s.login(ctx); err != nil {
		return err
	}
	child, err := s.site.session(DiagnosticChild, 1<<32, RunOptions{Seed: s.rand.Uint64(), Called: s.called}, s.emit)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	defer func() {
		cancel()
		<-ended
	}()
	go func() {
		defer close(ended)
		child.liveAsChild(ctx, s.client.Token())
	}()
	for {
		err := s.readOn(ctx, "diag", s.site.day/4)
		if !errors.Is(err, errLost) {
			return err
		}
		if err := s.awaitReissue(ctx); err != nil {
			return err
		}
	}
}

// liveAsChild makes a token with the parent's and reads with it until it is gone, which it is when its parent is.
func (s *Session) liveAsChild(ctx context.Context, parent string) {
	if sleep(ctx, childAfter*s.site.day) != nil {
		return
	}
	s.client.SetToken(parent)
	made, err := s.client.Logical().WriteWithContext(ctx, "auth/token/create", map[string]any{
		"policies": []string{diagnosticChildPolicyName}, "no_default_policy": true,
		"ttl": fmt.Sprintf("%ds", seconds(childDays*s.site.day)), "display_name": "diagnostic-child",
		"meta": map[string]string{"agent": Diagnostic},
	})
	if err != nil || made == nil || s.take(ctx, made.Auth, LoggedIn) != nil {
		return // the parent is gone already, or the fleet ends
	}
	if errors.Is(s.readOn(ctx, "diag", s.site.day), errLost) {
		s.tell(Lost)
	}
	s.tell(Stopped)
}

// probes are what the probing agent was never granted: six distinct permissions.
var probes = []struct {
	method, path string
	data         map[string]any
}{
	{http.MethodGet, "sys/mounts", nil},
	{http.MethodGet, "sys/policies/acl/root", nil},
	{http.MethodGet, "secret/data/storage/part-1", nil},
	{http.MethodPut, "pki/issue/admin", map[string]any{"common_name": "admin.example.org"}},
	{http.MethodGet, "auth/approle/role/ingest/role-id", nil},
	{http.MethodPut, "secret/data/diag/0", map[string]any{"data": map[string]any{"value": "probe"}}},
}

// Probes is how many distinct permissions the probing agent tries in vain.
func Probes() int { return len(probes) }

// probing reads a little, tries every probe, and then goes on trying the first ones: more denials, no more permissions.
func probing(ctx context.Context, s *Session) error {
	if err := s.login(ctx); err != nil {
		return err
	}
	for n := 0; ; n++ {
		err := s.read(ctx, s.item("diag"))
		if err == nil {
			probe := probes[n%3]
			if n < len(probes) {
				probe = probes[n]
			}
			err = s.call(ctx, probe.method, probe.path, probe.data)
		}
		if errors.Is(err, errLost) {
			err = s.awaitReissue(ctx)
		}
		if err != nil {
			return err
		}
		if err := sleep(ctx, s.site.day/2); err != nil {
			return err
		}
	}
}

// reader holds one token for as long as it lives, and uses one permission of the many it has.
func reader(tree string) Behaviour {
	return func(ctx context.Context, s *Session) error {
		if err := s.login(ctx); err != nil {
			return err
		}
		for {
			err := s.readOn(ctx, tree, s.site.day/3)
			if !errors.Is(err, errLost) {
				return err
			}
			if err := s.awaitReissue(ctx); err != nil {
				return err
			}
		}
	}
}

// readOn reads items of a tree, one every so often (give or take a quarter), until its context ends or the token does.
func (s *Session) readOn(ctx context.Context, tree string, every time.Duration) error {
	for {
		if err := s.read(ctx, s.item(tree)); err != nil {
			return err
		}
		if err := sleep(ctx, every*3/4+time.Duration(s.rand.Int64N(int64(every/2)+1))); err != nil {
			return err
		}
	}
}

func kv(name string, n int) map[string]any {
	return map[string]any{"data": map[string]any{"value": fmt.Sprintf("%s-%d", name, n)}}
}
