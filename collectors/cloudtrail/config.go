package cloudtrail

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/leastwise/leastwise/collectors/awsiam"
)

// Config is the section cloudtrail_collector. One of path, bucket and queue says where the log files are.
type Config struct {
	// Instance names the AWS organisation or account in keys: cloudtrail/INSTANCE/access_key/... Default "default".
	Instance string `yaml:"instance"`
	// Path is a log file, or a directory in which log files appear, at any depth. Packed files are unpacked.
	Path string `yaml:"path"`
	// Bucket is read by listing it.
	Bucket *BucketConfig `yaml:"bucket"`
	// Queue is an SQS queue that announces new objects.
	Queue *QueueConfig `yaml:"queue"`
	// AWS says how to reach S3 and SQS.
	AWS AWSConfig `yaml:"aws"`
	// Digests verifies the trail's digest files, as they come with bucket and queue. Optional.
	Digests *DigestConfig `yaml:"digests"`
	// IAM tells what users and roles are granted, by snapshots of the account's IAM. Optional: without it scope is unknown.
	IAM *awsiam.Config `yaml:"iam"`
	// Poll is how often the directory or the bucket is looked at again. Default 30s; for a bucket 1m.
	Poll time.Duration `yaml:"poll"`
	// MaxRecordBytes is the longest record that is read. Default 8388608.
	MaxRecordBytes int `yaml:"max_record_bytes"`
	// BatchRecords and BatchWait bound what is published at once. Defaults 10000, and 200ms; for a queue 10s, which is
	// how long one request to an empty queue takes.
	BatchRecords int           `yaml:"batch_records"`
	BatchWait    time.Duration `yaml:"batch_wait"`
	// Heartbeat is how often the collector says that it lives. Default 30s.
	Heartbeat time.Duration `yaml:"heartbeat"`
}

// BucketConfig says what to list. The collector needs s3:ListBucket on the bucket and s3:GetObject on its objects, and
// kms:Decrypt where they are encrypted with a key of KMS.
type BucketConfig struct {
	Name string `yaml:"name"`
	// Prefix of the objects' keys, such as AWSLogs/. Default: the whole bucket.
	Prefix string `yaml:"prefix"`
	// Lookback is how many days before the newest day read are listed again: CloudTrail may deliver late. Default 2.
	Lookback int `yaml:"lookback_days"`
}

// QueueConfig says which queue to read. Messages may be S3's notifications, those that CloudTrail sends to SNS, and
// EventBridge's, each also inside an SNS envelope. The collector needs sqs:ReceiveMessage, sqs:DeleteMessage and
// sqs:ChangeMessageVisibility, and s3:GetObject on the objects.
type QueueConfig struct {
	URL string `yaml:"url"`
	// Visibility is for how long a message is hidden from others at a time; it is extended while the message is worked
	// on. Default 5m.
	Visibility time.Duration `yaml:"visibility"`
}

// AWSConfig says how to reach AWS. Credentials come from where AWS's SDKs look for them: the environment, shared files,
// a web identity, the instance.
type AWSConfig struct {
	// Region of bucket and queue. Default: what the environment or the shared files say.
	Region string `yaml:"region"`
	// Profile and CredentialsFile choose shared credentials. Default: what the environment says.
	Profile         string `yaml:"profile"`
	CredentialsFile string `yaml:"credentials_file"`
	// Endpoint replaces that of AWS: http(s)://HOST:PORT. PathStyle puts the bucket into the path. For other
	// implementations of S3 and SQS.
	Endpoint  string `yaml:"endpoint"`
	PathStyle bool   `yaml:"path_style"`
}

// DigestConfig verifies digest files.
type DigestConfig struct {
	// PublicKeysFile holds the answer of `aws cloudtrail list-public-keys`. It is read again when a digest names a key
	// that it does not hold.
	PublicKeysFile string `yaml:"public_keys_file"`
}

// Validate says what is wrong with the section.
func (c Config) Validate() error {
	given := 0
	for _, yes := range []bool{c.Path != "", c.Bucket != nil, c.Queue != nil} {
		if yes {
			given++
		}
	}
	switch {
	case given != 1:
		return errors.New("set one of path, bucket and queue: where the trail's log files are")
	case strings.Contains(c.Instance, "/"):
		return fmt.Errorf("instance: %q must not contain a slash", c.Instance)
	case c.MaxRecordBytes < 0 || c.BatchRecords < 0 || c.BatchWait < 0 || c.Heartbeat < 0 || c.Poll < 0:
		return errors.New("max_record_bytes, batch_records, batch_wait, heartbeat and poll must not be negative")
	case c.Bucket != nil && c.Bucket.Name == "":
		return errors.New("bucket: name: set the name of the trail's bucket")
	case c.Bucket != nil && c.Bucket.Lookback < 0:
		return errors.New("bucket: lookback_days must not be negative")
	case c.Queue != nil && !strings.HasPrefix(c.Queue.URL, "http://") && !strings.HasPrefix(c.Queue.URL, "https://"):
		return errors.New("queue: url: set the queue's URL, such as https://sqs.eu-central-1.amazonaws.com/111122223333/trail")
	case c.Queue != nil && c.Queue.Visibility != 0 && (c.Queue.Visibility < 30*time.Second || c.Queue.Visibility > 12*time.Hour):
		return errors.New("queue: visibility must be between 30s and 12h")
	case c.IAM != nil && c.IAM.Validate() != nil:
		return fmt.Errorf("iam: %w", c.IAM.Validate())
	case c.Digests != nil && c.Digests.PublicKeysFile == "":
		return errors.New("digests: public_keys_file: set the file that holds the answer of `aws cloudtrail list-public-keys`")
	case c.Digests != nil && c.Path != "":
		return errors.New("digests: a digest's signature stands in the metadata of its object: set bucket or queue, not path")
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.Instance == "" {
		c.Instance = "default"
	}
	if c.Bucket != nil {
		bucket := *c.Bucket
		c.Bucket = &bucket
		if bucket.Lookback == 0 {
			c.Bucket.Lookback = 2
		}
		if c.Poll == 0 {
			c.Poll = time.Minute
		}
	}
	if c.Poll == 0 {
		c.Poll = 30 * time.Second
	}
	if c.Queue != nil {
		queue := *c.Queue
		c.Queue = &queue
		if queue.Visibility == 0 {
			c.Queue.Visibility = 5 * time.Minute
		}
		if c.BatchWait == 0 {
			c.BatchWait = 10 * time.Second
		}
	}
	return c
}
