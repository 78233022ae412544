package deadletter

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
	"github.com/leastwise/leastwise/collectors/agentusage"
	"github.com/leastwise/leastwise/collectors/certlog"
	"github.com/leastwise/leastwise/collectors/cloudtrail"
	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/collectors/gcpaudit"
	"github.com/leastwise/leastwise/collectors/jwtregistry"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/collectors/spire"
	"github.com/leastwise/leastwise/collectors/vault"
	"github.com/leastwise/leastwise/internal/daemon"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// newDecoder is the one that the source's collector has, by the configuration as it is now; nil: there is no such source.
// What a record of Vault leaves to the collector's inventory (which role makes orphans, what a hash stands for) is unknown
// here, and stays so.
func (r *replay) newDecoder(cfg *allinone.Config) (source.Decoder, error) {
	fact := func(fact *pb.Fact) {
		if grant := fact.GetGrant(); grant != nil {
			r.facts = append(r.facts, collect.FactMessage(grant.GetId(), fact))
		}
	}
	switch r.source {
	case vault.System:
		c := cfg.VaultCollector
		return vault.NewDecoder(vault.Options{Instance: r.instance, Prefix: c.Prefix, MaxBytes: c.MaxRecordBytes}), nil
	case cloudtrail.System:
		opts := cloudtrail.Options{Instance: r.instance, Facts: fact}
		if c := cfg.CloudTrailCollector; c != nil {
			opts.MaxBytes = c.MaxRecordBytes
		}
		return cloudtrail.NewDecoder(opts), nil
	case gcpaudit.System:
		opts := gcpaudit.Options{Instance: r.instance, Facts: fact}
		if c := cfg.GCPAuditCollector; c != nil {
			opts.MaxBytes = c.MaxRecordBytes
		}
		return gcpaudit.NewDecoder(opts), nil
	case spire.System:
		opts := spire.Options{Instance: r.instance}
		if c := cfg.SPIRECollector; c != nil {
			opts.MaxBytes = c.MaxRecordBytes
		}
		return spire.NewDecoder(opts), nil
	case certlog.System:
		opts := certlog.Options{Instance: r.instance, All: true}
		if c := cfg.CertLogCollector; c != nil {
			opts.TrustDomains, opts.Domains, opts.All = c.TrustDomains, c.Domains, c.All
		}
		return certlog.NewDecoder(opts), nil
	case jwtregistry.System:
		return r.jwtDecoder(cfg.JWTRegistryCollector)
	case agentusage.System:
		return r.agentDecoder(cfg.AgentUsageCollector)
	}
	return nil, nil
}

func (r *replay) jwtDecoder(c *jwtregistry.Config) (source.Decoder, error) {
	opts := jwtregistry.Options{Instance: r.instance}
	if c != nil {
		opts.Issuer, opts.KeycloakURL, opts.VaultInstance, opts.MaxBytes = c.Issuer, c.KeycloakURL, c.VaultInstance, c.MaxRecordBytes
		if c.JWKS != nil {
			keys, err := jwtregistry.NewKeySet(*c.JWKS, time.Now, slog.New(slog.DiscardHandler))
			if err != nil {
				return nil, fmt.Errorf("%w: jwtregistry_collector: jwks: %w", daemon.ErrConfig, err)
			}
			opts.Keys = keys
		}
	}
	return jwtregistry.NewDecoder(opts), nil
}

func (r *replay) agentDecoder(c *agentusage.Config) (source.Decoder, error) {
	opts := agentusage.Options{Instance: r.instance}
	if c != nil {
		opts.Credentials, opts.BedrockAgent, opts.MaxBytes = c.Credentials, c.BedrockAgent, c.MaxRecordBytes
		if c.MappingFile != "" {
			mapping, err := agentusage.LoadMapping(c.MappingFile)
			if err != nil {
				return nil, fmt.Errorf("%w: agentusage_collector: mapping_file: %w", daemon.ErrConfig, err)
			}
			opts.Mapping = mapping
		}
	}
	return agentusage.NewDecoder(opts), nil
}
