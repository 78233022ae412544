package gcp

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Config of one Google Cloud organization, or a part of it.
type Config struct {
	// Instance is the name in credential keys, gcpaudit/INSTANCE/…; it has to
	// be the collector's. Default "default".
	Instance string `yaml:"instance"`
	// Projects whose service accounts' keys may be taken away.
	Projects []string `yaml:"projects"`
	// CredentialsFile is a file of Google's: a service account's key or, better,
	// an external account of workload identity federation. Empty: the
	// machine's own (Application Default Credentials).
	CredentialsFile string `yaml:"credentials_file"`
	// ServiceAccount is the email of the account the enforcer acts as. Its keys
	// are protected.
	ServiceAccount string `yaml:"service_account"`
	// DeleteAfter is how long a disabled key is kept before it is deleted.
	// Default 168h.
	DeleteAfter time.Duration `yaml:"delete_after"`
	// KeepDisabled never deletes.
	KeepDisabled bool `yaml:"keep_disabled"`
	// Narrow lets re-issue replace roles of a key's account by smaller ones.
	// Set it only where the collector sees all that the account does, Data
	// Access logs included: the account may be used without the key.
	Narrow bool `yaml:"narrow"`
	// IAMEndpoint and ResourceManagerEndpoint replace Google's, for private
	// endpoints: https, but for loopback, where no credentials are sent.
	IAMEndpoint             string `yaml:"iam_endpoint"`
	ResourceManagerEndpoint string `yaml:"resource_manager_endpoint"`
	// Timeout of one request. Default 10s.
	Timeout time.Duration `yaml:"timeout"`
}

// InstanceName is Instance with its default.
func (c Config) InstanceName() string {
	if c.Instance == "" {
		return "default"
	}
	return c.Instance
}

var (
	projects = regexp.MustCompile(`^([a-z][a-z0-9.:-]{4,62}[a-z0-9]|[0-9]{6,20})$`)
	accounts = regexp.MustCompile(`^[a-z0-9.-]+@[a-z0-9.:-]+\.gserviceaccount\.com$`)
)

// Validate says which key is wrong; it reads no files.
func (c Config) Validate() error {
	switch {
	case strings.Contains(c.Instance, "/"):
		return fmt.Errorf("instance %q holds a slash", c.Instance)
	case len(c.Projects) == 0:
		return errors.New("projects: give at least one")
	case !accounts.MatchString(c.ServiceAccount):
		return fmt.Errorf("service_account %q: give the email of the account that the enforcer acts as, so that its own keys are safe", c.ServiceAccount)
	case c.DeleteAfter < 0 || c.Timeout < 0:
		return errors.New("delete_after and timeout can not be negative")
	case c.KeepDisabled && c.DeleteAfter > 0:
		return errors.New("give one of delete_after and keep_disabled")
	case (c.IAMEndpoint == "") != (c.ResourceManagerEndpoint == ""):
		return errors.New("iam_endpoint and resource_manager_endpoint go together")
	case local(c.IAMEndpoint) != local(c.ResourceManagerEndpoint):
		return errors.New("iam_endpoint and resource_manager_endpoint are both of loopback, or neither is")
	}
	seen := map[string]bool{}
	for i, p := range c.Projects {
		if !projects.MatchString(p) {
			return fmt.Errorf("projects[%d]: %q is no project id", i, p)
		}
		if seen[p] {
			return fmt.Errorf("projects[%d]: %q is there twice", i, p)
		}
		seen[p] = true
	}
	for name, text := range map[string]string{"iam_endpoint": c.IAMEndpoint, "resource_manager_endpoint": c.ResourceManagerEndpoint} {
		u, err := url.Parse(text)
		if text != "" && (err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && !local(text)) {
			return fmt.Errorf("%s %q: want https://host", name, text)
		}
	}
	return nil
}

// local tells whether it is this machine, by http.
func local(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Scheme == "http" && (u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback())
}

func (c Config) withDefaults() Config {
	c.Instance = c.InstanceName()
	if c.DeleteAfter == 0 && !c.KeepDisabled {
		c.DeleteAfter = 7 * 24 * time.Hour
	}
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	return c
}
