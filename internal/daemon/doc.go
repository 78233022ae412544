// Package daemon is what every component's process shares: one strict
// configuration file, one logger, metrics, health, and an orderly end.
//
// It promises that a component which starts has a configuration with no
// unknown key and no wrong type in the sections it reads; that /readyz says
// "ready" only while every dependency the component has named is well; and
// that SIGINT or SIGTERM cancels the context the component runs under. A
// second signal ends the process at once, as kill -9 would.
//
// Run and Serve block until their context ends. Nothing here retries or keeps
// state on disk, so there is nothing it may lose.
//
// A component's main is:
//
//	func main() {
//		daemon.Main("collector-vault", func(ctx context.Context, args daemon.Args) error {
//			var cfg struct {
//				daemon.Common  `yaml:",inline"`
//				Kafka          stream.Config `yaml:"kafka"`
//				VaultCollector vault.Config  `yaml:"vault_collector"`
//			}
//			if err := args.Load(&cfg); err != nil {
//				return err
//			}
//			env, err := args.Env(cfg.Common)
//			if err != nil {
//				return err
//			}
//			...
//			return daemon.Run(ctx, env, env.Listen, collector.Run)
//		})
//	}
package daemon
