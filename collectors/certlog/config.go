package certlog

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Config is the section certlog_collector.
type Config struct {
	// Instance is the second part of keys: certlog/INSTANCE/certificate/... Default "default".
	Instance string `yaml:"instance"`
	// Logs to read. A certificate that several of them hold is one credential.
	Logs []LogConfig `yaml:"logs"`
	// TrustDomains are the SPIFFE trust domains of the site, such as example.org. Default none: then certificates of any
	// trust domain are of interest, and none is marked as ours.
	TrustDomains []string `yaml:"trust_domains"`
	// Domains are DNS suffixes of the site: example.org covers example.org and everything under it. Default none.
	Domains []string `yaml:"domains"`
	// All makes an event of every certificate. Public logs hold billions. Default false.
	All bool `yaml:"all"`
	// Verify is what is proven before a batch is published: sampled (default), or full, which costs one more proof a
	// batch. Both prove everything once reading has reached the end of the log.
	Verify string `yaml:"verify"`
	// Poll is how often a log that has been read to its end is asked again. Default 1m.
	Poll time.Duration `yaml:"poll"`
	// MaxHeadAge is how old the newest tree head may be; an older one is trouble. Default 24h, the usual maximum merge delay.
	MaxHeadAge time.Duration `yaml:"max_head_age"`
	// BatchRecords and BatchWait bound what is published at once. Defaults 10000 and 200ms.
	BatchRecords int           `yaml:"batch_records"`
	BatchWait    time.Duration `yaml:"batch_wait"`
	// Heartbeat is how often the collector says that it lives. Default 30s.
	Heartbeat time.Duration `yaml:"heartbeat"`
}

// LogConfig is one log.
type LogConfig struct {
	// Name in messages, labels and the checkpoint's file name.
	Name string `yaml:"name"`
	// URL of the log: for rfc6962 what comes before /ct/v1/, for static-ct the monitoring prefix.
	URL string `yaml:"url"`
	// Kind is rfc6962 or static-ct.
	Kind string `yaml:"kind"`
	// PublicKeyFile holds the log's key, as log lists publish it: base64 of DER, or PEM, or DER.
	PublicKeyFile string `yaml:"public_key_file"`
	// Origin is the first line of a static-ct log's checkpoint: its submission prefix without scheme. Default from url.
	Origin string `yaml:"origin"`
	// CAFile verifies the log's TLS certificate. Default the system's.
	CAFile string `yaml:"ca_file"`
	// Start of the very first reading: beginning (default) or now, which passes over the entries that are there.
	Start string `yaml:"start"`
}

// Values of LogConfig.Kind, LogConfig.Start and Config.Verify.
const (
	KindRFC6962  = "rfc6962"
	KindStaticCT = "static-ct"

	StartBeginning = "beginning"
	StartNow       = "now"

	VerifySampled = "sampled"
	VerifyFull    = "full"
)

func (c Config) withDefaults() Config {
	c.Instance = cmp.Or(c.Instance, "default")
	c.Verify = cmp.Or(c.Verify, VerifySampled)
	c.Poll = cmp.Or(c.Poll, time.Minute)
	c.MaxHeadAge = cmp.Or(c.MaxHeadAge, 24*time.Hour)
	c.BatchRecords = cmp.Or(c.BatchRecords, 10_000)
	c.BatchWait = cmp.Or(c.BatchWait, 200*time.Millisecond)
	c.Heartbeat = cmp.Or(c.Heartbeat, 30*time.Second)
	logs := make([]LogConfig, len(c.Logs))
	for i, l := range c.Logs {
		l.Start = cmp.Or(l.Start, StartBeginning)
		l.Origin = cmp.Or(l.Origin, origin(l.URL))
		logs[i] = l
	}
	c.Logs = logs
	return c
}

// origin is a URL without scheme and last slash.
func origin(text string) string {
	_, rest, _ := strings.Cut(text, "://")
	return strings.TrimRight(strings.ToLower(rest), "/")
}

// Validate refuses a configuration that can not work. One without logs is none: New says so if the collector is wanted.
func (c Config) Validate() error {
	if c.Verify != "" && c.Verify != VerifySampled && c.Verify != VerifyFull {
		return fmt.Errorf("verify: %q is not one of sampled, full", c.Verify)
	}
	if c.Poll < 0 || c.MaxHeadAge < 0 || c.BatchRecords < 0 || c.BatchWait < 0 || c.Heartbeat < 0 {
		return errors.New("poll, max_head_age, batch_records, batch_wait and heartbeat must not be negative")
	}
	if _, err := newInterest(c.TrustDomains, c.Domains, c.All); err != nil {
		return err
	}
	names := map[string]bool{}
	for i, l := range c.Logs {
		if err := l.validate(); err != nil {
			return fmt.Errorf("logs[%d]: %w", i, err)
		}
		if names[l.Name] {
			return fmt.Errorf("logs[%d]: name: %q is used twice", i, l.Name)
		}
		names[l.Name] = true
	}
	return nil
}

func (l LogConfig) validate() error {
	at, err := url.Parse(l.URL)
	switch {
	case l.Name == "" || len(l.Name) > 64 || strings.ContainsAny(l.Name, "\x00:"):
		return errors.New("name: set a name of at most 64 bytes without colon")
	case l.URL == "":
		return errors.New("url: set the address of the log, such as https://ct.example.org/2026")
	case err != nil || at.Host == "" || at.Scheme != "https" && at.Scheme != "http":
		return errors.New("url: must be http://HOST/... or https://HOST/...")
	case at.User != nil || at.RawQuery != "" || at.Fragment != "":
		return errors.New("url: must have no user, query or fragment")
	case l.Kind != KindRFC6962 && l.Kind != KindStaticCT:
		return fmt.Errorf("kind: %q is not one of rfc6962, static-ct", l.Kind)
	case l.PublicKeyFile == "":
		return errors.New("public_key_file: set the file with the log's public key; without it nothing the log says can be verified")
	case l.Start != "" && l.Start != StartBeginning && l.Start != StartNow:
		return fmt.Errorf("start: %q is not one of beginning, now", l.Start)
	}
	return nil
}

// interest is which certificates give an event.
type interest struct {
	trustDomains map[string]bool // empty: any
	domains      []string
	all          bool
}

func newInterest(trustDomains, domains []string, all bool) (interest, error) {
	in := interest{trustDomains: map[string]bool{}, all: all}
	for _, text := range trustDomains {
		td, err := spiffeid.TrustDomainFromString(text)
		if err != nil {
			return in, fmt.Errorf("trust_domains: %q is no trust domain such as example.org: %w", text, err)
		}
		in.trustDomains[td.Name()] = true
	}
	for _, text := range domains {
		suffix := strings.ToLower(strings.Trim(strings.TrimPrefix(text, "*."), "."))
		if suffix == "" || strings.ContainsAny(suffix, "/: *\x00") || !ascii(suffix) {
			return in, fmt.Errorf("domains: %q is no domain such as example.org (international names in their xn-- form)", text)
		}
		in.domains = append(in.domains, suffix)
	}
	return in, nil
}

func ascii(text string) bool {
	for i := range len(text) {
		if text[i] >= 0x80 {
			return false
		}
	}
	return true
}

// domain is whether a DNS name in lower case is under one of the site's.
func (in *interest) domain(name string) bool {
	name = strings.TrimPrefix(name, "*.")
	for _, suffix := range in.domains {
		if rest, ok := strings.CutSuffix(name, suffix); ok && (rest == "" || rest[len(rest)-1] == '.') {
			return true
		}
	}
	return false
}
