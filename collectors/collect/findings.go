package collect

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Found is something that is wrong, and that somebody must look at.
type Found struct {
	// Kind is one of schemas.FindingKinds. Kind and Subject name the finding: said again, it replaces what was said.
	Kind, Subject string
	// Detail says what is wrong and what to do.
	Detail string
	// Evidence is what it rests on, About the credentials and identities that it concerns.
	Evidence, About []string
	// Times is how many more were seen with this word; 0 where nothing is counted.
	Times uint64
	// Quiet is how long after the last word it stands no more; 0: until it is withdrawn.
	Quiet time.Duration
}

// Bounds of a finding.
const (
	maxDetail   = 1024
	maxItems    = 8
	maxSubjects = 1000
	// again is how often a finding that only grew is published at most.
	again = 10 * time.Second
)

// findings are what a collector found and has not withdrawn. They are written to a file before they are published, and
// published anew by the next start: so a crash between the two leaves none that nobody withdraws.
//
// All of it belongs to the goroutine that reads records.
type findings struct {
	path    string
	entries map[string]*standing // by key
	changed bool                 // since the file was written
}

type standing struct {
	said  *leastwisev1.Finding
	quiet time.Duration
	told  time.Time // when it was given to be published last
	batch uint64    // and with which batch
	fresh bool      // news, not only growth
	grown bool
}

func (c *Collector) findingsPath() string {
	if c.opts.Deps.DataDir == "" {
		return ""
	}
	return filepath.Join(c.opts.Deps.DataDir, c.opts.Source+"-"+url.PathEscape(c.opts.Instance)+".findings.json")
}

// saved is how a finding stands in the file: the message, and what the collector alone needs to know.
type saved struct {
	Finding string        `json:"finding"`
	Quiet   time.Duration `json:"quiet,omitempty"`
}

func loadFindings(path string) (*findings, error) {
	f := &findings{path: path, entries: map[string]*standing{}}
	if path == "" {
		return f, nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return f, nil
	}
	var all []saved
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	for _, one := range all {
		said := &leastwisev1.Finding{}
		bytes, bad := base64.StdEncoding.DecodeString(one.Finding)
		if err = errors.Join(err, bad, said.UnmarshalVT(bytes)); err != nil {
			break
		}
		f.entries[schemas.FindingKey(said)] = &standing{said: said, quiet: one.Quiet, fresh: true}
	}
	if err != nil {
		return nil, fmt.Errorf("findings %s: %w; remove the file if it is damaged: what still holds is found again", path, err)
	}
	return f, nil
}

func (f *findings) save() error {
	if f.path == "" || !f.changed {
		return nil
	}
	all := []saved{}
	for _, key := range slices.Sorted(maps.Keys(f.entries)) {
		bytes, err := f.entries[key].said.MarshalVT()
		if err != nil {
			return fmt.Errorf("write findings: %w", err)
		}
		all = append(all, saved{base64.StdEncoding.EncodeToString(bytes), f.entries[key].quiet})
	}
	text, err := json.Marshal(all)
	if err == nil {
		err = source.ReplaceFile(f.path, text)
	}
	if err != nil {
		return fmt.Errorf("write findings: %w", err)
	}
	f.changed = false
	return nil
}

// Found says that something is wrong. It may be called by Feed.Read, by the decoder and by Options.Notice: it is
// published with the records of the same batch, before these are remembered as read.
func (c *Collector) Found(found Found) {
	now := c.Now()
	said := &leastwisev1.Finding{Source: c.opts.Source, Instance: c.opts.Instance, Kind: found.Kind,
		Subject: jsonrecord.Text([]byte(found.Subject), jsonrecord.MaxText), Detail: jsonrecord.Text([]byte(found.Detail), maxDetail),
		Evidence: items(found.Evidence), About: items(found.About), Standing: true,
		Since: timestamppb.New(now), At: timestamppb.New(now), Count: found.Times}
	key := schemas.FindingKey(said)
	old := c.findings.entries[key]
	if old == nil && len(c.findings.entries) >= maxSubjects {
		return // a bound: what comes beyond it is told by its events alone
	}
	c.findings.changed = true
	if old == nil || !old.said.Standing {
		c.findings.entries[key] = &standing{said: said, quiet: found.Quiet, fresh: true}
		return
	}
	said.Since, said.Count = old.said.Since, old.said.Count+found.Times
	old.grown, old.fresh = true, old.fresh || old.said.Detail != said.Detail
	old.said, old.quiet = said, found.Quiet
}

// Withdraw says that a finding stands no more. It may be called where Found may, and does nothing if it does not stand.
func (c *Collector) Withdraw(kind, subject string) {
	said := &leastwisev1.Finding{Source: c.opts.Source, Instance: c.opts.Instance, Kind: kind,
		Subject: jsonrecord.Text([]byte(subject), jsonrecord.MaxText)}
	if old := c.findings.entries[schemas.FindingKey(said)]; old != nil && old.said.Standing {
		c.findings.withdraw(old, c.Now())
	}
}

func (f *findings) withdraw(old *standing, now time.Time) {
	old.said.Standing, old.said.At = false, timestamppb.New(now)
	old.fresh, f.changed = true, true
}

// news are the messages of what has changed, for the next batch after those that were handed over. The file holds it
// before they are given; one that stands no more is dropped when its batch was published: of two batches that are handed
// over, the first is.
func (f *findings) news(now time.Time, handed uint64) ([]stream.Message, error) {
	for _, one := range f.entries {
		if one.quiet > 0 && one.said.Standing && now.Sub(one.said.At.AsTime()) >= one.quiet {
			f.withdraw(one, now)
		}
	}
	var due []*standing
	for _, key := range slices.Sorted(maps.Keys(f.entries)) {
		one := f.entries[key]
		if one.fresh || one.grown && now.Sub(one.told) >= again {
			due = append(due, one)
		} else if !one.said.Standing && handed >= one.batch+2 {
			delete(f.entries, key)
			f.changed = true
		}
	}
	if len(due) == 0 {
		return nil, nil
	}
	if err := f.save(); err != nil {
		return nil, err
	}
	messages := make([]stream.Message, len(due))
	for i, one := range due {
		one.fresh, one.grown, one.told, one.batch = false, false, now, handed
		messages[i] = FactMessage(schemas.FindingKey(one.said), &leastwisev1.Fact{Fact: &leastwisev1.Fact_Finding{Finding: one.said}})
	}
	return messages, nil
}

func items(texts []string) []string {
	var out []string
	for _, text := range texts[:min(len(texts), maxItems)] {
		if text = jsonrecord.Text([]byte(text), jsonrecord.MaxText); text != "" {
			out = append(out, text)
		}
	}
	return out
}
