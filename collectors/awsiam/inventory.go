package awsiam

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Config is the section iam_inventory. The API is asked with the credentials of the AWS SDK's default chain (environment,
// AWS_PROFILE, web identity, instance profile), which need iam:GetAccountAuthorizationDetails.
type Config struct {
	// Instance names the account in keys, as that of the collector beside it. Default "default".
	Instance string `yaml:"-"`
	// Files are snapshots as `aws iam get-account-authorization-details` writes them, for where the API is out of reach:
	// read again when they change. Default none: the API is asked.
	Files []string `yaml:"files"`
	// Region of the API. Default that of the environment, or us-east-1.
	Region string `yaml:"region"`
	// Endpoint of the API. Default that of the region.
	Endpoint string `yaml:"endpoint"`
	// Interval between rounds. Default 1h.
	Interval time.Duration `yaml:"interval"`
}

// Validate refuses a configuration that can not work.
func (c Config) Validate() error {
	switch {
	case c.Interval < 0:
		return errors.New("interval must not be negative")
	case len(c.Files) > 0 && (c.Endpoint != "" || c.Region != ""):
		return errors.New("set files, or endpoint and region of the API, not both")
	}
	for _, file := range c.Files {
		if file == "" {
			return errors.New("files: a path is empty")
		}
	}
	return nil
}

// Inventory publishes an account's grants in rounds.
type Inventory struct {
	cfg       Config
	collector *collect.Collector
	client    *iam.Client // nil if files are read

	// Only in Run's goroutine.
	told  map[string]string // content of what was published last, by id
	seen  map[string]state  // files as they were read last
	parts map[string]*account
	news  bool // a file was read that is not published yet
}

type state struct {
	at   time.Time
	size int64
}

// New makes an inventory that publishes through a collector. It asks nothing yet, and fails only if the configuration
// or the environment of the AWS SDK is wrong.
func New(cfg Config, collector *collect.Collector) (*Inventory, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("iam_inventory: %w", err)
	}
	if cfg.Instance == "" {
		cfg.Instance = "default"
	}
	if cfg.Interval == 0 {
		cfg.Interval = time.Hour
	}
	i := &Inventory{cfg: cfg, collector: collector, told: map[string]string{}, seen: map[string]state{}, parts: map[string]*account{}}
	if len(cfg.Files) > 0 {
		return i, nil
	}
	options := []func(*config.LoadOptions) error{config.WithDefaultRegion("us-east-1")}
	if cfg.Region != "" {
		options = append(options, config.WithRegion(cfg.Region))
	}
	sdk, err := config.LoadDefaultConfig(context.Background(), options...)
	if err != nil {
		return nil, fmt.Errorf("iam_inventory: configure the AWS SDK: %w", err)
	}
	i.client = iam.NewFromConfig(sdk, func(o *iam.Options) {
		if cfg.Endpoint != "" {
			o.BaseEndpoint = &cfg.Endpoint
		}
	})
	return i, nil
}

// Run goes on in rounds until ctx ends, and then returns nil. A round that fails is told and tried again within a
// minute; what was published before stands.
func (i *Inventory) Run(ctx context.Context) error {
	for {
		err := i.Round(ctx)
		if ctx.Err() != nil {
			return nil
		}
		i.collector.Say("inventory", err)
		wait := i.cfg.Interval
		if err != nil {
			wait = min(wait, time.Minute)
		}
		if !collect.Pause(ctx, wait) {
			return nil
		}
	}
}

// Round takes one snapshot and publishes what changed.
func (i *Inventory) Round(ctx context.Context) error {
	snapshot, asOf, err := i.snapshot(ctx)
	if err != nil {
		return fmt.Errorf("take the IAM inventory: %w", err)
	}
	if snapshot == nil {
		return nil // the files are those of the last round
	}
	return i.publish(ctx, snapshot.grants(i.cfg.Instance), asOf)
}

// publish sends grants in their order, then what is gone.
func (i *Inventory) publish(ctx context.Context, grants []*leastwisev1.Grant, asOf time.Time) error {
	now := make(map[string]string, len(grants))
	var messages []stream.Message
	for _, grant := range grants {
		content, err := grant.MarshalVT()
		if err != nil {
			return fmt.Errorf("write grant: %w", err)
		}
		if now[grant.Id] = string(content); i.told[grant.Id] != now[grant.Id] {
			messages = append(messages, message(grant, asOf))
		}
	}
	for id := range i.told {
		if _, there := now[id]; !there {
			messages = append(messages, message(&leastwisev1.Grant{Id: id, Deleted: true}, asOf))
		}
	}
	for from := 0; from < len(messages); from += batch {
		if err := i.collector.Send(ctx, messages[from:min(from+batch, len(messages))]...); err != nil {
			return err
		}
	}
	i.told, i.news = now, false
	return nil
}

// batch is how many grants are published at once.
const batch = 1000

func message(grant *leastwisev1.Grant, asOf time.Time) stream.Message {
	grant.AsOf = timestamppb.New(asOf)
	return collect.FactMessage(grant.Id, &leastwisev1.Fact{Fact: &leastwisev1.Fact_Grant{Grant: grant}})
}

// snapshot of the account, and when it was taken; nil if no file changed.
func (i *Inventory) snapshot(ctx context.Context) (*account, time.Time, error) {
	if i.client != nil {
		asOf := i.collector.Now() // before the first page: what changes meanwhile is newer
		snapshot, err := ask(ctx, i.client)
		return snapshot, asOf, err
	}
	var all account
	var asOf time.Time
	for _, path := range i.cfg.Files {
		info, err := os.Stat(path)
		if err != nil {
			return nil, asOf, err
		}
		if at := info.ModTime(); at.After(asOf) {
			asOf = at
		}
		is := state{info.ModTime(), info.Size()}
		if i.parts[path] == nil || i.seen[path] != is {
			if i.parts[path], err = readFile(path); err != nil {
				return nil, asOf, fmt.Errorf("%s: %w", path, err)
			}
			i.seen[path], i.news = is, true
		}
		part := i.parts[path]
		all.add(&part.Users, &part.Groups, &part.Roles, &part.Policies)
	}
	if !i.news {
		return nil, asOf, nil
	}
	return &all, asOf, nil
}

func readFile(path string) (*account, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readSnapshot(file)
}
