package gcpaudit

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/valyala/fastjson"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// isAsset is whether the document is a line of a Cloud Asset export: of IAM policies, or of resources that are roles.
func isAsset(root *fastjson.Value) bool {
	if len(root.GetStringBytes("name")) == 0 && len(root.GetStringBytes("resource")) == 0 {
		return false
	}
	return either(root, "asset_type", "assetType") != nil && (assetPolicy(root) != nil || root.Get("resource", "data") != nil)
}

// assetPolicy is the policy of an exported asset, or of a result of a policy search.
func assetPolicy(root *fastjson.Value) *fastjson.Value {
	return object(either(root, "iam_policy", "iamPolicy", "policy"))
}

// assetBindings gives each binding of an asset's policy.
func assetBindings(root *fastjson.Value, give func(binding)) {
	name := root.GetStringBytes("name")
	if policy := root.Get("policy"); policy != nil && root.Get("iam_policy") == nil && root.Get("iamPolicy") == nil {
		if resource := root.GetStringBytes("resource"); len(resource) > 0 {
			name = resource
		}
	}
	resource := safe(name, maxResource)
	for _, bound := range assetPolicy(root).GetArray("bindings") {
		role := safe(bound.GetStringBytes("role"), maxName)
		conditional := object(bound.Get("condition")) != nil
		for _, who := range bound.GetArray("members") {
			if m := member(stringOf(who)); m != "" && role != "" {
				give(binding{member: m, role: role, resource: resource, conditional: conditional})
			}
		}
	}
}

// asset tells of one line of an export that came among log entries.
func (d *Decoder) asset(dst []*leastwisev1.Event, e *entry, root *fastjson.Value) []*leastwisev1.Event {
	updated := assetTime(root)
	if e.at = updated; updated.IsZero() {
		e.at = e.rec.ObservedAt
	}
	d.identify(e)
	kind := leastwisev1.Event_NOTED
	if e.at.IsZero() {
		kind = leastwisev1.Event_UNKNOWN
	}
	ev := d.event(e, indexAsset, kind)
	ev.Action = "asset"
	ev.Resource = d.name(root.GetStringBytes("name"))
	ev.Labels = map[string]string{}
	label(ev.Labels, "asset_type", stringOf(either(root, "asset_type", "assetType")))
	if d.opts.Assets != nil {
		d.opts.Assets.add(root)
	}
	return append(dst, ev)
}

func assetTime(root *fastjson.Value) time.Time {
	at, _ := parseTime(stringOf(either(root, "update_time", "updateTime")))
	return at
}

// Assets collects what the lines of a Cloud Asset export say, in whatever order they come. What a member has through a
// group is under the group. Memory grows with the number of bindings. Not safe for concurrent use.
type Assets struct {
	instance string
	keys     *Decoder // builds keys alone
	members  map[string]map[binding]struct{}
	roles    map[string]*leastwisev1.Grant
	newest   time.Time
}

// NewAssets collects for one organization.
func NewAssets(instance string) *Assets {
	if instance == "" {
		instance = "default"
	}
	return &Assets{instance: instance, keys: NewDecoder(Options{Instance: instance}), members: map[string]map[binding]struct{}{},
		roles: map[string]*leastwisev1.Grant{}}
}

func (a *Assets) add(root *fastjson.Value) {
	at := assetTime(root)
	if at.After(a.newest) {
		a.newest = at
	}
	assetBindings(root, func(b binding) {
		if a.members[b.member] == nil {
			a.members[b.member] = map[binding]struct{}{}
		}
		if len(a.members[b.member]) <= maxAttached {
			a.members[b.member][b] = struct{}{}
		}
	})
	if role := customRole(a.instance, root.Get("resource", "data")); role != nil {
		a.roles[role.Id] = role
	}
}

// Facts gives a grant for each member, with all that is bound to it on any resource, and one for each custom role. They
// are as of the newest change that the export holds, since every change before the export is in it; if it tells none, as
// of the time given.
func (a *Assets) Facts(otherwise time.Time) []*leastwisev1.Fact {
	if !a.newest.IsZero() {
		otherwise = a.newest
	}
	var facts []*leastwisev1.Fact
	give := func(g *leastwisev1.Grant) {
		if !otherwise.IsZero() {
			g.AsOf = timestamppb.New(otherwise)
		}
		facts = append(facts, &leastwisev1.Fact{Fact: &leastwisev1.Fact_Grant{Grant: g}})
	}
	for _, name := range slices.Sorted(maps.Keys(a.members)) {
		give(a.keys.principalGrant(name, a.members[name]))
	}
	for _, id := range slices.Sorted(maps.Keys(a.roles)) {
		give(a.roles[id])
	}
	return facts
}

// maxAttached of one member in one export; more make its grant incomplete.
const maxAttached = 10_000

// ReadAssets reads a whole Cloud Asset export. Lines that are no assets are counted.
func ReadAssets(r io.Reader, instance string, otherwise time.Time) (facts []*leastwisev1.Fact, skipped int, err error) {
	a := NewAssets(instance)
	lines := source.NewDocuments(r, maxAsset, "assets", "results")
	for {
		line, err := lines.Next()
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, skipped, fmt.Errorf("read asset export: %w", err)
		}
		if line.Length > 0 {
			if root, bad := jsonrecord.Parse(&a.keys.parser, line.Bytes, maxAsset); bad != nil || line.TooLong || !isAsset(root) {
				skipped++
			} else {
				a.add(root)
			}
		}
		if err != nil {
			return a.Facts(otherwise), skipped, nil
		}
	}
}

// maxAsset bytes of one line: a policy has at most 1,500 members, but resources may be long.
const maxAsset = 64 << 20

func (d *Decoder) principalGrant(name string, bound map[binding]struct{}) *leastwisev1.Grant {
	grant := &leastwisev1.Grant{Id: d.keys.principal + name}
	for b := range bound {
		grant.Attached = append(grant.Attached, d.attachment(b))
	}
	slices.SortFunc(grant.Attached, func(a, b *leastwisev1.Attachment) int {
		if c := strings.Compare(a.Grant, b.Grant); c != 0 {
			return c
		}
		if c := strings.Compare(a.Resource, b.Resource); c != 0 {
			return c
		}
		return strings.Compare(fmt.Sprint(a.Conditional), fmt.Sprint(b.Conditional))
	})
	if len(grant.Attached) > maxAttached {
		grant.Attached = grant.Attached[:maxAttached]
		grant.Incomplete = "the member has more bindings than are read"
	}
	return grant
}

// factKey is the topic key of a grant.
func factKey(fact *leastwisev1.Fact) string { return fact.GetGrant().GetId() }

// withdrawn says that a member has nothing left, or that a role is no more.
func withdrawn(id string, asOf time.Time) *leastwisev1.Fact {
	key, err := schemas.ParseKey(id)
	return &leastwisev1.Fact{Fact: &leastwisev1.Fact_Grant{Grant: &leastwisev1.Grant{Id: id, AsOf: timestamppb.New(asOf),
		Deleted: err == nil && key.Type == "policy"}}}
}
