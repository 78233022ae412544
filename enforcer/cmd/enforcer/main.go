// Command enforcer runs the graded ladder of Leastwise: it takes decisions from
// Kafka and revokes and re-issues credentials at their issuers.
//
// It reads no ClickHouse. So what issuers do not list and only events tell
// stays unknown here: which other sessions of an AWS role a revocation hits,
// what all of them used together (AWS roles are not narrowed), and until when
// the SVIDs live that SPIRE was seen to issue (its own bounds are shown).
// `leastwise up` knows all three.
package main

import (
	"context"

	"github.com/leastwise/leastwise/enforcer"
	"github.com/leastwise/leastwise/enforcer/notify"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/stream"
)

func main() {
	daemon.Main("enforcer", run)
}

func run(ctx context.Context, args daemon.Args) error {
	var cfg struct {
		daemon.Common `yaml:",inline"`
		Kafka         stream.Config   `yaml:"kafka"`
		Enforcer      enforcer.Config `yaml:"enforcer"`
		Channels      notify.Section  `yaml:"channels"`
	}
	if err := args.Load(&cfg); err != nil {
		return err
	}
	env, err := args.Env(cfg.Common)
	if err != nil {
		return err
	}
	kafka, err := stream.Open(ctx, cfg.Kafka, env.Log)
	if err != nil {
		return err
	}
	defer kafka.Close()
	if len(cfg.Enforcer.AWS)+len(cfg.Enforcer.SPIRE) > 0 {
		env.Log.Info("what only events tell of AWS sessions and SVIDs is unknown to this binary; leastwise up reads it from ClickHouse")
	}
	e, err := enforcer.New(cfg.Enforcer, enforcer.Deps{Stream: kafka, Env: env, Channels: cfg.Channels})
	if err != nil {
		return err
	}
	return daemon.Run(ctx, env, env.Listen, e.Run)
}
