package agentusage

import (
	"errors"
	"fmt"
	"net"
	"time"
)

// Config is the section agentusage_collector. One collector takes one log: a file that grows, or what is sent to it.
type Config struct {
	// Instance names this log in event ids. Default "default".
	Instance string `yaml:"instance"`
	// File is the path of JSON lines: the normal form, OTLP as the OpenTelemetry collector's file exporter writes it,
	// Bedrock's invocation logs, or a form that Mapping describes. Rotated siblings are found by themselves.
	File string `yaml:"file"`
	// Backlog reads rotated siblings too at the very first start. Default false.
	Backlog bool `yaml:"backlog"`
	// OTLP receives spans and logs.
	OTLP *OTLPConfig `yaml:"otlp"`
	// MappingFile describes JSON lines of the site's own. Optional.
	MappingFile string `yaml:"mapping_file"`
	// Credentials say which source's keys a kind of credential belongs to: the instance above all. Optional.
	Credentials map[string]Target `yaml:"credentials"`
	// BedrockAgent is the key of requestMetadata that holds the agent's id. Default "agent_id".
	BedrockAgent string `yaml:"bedrock_agent"`
	// MaxRecordBytes is the longest record that is read. Default 8388608.
	MaxRecordBytes int `yaml:"max_record_bytes"`
	// BatchRecords and BatchWait bound what is published at once. Defaults 10000 and 200ms.
	BatchRecords int           `yaml:"batch_records"`
	BatchWait    time.Duration `yaml:"batch_wait"`
	// Heartbeat is how often the collector says that it lives. Default 30s.
	Heartbeat time.Duration `yaml:"heartbeat"`
}

// OTLPConfig is a receiver of the OpenTelemetry protocol.
type OTLPConfig struct {
	// HTTP and GRPC are addresses to listen on, such as 127.0.0.1:4318 and 127.0.0.1:4317. At least one.
	HTTP string `yaml:"http"`
	GRPC string `yaml:"grpc"`
	// CertFile and KeyFile turn TLS on.
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	// TokenFile holds the text that senders must give as `authorization: Bearer TEXT`. Needed unless the addresses are
	// this machine's own: whoever can send can say what an agent did.
	TokenFile string `yaml:"token_file"`
	// MaxExportBytes is the largest export that is taken, unpacked. Default 16777216.
	MaxExportBytes int `yaml:"max_export_bytes"`
	// Timeout is how long an export may wait to be published before the sender is told to try again. Default 10s.
	Timeout time.Duration `yaml:"timeout"`
}

// Validate refuses a configuration that can not work.
func (c Config) Validate() error {
	if c.empty() { // the section is missing: New says so if the collector is wanted
		return nil
	}
	if (c.File == "") == (c.OTLP == nil) {
		return errors.New("set file (a path of JSON lines) or otlp, and not both: one collector takes one log")
	}
	if c.OTLP != nil {
		if err := c.OTLP.validate(); err != nil {
			return fmt.Errorf("otlp: %w", err)
		}
	}
	if c.MaxRecordBytes < 0 || c.BatchRecords < 0 || c.BatchWait < 0 || c.Heartbeat < 0 {
		return errors.New("max_record_bytes, batch_records, batch_wait and heartbeat can not be negative")
	}
	return validTargets(c.Credentials)
}

func (c Config) empty() bool {
	return c.File == "" && c.OTLP == nil && c.Instance == "" && c.MappingFile == ""
}

func (c *OTLPConfig) validate() error {
	if c.HTTP == "" && c.GRPC == "" {
		return errors.New("set http or grpc to an address to listen on")
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		return errors.New("cert_file and key_file go together")
	}
	for _, address := range []string{c.HTTP, c.GRPC} {
		if address == "" {
			continue
		}
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return fmt.Errorf("%q is no address HOST:PORT", address)
		}
		if local := host == "localhost" || net.ParseIP(host).IsLoopback(); !local && c.TokenFile == "" {
			return fmt.Errorf("%s is open to the network: set token_file, or listen on 127.0.0.1", address)
		}
	}
	if c.MaxExportBytes < 0 || c.Timeout < 0 {
		return errors.New("max_export_bytes and timeout can not be negative")
	}
	return nil
}
