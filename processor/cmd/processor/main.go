// Command processor turns credential events into state and decisions. See the package processor.
package main

import (
	"context"

	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/processor"
	"github.com/leastwise/leastwise/schemas/migrations"
)

func main() { daemon.Main("processor", run) }

func run(ctx context.Context, args daemon.Args) error {
	var cfg struct {
		daemon.Common `yaml:",inline"`
		Kafka         stream.Config            `yaml:"kafka"`
		ClickHouse    store.Config             `yaml:"clickhouse"`
		Processor     processor.Config         `yaml:"processor"`
		Policies      processor.PoliciesConfig `yaml:"policies"`
		Catalog       processor.CatalogConfig  `yaml:"catalog"`
	}
	if err := args.Load(&cfg); err != nil {
		return err
	}
	env, err := args.Env(cfg.Common)
	if err != nil {
		return err
	}
	client, err := stream.Open(ctx, cfg.Kafka, env.Log)
	if err != nil {
		return err
	}
	defer client.Close()
	db, err := store.Open(ctx, cfg.ClickHouse, env.Log)
	if err != nil {
		return err
	}
	defer db.Close()
	rules, err := processor.NewInForce(ctx, env, cfg.Policies, cfg.Catalog)
	if err != nil {
		return err
	}
	p, err := processor.New(cfg.Processor, processor.Deps{Env: env, Stream: client, Store: db, Rules: rules.Rules, Catalog: rules.Catalog})
	if err != nil {
		return err
	}
	return daemon.Run(ctx, env, env.Listen, rules.Run, func(ctx context.Context) error {
		if err := p.Prepare(ctx, db, migrations.FS); err != nil {
			return err
		}
		return p.Run(ctx)
	})
}
