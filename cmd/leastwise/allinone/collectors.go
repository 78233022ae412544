package allinone

import (
	"context"
	"fmt"

	"github.com/leastwise/leastwise/collectors/agentusage"
	"github.com/leastwise/leastwise/collectors/certlog"
	"github.com/leastwise/leastwise/collectors/cloudtrail"
	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/collectors/gcpaudit"
	"github.com/leastwise/leastwise/collectors/jwtregistry"
	"github.com/leastwise/leastwise/collectors/spire"
	"github.com/leastwise/leastwise/collectors/vault"
	"github.com/leastwise/leastwise/internal/daemon"
)

// collectors are those that the configuration has a section for.
func (cfg *Config) collectors(deps collect.Deps) (parts []func(context.Context) error, err error) {
	add := func(wanted bool, build func() (collect.Runner, error)) {
		if !wanted || err != nil {
			return
		}
		var c collect.Runner
		if c, err = build(); err == nil {
			parts = append(parts, c.Run)
		} else {
			err = fmt.Errorf("%w: %w", daemon.ErrConfig, err)
		}
	}
	add(cfg.VaultCollector.File != "" || cfg.VaultCollector.Socket != "", func() (collect.Runner, error) { return vault.New(cfg.VaultCollector, deps) })
	add(cfg.CloudTrailCollector != nil, func() (collect.Runner, error) { return cloudtrail.New(*cfg.CloudTrailCollector, deps) })
	add(cfg.GCPAuditCollector != nil, func() (collect.Runner, error) { return gcpaudit.New(*cfg.GCPAuditCollector, deps) })
	add(cfg.CertLogCollector != nil, func() (collect.Runner, error) { return certlog.New(*cfg.CertLogCollector, deps) })
	add(cfg.SPIRECollector != nil, func() (collect.Runner, error) { return spire.New(*cfg.SPIRECollector, deps) })
	add(cfg.JWTRegistryCollector != nil, func() (collect.Runner, error) { return jwtregistry.New(*cfg.JWTRegistryCollector, deps) })
	add(cfg.AgentUsageCollector != nil, func() (collect.Runner, error) { return agentusage.New(*cfg.AgentUsageCollector, deps) })
	return parts, err
}
