package identity

import (
	"fmt"
	"hash/maphash"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// reading is one event on its way through the rules.
type reading struct {
	ev *pb.Event
	// holder is the node that the event's credential, or, if it names none, the event itself is of.
	holder string
	links  []*pb.Link
	// again, if set, is asked whether a link was said before by that name (a hash), and needs no more than its time.
	again func(name uint64, at int64) bool
	names []uint64 // of links
}

var hashSeed = maphash.MakeSeed()

// name of a link as a rule says it: quicker to have than the link's id.
func name(kind pb.Link_Kind, from, to string, confidence pb.Link_Confidence) uint64 {
	var h maphash.Hash
	h.SetSeed(hashSeed)
	h.WriteByte(byte(kind))
	h.WriteByte(byte(confidence))
	h.WriteString(from)
	h.WriteByte(0)
	h.WriteString(to)
	return h.Sum64()
}

// rule turns what one event proves into links. It looks at nothing but the event.
type rule func(*reading)

var rules = []rule{vaultAliases, kubernetesAccounts, webIdentity, sessionIssuer, sourceIdentity, impersonation, spireEntry,
	certificateNames, tokenClaims, agentIDs, ownerLabel}

// telling is whether an event may say something of identities.
func telling(ev *pb.Event) bool {
	switch ev.Kind {
	case pb.Event_ISSUED, pb.Event_OBSERVED, pb.Event_RENEWED:
		return true
	}
	for name := range ev.Labels {
		if evidence(name) {
			return true
		}
	}
	return false
}

// evidence is whether rules read a label. An event with none of them, that issues and observes nothing, is not read.
func evidence(label string) bool {
	switch label {
	case "agent_id", "actor_subject", "web_identity_subject", "session_issuer", "source_identity", "selectors", "entity_alias",
		"vault_entity", "oauth_client", "owner":
		return true
	}
	return false
}

func read(ev *pb.Event, again func(uint64, int64) bool) *reading {
	r := &reading{ev: ev, again: again, holder: Holder(ev.Credential, ev.Principal, ev.Labels)}
	for _, rule := range rules {
		rule(r)
	}
	if aliasGone(ev) {
		for _, link := range r.links {
			link.Retracted = true
		}
	}
	return r
}

func (r *reading) label(name string) string { return r.ev.Labels[name] }

// link adds what the event says of two nodes. The sentence ends with the record that it rests on.
func (r *reading) link(kind pb.Link_Kind, from, to string, confidence pb.Link_Confidence, format string, args ...any) {
	if from == "" || to == "" {
		return
	}
	name := name(kind, from, to, confidence)
	if r.again != nil && r.ev.Kind != pb.Event_REVOKED && r.again(name, nanos(r.said())) || Node(from) == Node(to) {
		return
	}
	var at *timestamppb.Timestamp
	if said := r.said(); said != nil { // the event's own is used again
		at = &timestamppb.Timestamp{Seconds: said.Seconds, Nanos: said.Nanos}
	}
	l := &pb.Link{Kind: kind, From: Node(from), To: Node(to), Confidence: confidence, At: at,
		Evidence: bounded(fmt.Sprintf(format, args...) + " (" + r.record() + ")")}
	if kind == pb.Link_SAME_AS && l.To < l.From {
		l.From, l.To = l.To, l.From
	}
	l.Id = ID(l)
	r.links, r.names = append(r.links, l), append(r.names, name)
}

// said is when what an event tells was so. An inventory shows a token of Vault as its login left it: what was taken back
// since then, such as an alias, is not so again because the token still lives.
func (r *reading) said() *timestamppb.Timestamp {
	if r.ev.Source == "vault" && r.ev.Kind == pb.Event_OBSERVED && r.ev.Credential != "" {
		if issued := r.ev.Lifetime.GetIssuedAt(); issued != nil {
			return issued
		}
	}
	return r.ev.OccurredAt
}

// record names the record of the event.
func (r *reading) record() string {
	if r.ev.Source == systemCatalog {
		return r.ev.RecordId // file:line
	}
	return r.ev.Source + " " + r.ev.Instance + " record " + r.ev.RecordId
}

const maxEvidence = 512

func bounded(text string) string {
	if len(text) > maxEvidence {
		text = strings.ToValidUTF8(text[:maxEvidence-3], "") + "..."
	}
	return text
}
