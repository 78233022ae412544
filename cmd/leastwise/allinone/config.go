package allinone

import (
	"github.com/leastwise/leastwise/cmd/leastwise/broker"
	"github.com/leastwise/leastwise/cmd/leastwise/exceptionfile"
	"github.com/leastwise/leastwise/cmd/leastwise/gate"
	"github.com/leastwise/leastwise/collectors/agentusage"
	"github.com/leastwise/leastwise/collectors/certlog"
	"github.com/leastwise/leastwise/collectors/cloudtrail"
	"github.com/leastwise/leastwise/collectors/gcpaudit"
	"github.com/leastwise/leastwise/collectors/jwtregistry"
	"github.com/leastwise/leastwise/collectors/spire"
	"github.com/leastwise/leastwise/collectors/vault"
	"github.com/leastwise/leastwise/console"
	"github.com/leastwise/leastwise/enforcer"
	"github.com/leastwise/leastwise/enforcer/notify"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/processor"
)

// Config is the whole configuration file: what each component reads of it, in one.
type Config struct {
	daemon.Common  `yaml:",inline"`
	Kafka          stream.Config `yaml:"kafka"`
	ClickHouse     store.Config  `yaml:"clickhouse"`
	VaultCollector vault.Config  `yaml:"vault_collector"`

	CloudTrailCollector  *cloudtrail.Config  `yaml:"cloudtrail_collector"`
	GCPAuditCollector    *gcpaudit.Config    `yaml:"gcpaudit_collector"`
	CertLogCollector     *certlog.Config     `yaml:"certlog_collector"`
	SPIRECollector       *spire.Config       `yaml:"spire_collector"`
	JWTRegistryCollector *jwtregistry.Config `yaml:"jwtregistry_collector"`
	AgentUsageCollector  *agentusage.Config  `yaml:"agentusage_collector"`

	Gate      gate.Config              `yaml:"gate"`
	Processor processor.Config         `yaml:"processor"`
	Policies  processor.PoliciesConfig `yaml:"policies"`
	Catalog   processor.CatalogConfig  `yaml:"catalog"`
	Enforcer  enforcer.Config          `yaml:"enforcer"`
	Channels  notify.Section           `yaml:"channels"`
	Console   console.Config           `yaml:"console"`
	Broker    broker.Config            `yaml:"broker"`

	Exceptions exceptionfile.Config `yaml:"exceptions"`
}

// DefaultDataDir holds everything that must survive a restart.
const DefaultDataDir = "data"
