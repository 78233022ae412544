package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const aliasPath = "identity/entity-alias/id"

const (
	// aliasesSoon is how long after a change of identities was logged the aliases are listed: Vault logs before it acts.
	aliasesSoon = time.Second
	// aliasesRested is how long after a listing the next one that only a login asks for may come.
	aliasesRested = 30 * time.Second
)

// alias is one of an entity, as Vault lists it.
type alias struct {
	Entity string            `json:"entity"`
	Name   string            `json:"name"`
	Mount  string            `json:"mount"`
	Kind   string            `json:"kind"`
	Meta   map[string]string `json:"meta,omitempty"`
}

func (a alias) same(b alias) bool {
	return a.Entity == b.Entity && a.Name == b.Name && a.Mount == b.Mount && a.Kind == b.Kind && maps.Equal(a.Meta, b.Meta)
}

// aliases knows which aliases Vault had when it was asked last, also by an earlier run: what has gone since then is told.
type aliases struct {
	path string
	wake chan struct{} // due came nearer

	mu   sync.Mutex // guards due and read
	due  time.Time  // of the next listing; zero: with the next round
	read time.Time  // when the last one began

	// Only in the inventory's goroutine: by the alias's id; nil before it was loaded.
	known map[string]alias
}

func newAliases(path string) *aliases { return &aliases{path: path, wake: make(chan struct{}, 1)} }

// aliasesPath is empty where nothing survives a restart.
func (c *Collector) aliasesPath() string {
	if c.deps.DataDir == "" {
		return ""
	}
	return filepath.Join(c.deps.DataDir, "vault-"+url.PathEscape(c.cfg.Instance)+".aliases.json")
}

func (a *aliases) load() error {
	if a.known != nil {
		return nil
	}
	known := map[string]alias{}
	if a.path == "" {
		a.known = known
		return nil
	}
	text, err := os.ReadFile(a.path)
	if err == nil {
		err = json.Unmarshal(text, &known)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("aliases %s: %w; remove the file if it is damaged: aliases that were deleted meanwhile then stay linked", a.path, err)
	}
	a.known = known
	return nil
}

// readAliases tells of aliases that are new or others than before, and of those that are gone. What it told is remembered
// after it was published: a crash between the two tells it again.
func (i *inventory) readAliases(ctx context.Context) error {
	if err := i.aliases.load(); err != nil {
		return err
	}
	i.aliases.begun()
	listed, err := i.vault.listInfo(ctx, aliasPath)
	if err != nil {
		return err
	}
	now := make(map[string]alias, len(listed))
	for id, info := range listed {
		if one := aliasOf(info); one.Entity != "" && one.Name != "" && one.Mount != "" {
			now[id] = one
		}
	}
	batch, changed := i.aliasChanges(now)
	if !changed {
		return nil
	}
	for part := range slices.Chunk(batch, i.collector.cfg.BatchRecords) {
		if err := i.collector.Send(ctx, part...); err != nil {
			return err
		}
	}
	if i.aliases.known = now; i.aliases.path == "" {
		return nil
	}
	text, err := json.Marshal(now)
	if err == nil {
		err = source.ReplaceFile(i.aliases.path, text)
	}
	if err != nil {
		return fmt.Errorf("remember aliases: %w", err)
	}
	return nil
}

func (i *inventory) aliasChanges(now map[string]alias) (batch []stream.Message, changed bool) {
	at := i.collector.Now()
	lost := map[string]bool{} // entities
	for _, id := range slices.Sorted(maps.Keys(i.aliases.known)) {
		was := i.aliases.known[id]
		if is, there := now[id]; !there || !was.same(is) {
			batch = append(batch, i.collector.Message(i.aliasEvent(id, was, leastwisev1.Event_REVOKED, at)))
			lost[was.Entity] = true
		}
	}
	// After that: what another alias of the entity told as well holds all the same.
	at = at.Add(time.Microsecond)
	for _, id := range slices.Sorted(maps.Keys(now)) {
		is := now[id]
		if was, known := i.aliases.known[id]; !known || !was.same(is) || lost[is.Entity] {
			batch = append(batch, i.collector.Message(i.aliasEvent(id, is, leastwisev1.Event_OBSERVED, at)))
		}
	}
	return batch, len(batch) > 0
}

func aliasOf(info map[string]any) alias {
	a := alias{Entity: text(info["canonical_id"]), Name: text(info["name"]), Mount: text(info["mount_path"]), Kind: text(info["mount_type"])}
	if a.Kind == "approle" && a.Name != "" {
		// The name is the role id, which is half of what a login needs.
		a.Name = jsonrecord.HashOf([]byte(a.Name))
	}
	meta, _ := info["metadata"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(meta)) {
		value := text(meta[name])
		if value == "" || len(a.Meta) >= 16 || looksSecret([]byte(value)) {
			continue
		}
		if a.Meta == nil {
			a.Meta = map[string]string{}
		}
		a.Meta[cleanText([]byte(name), 64)] = cleanText([]byte(value), maxLabel)
	}
	return a
}

// aliasEvent has the labels that a login through the alias has.
func (i *inventory) aliasEvent(id string, a alias, kind leastwisev1.Event_Kind, at time.Time) *leastwisev1.Event {
	ev := i.observed("")
	ev.Kind, ev.OccurredAt, ev.Principal, ev.Lifetime = kind, timestamppb.New(at), i.collector.decoder.prefixes[keyEntity]+cleanText([]byte(a.Entity), maxID), nil
	for name, value := range map[string]string{"entity_alias": a.Name, "mount_point": a.Mount, "mount_type": a.Kind} {
		label(ev.Labels, name, []byte(value))
	}
	for name, value := range a.Meta {
		if name == "role_name" || name == "role" {
			label(ev.Labels, "role_name", []byte(value))
		} else {
			label(ev.Labels, "meta."+name, []byte(value))
		}
	}
	ev.Action, ev.Resource = "inventory", aliasPath+"/"+cleanText([]byte(id), maxID)
	ev.RecordId = "inventory:alias:" + cleanText([]byte(id), maxID) + ":" + strconv.FormatInt(at.UnixNano(), 10)
	hash := schemas.EventID(System, ev.Instance, ev.RecordId, 0)
	ev.Id, ev.Position = hash[:], "inventory"
	return ev
}

// noticeAliases learns from the log that aliases may have changed. It is called by the goroutine that reads records.
func (i *inventory) noticeAliases(ev *leastwisev1.Event) {
	switch {
	case strings.HasPrefix(ev.Resource, "identity/entity") && ev.Action != "read" && ev.Action != "list":
		i.aliases.want(0)
	case ev.Kind == leastwisev1.Event_ISSUED && i.entities.add(ev.Principal): // a login may have made one
		i.aliases.want(aliasesRested)
	}
}

// want makes the aliases be listed soon, but not before the last listing is so old.
func (a *aliases) want(rest time.Duration) {
	a.mu.Lock()
	at := time.Now().Add(aliasesSoon)
	if rested := a.read.Add(rest); at.Before(rested) {
		at = rested
	}
	sooner := a.due.IsZero() || at.Before(a.due)
	if sooner {
		a.due = at
	}
	a.mu.Unlock()
	if sooner {
		select {
		case a.wake <- struct{}{}:
		default:
		}
	}
}

// before is the time of the next listing, if it comes before another.
func (a *aliases) before(other time.Time) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.due.IsZero() && a.due.Before(other) {
		return a.due
	}
	return other
}

// begun notes that a listing begins: what is logged from now on needs another.
func (a *aliases) begun() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.due, a.read = time.Time{}, time.Now()
}
