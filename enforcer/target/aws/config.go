package aws

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Config of one AWS account. Credentials come from the AWS SDK's default chain
// (environment, profile, web identity, instance); none stand here.
type Config struct {
	// Instance is the name in credential keys; default "default". It has to be
	// the collector's.
	Instance string `yaml:"instance"`
	// Region whose endpoints of IAM and STS are asked. Default that of the
	// environment, or us-east-1.
	Region string `yaml:"region"`
	// Endpoint of IAM and STS, for tests. Default that of the region.
	Endpoint string `yaml:"endpoint"`
	// Profile of the AWS SDK's shared files. Default that of the environment.
	Profile string `yaml:"profile"`
	// RoleARN is assumed for everything that is done. Default: none is.
	RoleARN string `yaml:"role_arn"`
	// ExternalID that the role's trust policy asks for. Default none.
	ExternalID string `yaml:"external_id"`
	// DeleteAfter is how long after its revocation a deactivated key is deleted.
	// Default 168h.
	DeleteAfter time.Duration `yaml:"delete_after"`
	// KeepKeys leaves deactivated keys for good.
	KeepKeys bool `yaml:"keep_keys"`
	// Narrow lets roles and users be narrowed to observed use. Default: nothing
	// is re-issued.
	Narrow bool `yaml:"narrow"`
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

var roleARN = regexp.MustCompile(`^arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+$`)

// Validate says which key is wrong; it reads no files and asks nobody.
func (c Config) Validate() error {
	if c.Endpoint != "" {
		u, err := url.Parse(c.Endpoint)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
			return errors.New("endpoint: want http://host:port or https://host:port")
		case u.User != nil:
			return errors.New("endpoint: no password belongs there")
		}
	}
	switch {
	case strings.Contains(c.Instance, "/"):
		return fmt.Errorf("instance %q holds a slash", c.Instance)
	case c.RoleARN != "" && !roleARN.MatchString(c.RoleARN):
		return fmt.Errorf("role_arn %q: want arn:aws:iam::ACCOUNT:role/NAME", c.RoleARN)
	case c.ExternalID != "" && c.RoleARN == "":
		return errors.New("external_id is for role_arn, which is missing")
	case c.DeleteAfter < 0 || c.Timeout < 0:
		return errors.New("delete_after and timeout can not be negative")
	case c.KeepKeys && c.DeleteAfter != 0:
		return errors.New("give one of keep_keys and delete_after")
	}
	return nil
}

func (c Config) withDefaults() Config {
	c.Instance = c.InstanceName()
	if c.DeleteAfter == 0 {
		c.DeleteAfter = 7 * 24 * time.Hour
	}
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	return c
}
