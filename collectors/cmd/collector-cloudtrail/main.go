// Command collector-cloudtrail reads AWS CloudTrail from files, S3 or SQS and publishes what it tells to Kafka.
package main

import (
	"context"

	"github.com/leastwise/leastwise/collectors/cloudtrail"
	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/stream"
)

func main() {
	daemon.Main("collector-cloudtrail", run)
}

func run(ctx context.Context, args daemon.Args) error {
	var cfg struct {
		daemon.Common `yaml:",inline"`
		Kafka         stream.Config     `yaml:"kafka"`
		Collector     cloudtrail.Config `yaml:"cloudtrail_collector"`
	}
	if err := args.Load(&cfg); err != nil {
		return err
	}
	return collect.Serve(ctx, args, cfg.Common, cfg.Kafka, func(deps collect.Deps) (collect.Runner, error) {
		return cloudtrail.New(cfg.Collector, deps)
	})
}
