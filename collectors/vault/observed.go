package vault

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// observed starts an inventory event. Its record id is made of the credential and of everything the event says but the
// time, so that a round that finds nothing new makes the same ids.
func (i *inventory) observed(credential string) *leastwisev1.Event {
	now := timestamppb.New(i.collector.Now())
	return &leastwisev1.Event{Kind: leastwisev1.Event_OBSERVED, Credential: credential, Source: System,
		Instance: i.collector.cfg.Instance, OccurredAt: now, ObservedAt: now, Action: "inventory",
		Lifetime: &leastwisev1.Lifetime{}, Labels: map[string]string{}}
}

func (i *inventory) seal(ev *leastwisev1.Event) *leastwisev1.Event {
	bare := proto.Clone(ev).(*leastwisev1.Event)
	bare.OccurredAt, bare.ObservedAt = nil, nil
	text, _ := proto.MarshalOptions{Deterministic: true}.Marshal(bare) // no required fields, all text is UTF-8
	sum := sha256.Sum256(text)
	ev.RecordId = "inventory:" + ev.Credential + ":" + hex.EncodeToString(sum[:8])
	id := schemas.EventID(System, ev.Instance, ev.RecordId, 0)
	ev.Id, ev.Position = id[:], "inventory"
	return ev
}

// tokenEvent is what lookup-accessor shows; id is the accessor as the log shows it.
func (i *inventory) tokenEvent(id string, data map[string]any) *leastwisev1.Event {
	base := i.collector.decoder.prefixes
	ev := i.observed(base[keyToken] + id)
	life := ev.Lifetime
	if made := number(data["creation_time"]); made > 0 && made < 253402300800 {
		life.IssuedAt = timestamppb.New(time.Unix(made, 0))
	}
	if end, err := parseTime([]byte(text(data["expire_time"]))); err == nil {
		life.ExpiresAt = timestamppb.New(end)
	} else if data["expire_time"] == nil && number(data["creation_ttl"]) == 0 {
		life.NeverExpires = true
	}
	life.PeriodSeconds, life.MaxTtlSeconds = number(data["period"]), number(data["explicit_max_ttl"])
	life.Renewable, _ = data["renewable"].(bool)
	ev.Orphan, _ = data["orphan"].(bool)
	if entity := text(data["entity_id"]); entity != "" {
		ev.Principal = base[keyEntity] + entity
	}
	ev.Policies = append(list(data["policies"]), list(data["identity_policies"])...)
	slices.Sort(ev.Policies)
	ev.Policies = slices.Compact(ev.Policies)
	put := func(name, value string) {
		if value != "" && len(ev.Labels) < 24 && !looksSecret([]byte(value)) {
			ev.Labels[name] = cleanText([]byte(value), maxLabel)
		}
	}
	put("display_name", text(data["display_name"]))
	put("path", text(data["path"]))
	if mount, _, login := strings.Cut(text(data["path"]), "/login"); login {
		put("mount_point", mount+"/")
	}
	put("role_name", text(data["role"]))
	put("namespace", text(data["namespace_path"]))
	if kind := text(data["type"]); kind != "service" {
		put("token_type", kind)
	}
	meta, _ := data["meta"].(map[string]any)
	names := make([]string, 0, len(meta))
	for name := range meta {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names[:min(len(names), 16)] {
		if name == "role_name" || name == "role" {
			put("role_name", text(meta[name]))
		} else {
			put("meta."+cleanText([]byte(name), 64), text(meta[name]))
		}
	}
	return i.seal(ev)
}

func (i *inventory) leaseEvent(id string, data map[string]any) *leastwisev1.Event {
	ev := i.observed(i.collector.decoder.prefixes[keyLease] + id)
	if made, err := parseTime([]byte(text(data["issue_time"]))); err == nil {
		ev.Lifetime.IssuedAt = timestamppb.New(made)
	}
	if end, err := parseTime([]byte(text(data["expire_time"]))); err == nil {
		ev.Lifetime.ExpiresAt = timestamppb.New(end)
	}
	ev.Lifetime.Renewable, _ = data["renewable"].(bool)
	return i.seal(ev)
}

// readPolicies publishes what policies permit when it has changed: all that were ever named, or only new names.
func (i *inventory) readPolicies(ctx context.Context, all bool) error {
	for _, name := range i.policies.take(all) {
		grant, err := i.grant(ctx, name)
		if err != nil {
			i.policies.undo(name)
			return err
		}
		if err := i.tell(ctx, grant); err != nil {
			i.policies.undo(name)
			return err
		}
	}
	return nil
}

func (i *inventory) grant(ctx context.Context, name string) (*leastwisev1.Grant, error) {
	grant := &leastwisev1.Grant{Id: schemas.Key{System: System, Instance: i.collector.cfg.Instance, Type: "policy", ID: name}.String()}
	if name == "root" {
		grant.Rules = rootRules()
		return grant, nil
	}
	data, err := i.vault.read(ctx, "sys/policies/acl/"+name)
	if err != nil {
		return nil, err
	}
	if data == nil {
		grant.Deleted = true
		return grant, nil
	}
	rules, incomplete, err := ParsePolicy(text(data["policy"]))
	if err != nil {
		grant.Incomplete = err.Error()
		return grant, nil
	}
	grant.Rules, grant.Incomplete = rules, incomplete
	return grant, nil
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func number(v any) int64 {
	if n, ok := v.(json.Number); ok {
		if i, err := n.Int64(); err == nil && i > 0 {
			return i
		}
	}
	return 0
}

func list(v any) []string {
	values, _ := v.([]any)
	var out []string
	for _, value := range values[:min(len(values), maxList)] {
		if s := text(value); s != "" {
			out = append(out, cleanText([]byte(s), maxLabel))
		}
	}
	return out
}
