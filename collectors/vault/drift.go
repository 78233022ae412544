package vault

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// drift knows what roles and policies were when somebody last vouched for them: the first sight, a change by the enforcer, or
// a state that the configuration accepts. Whatever differs is a finding, until it is as it was or is accepted. It is kept in
// a file, so that a change made while the collector is down is seen.
type drift struct {
	path string
	wake chan struct{}

	mu      sync.Mutex            // guards what follows
	changed map[string]roleChange // by grant id: seen in the log, to be looked at
	queue   []string              // ids to be looked at next, oldest first

	// Only in the inventory's goroutine.
	loaded bool
	known  map[string]*vouchedRole // by grant id
}

// roleChange is the call that changed a role or a policy.
type roleChange struct {
	path, role, principal, credential, record string
	at                                        time.Time
}

// vouchedRole is how a role or policy should be.
type vouchedRole struct {
	Should json.RawMessage `json:"should"`
	// Standing is the finding in force, as protojson; empty: none.
	Standing json.RawMessage `json:"standing,omitempty"`
}

// maxDrift bounds changes that wait to be looked at; what comes beyond is found by the next round.
const maxDrift = 1000

// driftSoon is how long after its record a change is looked at.
const driftSoon = time.Second

func newDrift(c *Collector) *drift {
	d := &drift{wake: make(chan struct{}, 1), changed: map[string]roleChange{}, known: map[string]*vouchedRole{}}
	if c.deps.DataDir != "" {
		d.path = filepath.Join(c.deps.DataDir, "vault-"+url.PathEscape(c.cfg.Instance)+".roles.json")
	}
	return d
}

func (d *drift) load() error {
	if d.loaded || d.path == "" {
		d.loaded = true
		return nil
	}
	text, err := os.ReadFile(d.path)
	if err == nil {
		err = json.Unmarshal(text, &d.known)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("roles %s: %w; remove the file if it is damaged: roles and policies as they are then count as right", d.path, err)
	}
	d.loaded = true
	return nil
}

func (d *drift) save() error {
	if d.path == "" {
		return nil
	}
	text, err := json.Marshal(d.known)
	if err == nil {
		err = source.ReplaceFile(d.path, text)
	}
	if err != nil {
		return fmt.Errorf("remember roles: %w", err)
	}
	return nil
}

// under gives the known ids that begin with prefix.
func (d *drift) under(prefix string) []string {
	var ids []string
	for _, id := range slices.Sorted(maps.Keys(d.known)) {
		if strings.HasPrefix(id, prefix) {
			ids = append(ids, id)
		}
	}
	return ids
}

// noticeDrift learns from the log that a role or policy was changed. It is called by the goroutine that reads records.
func (i *inventory) noticeDrift(ev *leastwisev1.Event) {
	if ev.Kind != leastwisev1.Event_USED || ev.Action == "read" || ev.Action == "list" || ev.Outcome == leastwisev1.Outcome_OUTCOME_FAILURE {
		return
	}
	id := i.changedBy(ev.Resource)
	if id == "" {
		return
	}
	d := i.drift
	d.mu.Lock()
	if !slices.Contains(d.queue, id) && len(d.queue) < maxDrift {
		d.queue = append(d.queue, id)
	}
	if len(d.changed) < maxDrift || d.changed[id].path != "" {
		d.changed[id] = roleChange{path: ev.Action + " " + ev.Resource, role: ev.Labels["role_name"], principal: ev.Principal,
			credential: ev.Credential, record: ev.RecordId, at: ev.OccurredAt.AsTime()}
	}
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// changedBy is the id of what a write to path changes; empty: no role, no policy, no mount.
func (i *inventory) changedBy(path string) string {
	for _, prefix := range [...]string{"sys/policies/acl/", "sys/policy/"} {
		if name, ok := strings.CutPrefix(path, prefix); ok && name != "" && !strings.Contains(name, "/") {
			return i.policyID(name)
		}
	}
	return i.roleChangedBy(path)
}

// readChanged looks at what the log says was changed, at once. What it may not read, or can not now, the next round reads.
func (i *inventory) readChanged(ctx context.Context) error {
	i.drift.mu.Lock()
	ids := i.drift.queue
	i.drift.queue = nil
	i.drift.mu.Unlock()
	var errs []error
	for _, id := range ids {
		if err := i.readOne(ctx, id); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs[:min(len(errs), maxItemsOfTrouble)]...)
}

// maxItemsOfTrouble bounds what is said of a round's failures.
const maxItemsOfTrouble = 5

func (i *inventory) readOne(ctx context.Context, id string) error {
	if name, ok := strings.CutPrefix(id, i.policyID("")); ok {
		i.policies.add(name)
		grant, err := i.grant(ctx, name)
		if err != nil {
			return err
		}
		return i.tell(ctx, grant)
	}
	if mount, ok := strings.CutPrefix(id, i.id("mount", "")); ok {
		return i.readMount(ctx, mount)
	}
	known := *i.mounts.Load()
	if path, ok := strings.CutPrefix(id, i.id("secret_id", "")); ok {
		i.drift.mu.Lock()
		delete(i.drift.changed, id) // who it was is no matter here
		i.drift.mu.Unlock()
		mount := known.under("auth/" + path)
		if mount == "" {
			return nil
		}
		role := strings.TrimPrefix("auth/"+path, mount+"/")
		data, err := i.vault.read(ctx, rolePath(known[mount], mount, role))
		if err != nil {
			return err
		}
		return i.readSecretIDs(ctx, mount, role, data)
	}
	path := strings.TrimPrefix(id, i.id("role", ""))
	mount := known.under(path)
	if mount == "" {
		return nil // it went meanwhile: the next round tells
	}
	_, err := i.readRole(ctx, known[mount], mount, path[len(mount)+1:])
	return err
}

// tell publishes a grant if it is another than was told, and a finding if it is another than it should be.
func (i *inventory) tell(ctx context.Context, grant *leastwisev1.Grant) error {
	if err := i.compare(ctx, grant); err != nil {
		return err
	}
	said, err := json.Marshal(grant)
	if err != nil {
		return fmt.Errorf("compare %s: %w", grant.Id, err)
	}
	if i.told[grant.Id] == string(said) {
		return nil
	}
	grant.AsOf = timestamppb.New(i.collector.Now())
	if err := i.collector.Send(ctx, collect.FactMessage(grant.Id, &leastwisev1.Fact{Fact: &leastwisev1.Fact_Grant{Grant: grant}})); err != nil {
		return err
	}
	i.told[grant.Id] = string(said)
	return nil
}

// compare says whether a role or policy is as it should be. What it says is published before it is remembered: a crash
// between the two says it again.
func (i *inventory) compare(ctx context.Context, grant *leastwisev1.Grant) error {
	d := i.drift
	if err := d.load(); err != nil {
		return err
	}
	is, err := json.Marshal(grant)
	if err != nil {
		return fmt.Errorf("compare %s: %w", grant.Id, err)
	}
	d.mu.Lock()
	by, seen := d.changed[grant.Id]
	delete(d.changed, grant.Id)
	d.mu.Unlock()
	was := d.known[grant.Id]
	subject := strings.TrimPrefix(grant.Id, System+"/"+i.collector.cfg.Instance+"/")
	mark := subject + "@" + fingerprint(is)
	switch {
	case was == nil && grant.Deleted:
		return nil // never there
	case was == nil:
		was = &vouchedRole{Should: is}
		d.known[grant.Id] = was
		return d.save()
	case seen && by.role != "" && slices.Contains(i.cfg.OwnRoles, by.role), slices.Contains(i.cfg.Accepted, mark):
		if string(was.Should) == string(is) && was.Standing == nil {
			return nil
		}
		was.Should = is
	}
	if string(was.Should) == string(is) {
		if was.Standing == nil {
			return nil
		}
		if err := i.sayDrift(ctx, was, nil); err != nil {
			return err
		}
		return d.save()
	}
	should := &leastwisev1.Grant{}
	if err := json.Unmarshal(was.Should, should); err != nil {
		return fmt.Errorf("compare %s with what it was: %w", grant.Id, err)
	}
	f := &leastwisev1.Finding{Source: System, Instance: i.collector.cfg.Instance, Kind: schemas.FindingRoleDrift, Subject: jsonrecord.Text([]byte(subject), jsonrecord.MaxText),
		Detail: jsonrecord.Text([]byte(fmt.Sprintf("%s was changed past Leastwise: %s. Put it back, or accept it: add %q to vault_collector.inventory.accepted.",
			subject, difference(should, grant, i.policyID("")), mark)), 1024)}
	if !seen {
		f.Evidence = []string{"the inventory: Vault's answer differs from the one before"}
	} else {
		who := by.role
		if who == "" {
			who = "no role"
		}
		f.Evidence = []string{jsonrecord.Text([]byte(fmt.Sprintf("audit log: %s at %s by %s, record %s", by.path, by.at.UTC().Format(time.RFC3339), who, by.record)), jsonrecord.MaxText)}
		for _, key := range []string{by.credential, by.principal} {
			if key != "" {
				f.About = append(f.About, jsonrecord.Text([]byte(key), jsonrecord.MaxText))
			}
		}
	}
	if was.Standing != nil {
		old := &leastwisev1.Finding{}
		if err := protojson.Unmarshal(was.Standing, old); err != nil {
			return fmt.Errorf("read the finding on %s: %w", subject, err)
		}
		// The round that follows knows less of who it was: the log's word stays.
		if old.Detail == f.Detail && !seen && i.toldDrift[grant.Id] {
			return nil
		}
		f.Since = old.Since
		if old.Detail == f.Detail && !seen {
			f.Evidence, f.About = old.Evidence, old.About
		}
	}
	if err := i.sayDrift(ctx, was, f); err != nil {
		return err
	}
	i.toldDrift[grant.Id] = true
	return d.save()
}

// sayDrift publishes that a finding stands, or, with nil, that the one in force stands no more.
func (i *inventory) sayDrift(ctx context.Context, was *vouchedRole, f *leastwisev1.Finding) error {
	now := timestamppb.New(i.collector.Now())
	if f == nil {
		f = &leastwisev1.Finding{}
		if err := protojson.Unmarshal(was.Standing, f); err != nil {
			return fmt.Errorf("read a finding: %w", err)
		}
		f.Standing, f.At = false, now
	} else {
		f.Standing, f.At = true, now
		if f.Since == nil {
			f.Since = now
		}
	}
	if err := i.collector.Send(ctx, collect.FactMessage(schemas.FindingKey(f), &leastwisev1.Fact{Fact: &leastwisev1.Fact_Finding{Finding: proto.CloneOf(f)}})); err != nil {
		return err
	}
	if !f.Standing {
		was.Standing = nil
		return nil
	}
	text, err := protojson.Marshal(f)
	if err != nil {
		return fmt.Errorf("remember a finding: %w", err)
	}
	was.Standing = text
	return nil
}

func fingerprint(state []byte) string {
	sum := sha256.Sum256(state)
	return hex.EncodeToString(sum[:6])
}

// difference says in words what was taken away and what was added.
func difference(was, is *leastwisev1.Grant, policies string) string {
	if is.Deleted != was.Deleted {
		if is.Deleted {
			return "it was deleted"
		}
		return "it was made again"
	}
	var gone, added []string
	before, after := wordsOf(was, policies), wordsOf(is, policies)
	for _, part := range before {
		if !slices.Contains(after, part) {
			gone = append(gone, part)
		}
	}
	for _, part := range after {
		if !slices.Contains(before, part) {
			added = append(added, part)
		}
	}
	var words []string
	if len(added) > 0 {
		words = append(words, "now also "+strings.Join(added, "; "))
	}
	if len(gone) > 0 {
		words = append(words, "no longer "+strings.Join(gone, "; "))
	}
	if len(words) == 0 {
		return "in its order or in what can not be read of it"
	}
	text := strings.Join(words, ", ")
	return text[:min(len(text), 700)]
}

// wordsOf are the parts of a role or a policy, each in words.
func wordsOf(g *leastwisev1.Grant, policies string) (out []string) {
	for _, a := range g.Attached {
		out = append(out, "policy "+strings.TrimPrefix(a.Grant, policies))
	}
	role := strings.HasPrefix(g.Id, System+"/") && !strings.Contains(g.Id, "/policy/")
	for _, r := range g.Rules {
		if role {
			out = append(out, r.Capabilities...)
		} else {
			out = append(out, r.Resource+" ["+strings.Join(r.Capabilities, ", ")+"]")
		}
	}
	if g.Incomplete != "" {
		out = append(out, g.Incomplete)
	}
	return out
}
