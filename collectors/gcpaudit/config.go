package gcpaudit

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"time"
)

// Config is the section gcpaudit_collector. Log entries come from one of subscription, file and directory.
type Config struct {
	// Instance names the organization in keys: gcpaudit/INSTANCE/service_account_key/... Default "default".
	Instance string `yaml:"instance"`
	// Subscription is a Pub/Sub subscription, projects/PROJECT/subscriptions/NAME, to the topic that a log sink writes to.
	// The collector needs roles/pubsub.subscriber on it. Set its message retention to the longest time that the
	// collector may be away; the default is 7 days.
	Subscription string `yaml:"subscription"`
	// CredentialsFile is a service account's key file or a workload identity configuration. Default: the environment's
	// (GOOGLE_APPLICATION_CREDENTIALS, or the metadata server).
	CredentialsFile string `yaml:"credentials_file"`
	// MaxOutstanding messages and MaxOutstandingBytes are held at once before they are published. Defaults 2000 and
	// 67108864.
	MaxOutstanding      int `yaml:"max_outstanding"`
	MaxOutstandingBytes int `yaml:"max_outstanding_bytes"`
	// File is a file that grows, one log entry a line. Rotated siblings are found by themselves.
	File string `yaml:"file"`
	// Backlog reads rotated siblings of File too at the very first start. Default false.
	Backlog bool `yaml:"backlog"`
	// Directory is a folder into which files with log entries are put, as a sink to a bucket writes them; folders in it
	// are read too. A file is read when it has not changed for Settle (default 10s), and again if it changes later. It is
	// looked at every Poll (default 10s).
	Directory string        `yaml:"directory"`
	Settle    time.Duration `yaml:"settle"`
	Poll      time.Duration `yaml:"poll"`
	// Assets is the path of a Cloud Asset export of content type iam-policy (and, of type resource, of custom roles). It
	// tells what each principal is granted. It is read anew when it changes; it is looked at every AssetsInterval,
	// default 5m. Optional.
	Assets         string        `yaml:"assets"`
	AssetsInterval time.Duration `yaml:"assets_interval"`
	// MaxRecordBytes is the longest record that is read. Default 8388608.
	MaxRecordBytes int `yaml:"max_record_bytes"`
	// BatchRecords and BatchWait bound what is published at once. Defaults 10000 and 200ms.
	BatchRecords int           `yaml:"batch_records"`
	BatchWait    time.Duration `yaml:"batch_wait"`
	// Heartbeat is how often the collector says that it lives. Default 30s.
	Heartbeat time.Duration `yaml:"heartbeat"`
}

func (c Config) withDefaults() Config {
	c.Instance = cmp.Or(c.Instance, "default")
	c.MaxOutstanding = cmp.Or(c.MaxOutstanding, 2000)
	c.MaxOutstandingBytes = cmp.Or(c.MaxOutstandingBytes, 64<<20)
	c.Settle = cmp.Or(c.Settle, 10*time.Second)
	c.Poll = cmp.Or(c.Poll, 10*time.Second)
	c.AssetsInterval = cmp.Or(c.AssetsInterval, 5*time.Minute)
	return c
}

var subscriptionName = regexp.MustCompile(`^projects/([^/]+)/subscriptions/[^/]+$`)

// Validate refuses a configuration that can not work.
func (c Config) Validate() error {
	if c == (Config{}) { // the section is missing: New says so if the collector is wanted
		return nil
	}
	inputs := 0
	for _, input := range []string{c.Subscription, c.File, c.Directory} {
		if input != "" {
			inputs++
		}
	}
	switch {
	case inputs == 0:
		return errors.New("set subscription (projects/PROJECT/subscriptions/NAME), file or directory")
	case inputs > 1:
		return errors.New("set one of subscription, file and directory: one collector reads one log")
	case c.Subscription != "" && !subscriptionName.MatchString(c.Subscription):
		return fmt.Errorf("subscription: %q is not projects/PROJECT/subscriptions/NAME", c.Subscription)
	case c.CredentialsFile != "" && c.Subscription == "":
		return errors.New("credentials_file: is for subscription alone")
	case c.Backlog && c.File == "":
		return errors.New("backlog: is for file alone")
	case c.MaxOutstanding < 0 || c.MaxOutstandingBytes < 0:
		return errors.New("max_outstanding and max_outstanding_bytes must not be negative")
	case c.Settle < 0 || c.Poll < 0 || c.AssetsInterval < 0:
		return errors.New("settle, poll and assets_interval must not be negative")
	case c.MaxRecordBytes < 0 || c.BatchRecords < 0 || c.BatchWait < 0 || c.Heartbeat < 0:
		return errors.New("max_record_bytes, batch_records, batch_wait and heartbeat must not be negative")
	}
	return nil
}
