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

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// secretIDs are the secret ids of AppRoles that were told to be there, by key: system/instance/secret_id/MOUNT/ROLE/ACCESSOR,
// as the enforcer names them. They are kept in a file, so that one that goes while the collector is down is told to be gone.
// What is told is published before it is remembered: a crash between the two tells it again under the same id.
//
// Only the inventory's goroutine uses it.
type secretIDs struct {
	path   string
	loaded bool
	there  map[string]bool
}

func newSecretIDs(c *Collector) *secretIDs {
	s := &secretIDs{there: map[string]bool{}}
	if c.deps.DataDir != "" {
		s.path = filepath.Join(c.deps.DataDir, "vault-"+url.PathEscape(c.cfg.Instance)+".secretids.json")
	}
	return s
}

func (s *secretIDs) load() error {
	if s.loaded || s.path == "" {
		s.loaded = true
		return nil
	}
	text, err := os.ReadFile(s.path)
	var keys []string
	if err == nil {
		err = json.Unmarshal(text, &keys)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("secret ids %s: %w; remove the file if it is damaged: all are told anew", s.path, err)
	}
	for _, key := range keys {
		s.there[key] = true
	}
	s.loaded = true
	return nil
}

func (s *secretIDs) save() error {
	if s.path == "" {
		return nil
	}
	text, err := json.Marshal(slices.Sorted(maps.Keys(s.there)))
	if err == nil {
		err = source.ReplaceFile(s.path, text)
	}
	if err != nil {
		return fmt.Errorf("remember secret ids: %w", err)
	}
	return nil
}

// readSecretIDs tells the secret ids of one role that are new, and those that are gone. What Vault says of one never changes,
// so each is looked up once. data is the role, nil if it is gone; its policies are what a secret id leads to.
func (i *inventory) readSecretIDs(ctx context.Context, mount, role string, data map[string]any) error {
	if !i.cfg.SecretIDs || !strings.HasPrefix(mount, "auth/") {
		return nil
	}
	s := i.secretIDs
	if err := s.load(); err != nil {
		return err
	}
	base := i.id("secret_id", strings.TrimPrefix(mount, "auth/")+"/"+role+"/")
	var accessors []string
	if data != nil {
		var err error
		if accessors, err = i.vault.list(ctx, mount+"/role/"+role+"/secret-id", false); err != nil {
			return err
		}
	}
	now := map[string]bool{}
	var news []stream.Message
	var gone []string
	for _, accessor := range accessors {
		now[base+accessor] = true
		if s.there[base+accessor] {
			continue
		}
		says, err := i.vault.write(ctx, mount+"/role/"+role+"/secret-id-accessor/lookup", map[string]any{"secret_id_accessor": accessor})
		if err != nil {
			if notFound(err) { // used up, or destroyed, since it was listed
				delete(now, base+accessor)
				continue
			}
			return err
		}
		news = append(news, i.collector.Message(i.secretIDEvent(base+accessor, mount, role, data, says)))
	}
	for key := range s.there {
		if rest, ok := strings.CutPrefix(key, base); ok && !strings.Contains(rest, "/") && !now[key] {
			ev := i.observed(key)
			ev.Kind, ev.Labels["how"] = leastwisev1.Event_REVOKED, "Vault lists it no more: destroyed, expired or used up"
			ev.Labels["role_name"], ev.Labels["mount_point"] = role, mount+"/"
			news, gone = append(news, i.collector.Message(i.seal(ev))), append(gone, key)
		}
	}
	if len(news) == 0 {
		return nil
	}
	if err := i.collector.Send(ctx, news...); err != nil {
		return err
	}
	maps.Copy(s.there, now)
	for _, key := range gone {
		delete(s.there, key)
	}
	return s.save()
}

// secretIDEvent is what secret-id-accessor/lookup shows
// (https://developer.hashicorp.com/vault/api-docs/auth/approle#read-approle-secret-id-accessor).
func (i *inventory) secretIDEvent(key, mount, role string, of, says map[string]any) *leastwisev1.Event {
	ev := i.observed(key)
	ev.Orphan = true
	if made, err := parseTime([]byte(text(says["creation_time"]))); err == nil {
		ev.Lifetime.IssuedAt = timestamppb.New(made)
	}
	if ends := text(says["expiration_time"]); strings.HasPrefix(ends, "0001-") {
		ev.Lifetime.NeverExpires = true
	} else if end, err := parseTime([]byte(ends)); err == nil {
		ev.Lifetime.ExpiresAt = timestamppb.New(end)
	}
	ev.Policies = list(of["token_policies"])
	slices.Sort(ev.Policies)
	ev.Policies = slices.Compact(ev.Policies)
	ev.Labels["role_name"], ev.Labels["mount_point"], ev.Labels["mount_type"] = role, mount+"/", "approle"
	if uses := number(says["secret_id_num_uses"]); uses > 0 {
		ev.Labels["num_uses"] = strconv.FormatInt(uses, 10)
	}
	meta, _ := says["metadata"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(meta))[:min(len(meta), 16)] {
		if value := text(meta[name]); value != "" && !looksSecret([]byte(value)) {
			ev.Labels["meta."+cleanText([]byte(name), 64)] = cleanText([]byte(value), maxLabel)
		}
	}
	return i.seal(ev)
}
