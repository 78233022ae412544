package enforcer

import (
	"fmt"

	"github.com/leastwise/leastwise/enforcer/ssf"
	"github.com/leastwise/leastwise/enforcer/target/aws"
	"github.com/leastwise/leastwise/enforcer/target/gcp"
	"github.com/leastwise/leastwise/enforcer/target/oauth"
	"github.com/leastwise/leastwise/enforcer/target/spire"
	"github.com/leastwise/leastwise/enforcer/target/vault"
)

// openTargets opens the issuers of the configuration, each under the system
// and instance by which collectors name its credentials.
func (e *Enforcer) openTargets(deps Deps) error {
	add := func(system, instance string, t Target) {
		name := system + "/" + instance
		e.targets[name] = &issuer{Target: t, name: name}
	}
	for name, t := range deps.Targets {
		e.targets[name] = &issuer{Target: t, name: name}
	}
	for _, c := range e.cfg.Vault {
		t, err := vault.Open(c, e.log, e.now)
		if err != nil {
			return fmt.Errorf("enforcer: vault %s: %w", c.InstanceName(), err)
		}
		add("vault", c.InstanceName(), t)
		e.vaults = append(e.vaults, t)
	}
	for _, c := range e.cfg.AWS {
		t, err := aws.Open(c, deps.AWS, e.log, e.now)
		if err != nil {
			return fmt.Errorf("enforcer: aws %s: %w", c.InstanceName(), err)
		}
		add(aws.System, c.InstanceName(), t)
	}
	for _, c := range e.cfg.GCP {
		t, err := gcp.Open(c, e.log, e.now)
		if err != nil {
			return fmt.Errorf("enforcer: gcp %s: %w", c.InstanceName(), err)
		}
		add("gcpaudit", c.InstanceName(), t)
	}
	for _, c := range e.cfg.SPIRE {
		t, err := spire.Open(c, spire.Deps{Now: e.now, Issued: deps.SPIREIssued})
		if err != nil {
			return fmt.Errorf("enforcer: spire %s: %w", c.InstanceName(), err)
		}
		add("spire", c.InstanceName(), t)
	}
	for _, c := range e.cfg.OAuth {
		t, err := oauth.Open(c, e.log, e.now)
		if err != nil {
			return fmt.Errorf("enforcer: oauth %s: %w", c.InstanceName(), err)
		}
		add("jwtregistry", c.InstanceName(), t)
	}
	return nil
}

func (e *Enforcer) openTransmitter(deps Deps) error {
	e.transmitter = deps.Transmitter
	if e.transmitter != nil || len(e.cfg.SSF.Receivers) == 0 {
		return nil
	}
	t, err := ssf.Open(e.cfg.SSF, e.log, e.now, func(receiver, result string) { e.metrics.events.WithLabelValues(receiver, result).Inc() })
	if err != nil {
		return fmt.Errorf("enforcer: ssf: %w", err)
	}
	e.ssf, e.transmitter = t, t
	return nil
}
