package spire

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// observed starts an inventory event.
func (i *inventory) observed(method, resource string) *leastwisev1.Event {
	now := timestamppb.New(i.collector.Now())
	return &leastwisev1.Event{Kind: leastwisev1.Event_OBSERVED, Source: System, Instance: i.collector.cfg.Instance,
		OccurredAt: now, ObservedAt: now, Action: method, Resource: cleanText([]byte(resource), 2048), Labels: map[string]string{}}
}

// seal names an event by what it is about and by everything it says but the time, so that a round that finds nothing new
// makes the same ids. The last 16 characters of the record id are the hash.
func (i *inventory) seal(ev *leastwisev1.Event, about string) *leastwisev1.Event {
	bare := proto.Clone(ev).(*leastwisev1.Event)
	bare.OccurredAt, bare.ObservedAt = nil, nil
	text, _ := proto.MarshalOptions{Deterministic: true}.Marshal(bare) // no required fields, all text is UTF-8
	sum := sha256.Sum256(text)
	ev.RecordId = "inventory:" + about + ":" + hex.EncodeToString(sum[:8])
	id := schemas.EventID(System, ev.Instance, ev.RecordId, 0)
	ev.Id, ev.Position = id[:], "inventory"
	return ev
}

func (i *inventory) key(kind, id string) string {
	return schemas.Key{System: System, Instance: i.collector.cfg.Instance, Type: kind, ID: id}.String()
}

// spiffeID of the API's message; empty if there is none.
func spiffeID(id *types.SPIFFEID) string {
	if id.GetTrustDomain() == "" {
		return ""
	}
	return cleanText([]byte("spiffe://"+id.TrustDomain+id.Path), 2048)
}

func (i *inventory) principal(id *types.SPIFFEID) string {
	text := spiffeID(id)
	if text == "" {
		return ""
	}
	return i.key("spiffe_id", text)
}

func put(labels map[string]string, name, value string) {
	if value != "" {
		labels[name] = cleanText([]byte(value), maxLabel)
	}
}

// entryEvent tells who may get which SVID.
func (i *inventory) entryEvent(e *types.Entry) *leastwisev1.Event {
	ev := i.observed("ListEntries", spiffeID(e.SpiffeId))
	ev.Principal = i.principal(e.SpiffeId)
	put(ev.Labels, "spiffe_id", spiffeID(e.SpiffeId))
	put(ev.Labels, "entry_id", e.Id)
	parent := spiffeID(e.ParentId)
	if !i.attested[parent] {
		parent = string(withoutTokens([]byte(parent)))
	}
	put(ev.Labels, "parent_id", parent)
	put(ev.Labels, "selectors", selectors(e.Selectors))
	putNumber(ev.Labels, "x509_svid_ttl", int64(e.X509SvidTtl))
	putNumber(ev.Labels, "jwt_svid_ttl", int64(e.JwtSvidTtl))
	putFlag(ev.Labels, "admin", e.Admin)
	putFlag(ev.Labels, "downstream", e.Downstream)
	putFlag(ev.Labels, "store_svid", e.StoreSvid)
	put(ev.Labels, "federates_with", joined(e.FederatesWith))
	put(ev.Labels, "dns_names", joined(e.DnsNames))
	put(ev.Labels, "hint", e.Hint)
	if e.ExpiresAt > 0 {
		put(ev.Labels, "expires_at", time.Unix(e.ExpiresAt, 0).UTC().Format(time.RFC3339))
	}
	return i.seal(ev, "entry/"+e.Id)
}

// svidEvent tells what its entry says of an SVID.
func (i *inventory) svidEvent(credential string, svid issuedSVID, labels map[string]string) *leastwisev1.Event {
	ev := i.observed("ListEntries", labels["spiffe_id"])
	ev.Credential, ev.Principal = credential, svid.principal
	for name, value := range labels {
		if name != "expires_at" { // the entry's, not the SVID's
			ev.Labels[name] = value
		}
	}
	return i.seal(ev, credential)
}

// agentEvent tells of an agent and of its own SVID, whose serial no log line has.
func (i *inventory) agentEvent(a *types.Agent) *leastwisev1.Event {
	ev := i.observed("ListAgents", spiffeID(a.Id))
	ev.Principal = i.principal(a.Id)
	put(ev.Labels, "spiffe_id", spiffeID(a.Id))
	put(ev.Labels, "node_attestor_type", a.AttestationType)
	put(ev.Labels, "selectors", selectors(a.Selectors))
	putFlag(ev.Labels, "banned", a.Banned)
	putFlag(ev.Labels, "can_reattest", a.CanReattest)
	if isDecimal([]byte(a.X509SvidSerialNumber)) { // a banned agent has none
		ev.Credential = i.key("x509_svid", a.X509SvidSerialNumber)
		ev.Lifetime = &leastwisev1.Lifetime{}
		if a.X509SvidExpiresAt > 0 {
			ev.Lifetime.ExpiresAt = timestamppb.New(time.Unix(a.X509SvidExpiresAt, 0))
		}
	}
	return i.seal(ev, "agent/"+spiffeID(a.Id))
}

// bundleEvent tells what a trust domain's SVIDs are verified with.
func (i *inventory) bundleEvent(b *types.Bundle, own bool) *leastwisev1.Event {
	method := "ListFederatedBundles"
	if own {
		method = "GetBundle"
	}
	ev := i.observed(method, "spiffe://"+b.TrustDomain)
	put(ev.Labels, "trust_domain", b.TrustDomain)
	putFlag(ev.Labels, "federated", !own)
	putNumber(ev.Labels, "x509_authorities", int64(len(b.X509Authorities)))
	putNumber(ev.Labels, "jwt_authorities", int64(len(b.JwtAuthorities)))
	tainted := 0
	var prints, keys []string
	for _, authority := range b.X509Authorities {
		sum := sha256.Sum256(authority.Asn1)
		prints = append(prints, hex.EncodeToString(sum[:]))
		if authority.Tainted {
			tainted++
		}
	}
	for _, authority := range b.JwtAuthorities {
		keys = append(keys, authority.KeyId)
		if authority.Tainted {
			tainted++
		}
	}
	putNumber(ev.Labels, "tainted_authorities", int64(tainted))
	put(ev.Labels, "x509_authorities_sha256", joined(prints))
	put(ev.Labels, "jwt_authority_key_ids", joined(keys))
	return i.seal(ev, "bundle/"+b.TrustDomain)
}

// federationEvent tells of a trust domain that the server fetches the bundle of.
func (i *inventory) federationEvent(f *types.FederationRelationship) *leastwisev1.Event {
	ev := i.observed("ListFederationRelationships", "spiffe://"+f.TrustDomain)
	put(ev.Labels, "trust_domain", f.TrustDomain)
	put(ev.Labels, "bundle_endpoint_url", f.BundleEndpointUrl)
	putFlag(ev.Labels, "federated", true)
	switch profile := f.BundleEndpointProfile.(type) {
	case *types.FederationRelationship_HttpsWeb:
		put(ev.Labels, "bundle_endpoint_profile", "https_web")
	case *types.FederationRelationship_HttpsSpiffe:
		put(ev.Labels, "bundle_endpoint_profile", "https_spiffe")
		put(ev.Labels, "endpoint_spiffe_id", profile.HttpsSpiffe.GetEndpointSpiffeId())
	}
	return i.seal(ev, "federation/"+f.TrustDomain)
}

// entryLinks adds the links that an entry is: its SVIDs go to a SPIFFE ID, and come through the agents of its parent.
func (i *inventory) entryLinks(found map[string]*link, e *types.Entry, ev *leastwisev1.Event) {
	from := i.key("entry", cleanText([]byte(e.Id), maxLabel))
	add := func(kind leastwisev1.Link_Kind, to string) {
		if to != "" && e.Id != "" {
			found[schemas.LinkID(kind.String(), from, to)] = &link{Kind: int32(kind), From: from, To: to}
		}
	}
	add(leastwisev1.Link_ISSUED_TO, ev.Principal)
	if parent := ev.Labels["parent_id"]; parent != "" {
		add(leastwisev1.Link_DERIVED_FROM, i.key("spiffe_id", parent))
	}
}

func (i *inventory) linkFact(id string, l *link, retracted bool) *leastwisev1.Link {
	kind := leastwisev1.Link_Kind(l.Kind)
	entry := strings.TrimPrefix(l.From, i.key("entry", ""))
	evidence := "SPIRE's registration entry " + entry + ", as the server lists it, gives SVIDs of this SPIFFE ID"
	if kind == leastwisev1.Link_DERIVED_FROM {
		evidence = "SPIRE's registration entry " + entry + ", as the server lists it, has this parent: its SVIDs come through the parent's agents"
	}
	if retracted {
		evidence = "SPIRE's registration entry " + entry + " is no longer listed by the server, or was changed"
	}
	return &leastwisev1.Link{Id: id, Kind: kind, From: l.From, To: l.To, Confidence: leastwisev1.Link_PROVEN,
		Evidence: evidence, At: timestamppb.New(i.collector.Now()), Retracted: retracted}
}

// selectors as the log writes them, in a fixed order.
func selectors(list []*types.Selector) string {
	texts := make([]string, 0, len(list))
	for _, s := range list {
		texts = append(texts, s.Type+":"+s.Value)
	}
	slices.Sort(texts)
	return string(safeSelectors([]byte(strings.Join(texts, ","))))
}

func joined(list []string) string {
	list = slices.Clone(list)
	slices.Sort(list)
	return strings.Join(list, ",")
}

func putNumber(labels map[string]string, name string, n int64) {
	if n > 0 {
		labels[name] = strconv.FormatInt(n, 10)
	}
}

func putFlag(labels map[string]string, name string, set bool) {
	if set {
		labels[name] = "true"
	}
}
