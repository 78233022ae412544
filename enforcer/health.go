package enforcer

import (
	"context"
	"time"
)

// healthEvery is how often targets are asked whether they answer.
const healthEvery = 15 * time.Second

// watch keeps each target's health, and says at the start what its own
// credential lacks: better now than when the first grace period is over.
func (e *Enforcer) watch(ctx context.Context) error {
	checked := map[string]bool{}
	tick := time.NewTicker(healthEvery)
	defer tick.Stop()
	for {
		for name, i := range e.targets {
			ask, cancel := context.WithTimeout(ctx, e.cfg.ActTimeout)
			missing, err := i.Capabilities(ask)
			cancel()
			if ctx.Err() != nil {
				return nil
			}
			e.env.Health.Set(name, err)
			if err != nil || checked[name] {
				continue
			}
			checked[name] = true
			for _, m := range missing {
				e.log.Error("enforcer: the target's credential lacks a capability (leastwise doctor prints the policy)", "target", name, "missing", m.String())
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
