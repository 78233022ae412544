package gate

import (
	"fmt"
	"slices"
	"strings"
)

// What is done where the catalog or the graph can not be read.
const (
	FailClosed = "closed" // refuse
	FailOpen   = "open"   // let pass, and say so
)

// Config is the `gate` section of the configuration file. The zero value fails closed and knows no trust domain.
type Config struct {
	// Fail is what happens where the catalog or the identity graph can not be read: closed (default) refuses, open lets
	// the deployment pass with a warning.
	Fail string `yaml:"fail"`
	// Cluster names the Kubernetes cluster in identity keys (default "default").
	Cluster string `yaml:"cluster"`
	// Namespace of manifests that name none (default "default"); at admission the request's counts.
	Namespace string `yaml:"namespace"`
	// SPIFFE says how SPIFFE IDs come about.
	SPIFFE SPIFFEConfig `yaml:"spiffe"`
	// Vault says what the agent injector does where annotations are silent.
	Vault VaultConfig `yaml:"vault"`
	// AgentKeys are labels and annotations that hold the agent's id (default leastwise.dev/agent).
	AgentKeys []string `yaml:"agent_keys"`
	// Graph asks a running server too: its identity graph and its exceptions, by the kafka section (default false).
	Graph bool `yaml:"graph"`
	// Exceptions is a file of exceptions (default: none).
	Exceptions string `yaml:"exceptions"`
}

// SPIFFEConfig describes the site's registration of workloads.
type SPIFFEConfig struct {
	// TrustDomain of the site; without it no SPIFFE ID is derived.
	TrustDomain string `yaml:"trust_domain"`
	// Template of a workload's SPIFFE ID. It may use {{trust_domain}}, {{cluster}}, {{namespace}}, {{service_account}},
	// {{name}} and {{label:KEY}}. Default spiffe://{{trust_domain}}/ns/{{namespace}}/sa/{{service_account}}; "none" for
	// sites that register by annotation alone.
	Template string `yaml:"template"`
	// Annotations that hold a SPIFFE ID or a path below the trust domain (default spiffe.io/spiffeId, spiffe.io/spiffe-id).
	Annotations []string `yaml:"annotations"`
}

// VaultConfig mirrors the injector's own defaults.
type VaultConfig struct {
	// Instance names the Vault in identity keys (default "default").
	Instance string `yaml:"instance"`
	// AuthPath is the injector's -vault-auth-path (default auth/kubernetes).
	AuthPath string `yaml:"auth_path"`
}

const defaultTemplate = "spiffe://{{trust_domain}}/ns/{{namespace}}/sa/{{service_account}}"

var templateWords = []string{"trust_domain", "cluster", "namespace", "service_account", "name"}

// Validate refuses what can not be meant.
func (c *Config) Validate() error {
	if !slices.Contains([]string{"", FailClosed, FailOpen}, c.Fail) {
		return fmt.Errorf("fail: %q; expected open or closed", c.Fail)
	}
	for key, value := range map[string]string{"cluster": c.Cluster, "vault.instance": c.Vault.Instance} {
		if strings.ContainsAny(value, "/ ") {
			return fmt.Errorf("%s: %q; expected a name without slashes or spaces", key, value)
		}
	}
	if strings.ContainsAny(c.SPIFFE.TrustDomain, "/: ") {
		return fmt.Errorf("spiffe.trust_domain: %q; expected a name such as example.org", c.SPIFFE.TrustDomain)
	}
	if t := c.SPIFFE.Template; t != "" && t != "none" {
		if c.SPIFFE.TrustDomain == "" && strings.Contains(t, "{{trust_domain}}") {
			return fmt.Errorf("spiffe.template: it uses {{trust_domain}}; expected spiffe.trust_domain too")
		}
		if !strings.HasPrefix(t, "spiffe://") {
			return fmt.Errorf("spiffe.template: %q; expected it to begin with spiffe://", t)
		}
		_, err := expand(t, func(word string) (string, error) {
			if slices.Contains(templateWords, word) || strings.HasPrefix(word, "label:") && len(word) > len("label:") {
				return "x", nil
			}
			return "", fmt.Errorf("{{%s}} is unknown; expected one of {{%s}} or {{label:KEY}}", word, strings.Join(templateWords, "}}, {{"))
		})
		if err != nil {
			return fmt.Errorf("spiffe.template: %w", err)
		}
	}
	return nil
}

// expand replaces each {{word}}; spaces within the braces do not matter.
func expand(template string, value func(word string) (string, error)) (string, error) {
	var out strings.Builder
	for rest := template; ; {
		before, after, open := strings.Cut(rest, "{{")
		out.WriteString(before)
		if !open {
			return out.String(), nil
		}
		word, behind, closed := strings.Cut(after, "}}")
		if !closed {
			return "", fmt.Errorf("%q: {{ without }}", template)
		}
		text, err := value(strings.TrimSpace(word))
		if err != nil {
			return "", err
		}
		out.WriteString(text)
		rest = behind
	}
}

func (c *Config) cluster() string       { return or(c.Cluster, "default") }
func (c *Config) vaultInstance() string { return or(c.Vault.Instance, "default") }
func (c *Config) failOpen() bool        { return c.Fail == FailOpen }

func (c *Config) agentKeys() []string {
	if len(c.AgentKeys) > 0 {
		return c.AgentKeys
	}
	return []string{"leastwise.dev/agent"}
}

func (c *Config) spiffeAnnotations() []string {
	if len(c.SPIFFE.Annotations) > 0 {
		return c.SPIFFE.Annotations
	}
	return []string{"spiffe.io/spiffeId", "spiffe.io/spiffe-id"}
}

func or(text, otherwise string) string {
	if text != "" {
		return text
	}
	return otherwise
}
