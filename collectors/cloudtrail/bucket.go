package cloudtrail

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/leastwise/leastwise/collectors/collect"
)

// digestFolder holds digest files, beside the folder of the log files.
const digestFolder = "CloudTrail-Digest"

// day is where the date begins in a key of a trail: …/REGION/2026/11/21/…
var day = regexp.MustCompile(`/(\d{4}/\d{2}/\d{2})/`)

// wanted is whether a key is a log file: below AWSLogs there are also those of other services.
func wanted(key string) bool {
	if strings.HasSuffix(key, "/") {
		return false
	}
	if strings.Contains(key, "AWSLogs/") {
		return strings.Contains(key, "/CloudTrail/") || strings.Contains(key, "/CloudTrail-Insight/") ||
			strings.Contains(key, "/CloudTrail-NetworkActivity/")
	}
	return !isDigest(key)
}

func isDigest(key string) bool { return strings.Contains(key, "/"+digestFolder+"/") }

// bucket finds objects by listing. Every folder of a region is listed from some days before the newest day that was read:
// CloudTrail may deliver late, and its keys sort by time only within a region. A bucket of another layout is listed whole
// each time, which is what an SQS queue is better for.
type bucket struct {
	cloud   *cloud
	cfg     BucketConfig
	poll    time.Duration
	read    *readFiles
	digests *digests

	jobs    []listing
	pending []object3
	looked  time.Time
	since   map[string]string // region's folder -> first day that is listed

	mu    sync.Mutex // guards given: commits come from another goroutine
	given map[string]bool
}

type object3 struct {
	key  string
	size int64
}

// listing is a folder to list: flat, with everything below, or to look for folders of regions in.
type listing struct {
	prefix, after string
	flat          bool
	token         *string
}

func newBucket(cloud *cloud, cfg BucketConfig, poll time.Duration, read *readFiles, digests *digests) *bucket {
	b := &bucket{cloud: cloud, cfg: cfg, poll: poll, read: read, digests: digests, given: map[string]bool{}, since: map[string]string{}}
	return b
}

func (b *bucket) Close() error { return b.read.Close() }

func (b *bucket) next(ctx context.Context, wait time.Duration) (*file, error) {
	for len(b.pending) == 0 {
		if len(b.jobs) == 0 {
			if left := b.poll - time.Since(b.looked); left > 0 {
				collect.Pause(ctx, min(left, wait))
				if left > wait || ctx.Err() != nil {
					return nil, nil
				}
			}
			b.looked = time.Now()
			if err := b.forget(); err != nil {
				return nil, err
			}
			b.jobs = []listing{{prefix: b.cfg.Prefix}}
		}
		if err := b.list(ctx); err != nil {
			b.jobs = nil // another round, after a while
			return nil, err
		}
	}
	one := b.pending[0]
	b.pending = b.pending[1:]
	b.mark(one.key, true)
	name := "s3://" + b.cfg.Name + "/" + one.key
	f := &file{
		name: name,
		rest: []byte(name),
		open: func(ctx context.Context) (io.ReadCloser, error) {
			body, _, err := b.cloud.get(ctx, b.cfg.Name, one.key)
			return body, err
		},
		done: func(context.Context) error {
			defer b.mark(one.key, false)
			return b.read.add(one.key, one.size)
		},
		again: func(context.Context) { b.mark(one.key, false) },
	}
	if isDigest(one.key) {
		f.open = b.digests.open(b.cfg.Name, one.key)
	}
	return f, nil
}

func (b *bucket) mark(key string, given bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if given {
		b.given[key] = true
	} else {
		delete(b.given, key)
	}
}

// list does one request of the round.
func (b *bucket) list(ctx context.Context) error {
	job := &b.jobs[len(b.jobs)-1]
	input := &s3.ListObjectsV2Input{Bucket: &b.cfg.Name, Prefix: &job.prefix, ContinuationToken: job.token}
	if job.after != "" {
		input.StartAfter = &job.after
	}
	if !job.flat {
		input.Delimiter = aws.String("/")
	}
	answer, err := b.cloud.s3.ListObjectsV2(ctx, input)
	if err != nil {
		return refused("list s3://"+b.cfg.Name+"/"+job.prefix, err, "s3:ListBucket")
	}
	for _, one := range answer.Contents {
		b.consider(aws.ToString(one.Key), aws.ToInt64(one.Size))
	}
	if job.token = answer.NextContinuationToken; !aws.ToBool(answer.IsTruncated) {
		b.jobs = b.jobs[:len(b.jobs)-1]
	}
	for _, folder := range answer.CommonPrefixes {
		b.descend(aws.ToString(folder.Prefix))
	}
	return nil
}

func (b *bucket) consider(key string, size int64) {
	b.mu.Lock()
	given := b.given[key]
	b.mu.Unlock()
	if (wanted(key) || isDigest(key) && b.digests != nil) && size > 0 && !given && !b.read.has(key, size) {
		b.pending = append(b.pending, object3{key, size})
	}
}

var yearFolder = regexp.MustCompile(`/\d{4}/$`)

// descend lists a folder later: a region's from its first day, folders above it for folders.
func (b *bucket) descend(prefix string) {
	if isDigest(prefix) && b.digests == nil {
		return
	}
	if yearFolder.MatchString("/" + prefix) {
		region := prefix[:len(prefix)-len("2006/")]
		first := b.since[region]
		if first > prefix+"\xff" { // the whole year lies before it
			return
		}
		job := listing{prefix: prefix, flat: true}
		if strings.HasPrefix(first, prefix) {
			job.after = first
		}
		b.jobs = append(b.jobs, job)
		return
	}
	b.jobs = append(b.jobs, listing{prefix: prefix})
}

// forget drops what will not be listed again, and finds the first day to list of each region.
func (b *bucket) forget() error {
	newest := map[string]string{}
	for _, key := range b.read.names() {
		if at := day.FindStringSubmatchIndex(key); at != nil {
			region := key[:at[0]+1]
			newest[region] = max(newest[region], key[at[2]:at[3]])
		}
	}
	for region, last := range newest {
		at, err := time.Parse("2006/01/02", last)
		if err != nil {
			continue
		}
		b.since[region] = region + at.AddDate(0, 0, -b.cfg.Lookback).Format("2006/01/02") + "/"
	}
	err := b.read.forget(func(key string) bool {
		at := day.FindStringSubmatchIndex(key)
		return at == nil || key >= b.since[key[:at[0]+1]]
	})
	if err != nil {
		return fmt.Errorf("forget objects of the past: %w", err)
	}
	return nil
}
