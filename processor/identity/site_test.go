package identity

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/leastwise/leastwise/processor/catalog"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

const fleetCatalog = `owners: [{id: payments}, {id: sre}]
systems: [{id: registry}, {id: cmdb}]
agents:
  - id: ingest
    owner: payments
    system: registry
    match:
      - spiffe_id: spiffe://example.org/ns/pay/sa/in
  - id: backup
    owner: sre
    system: cmdb
    match:
      - vault_role: {mount: auth/approle/, role: backup}
      - agent_id: "backup-agent"
  - id: twin
    owner: sre
    system: registry
    match:
      - vault_entity: e-both
  - id: other-twin
    owner: payments
    system: cmdb
    match:
      - spiffe_id: spiffe://example.org/both
`

func loadCatalog(t testing.TB, text string) *catalog.Catalog {
	t.Helper()
	path := filepath.Join(t.TempDir(), "catalog.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cat, err := catalog.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return cat
}

var oneCluster = Options{Clusters: map[string]string{"vault/default/auth/k8s-prod": "prod", "spire/example.org": "prod",
	"https://oidc.eks.eu-west-1.amazonaws.com/id/AB": "prod"}}

const (
	token    = "vault/default/token/hmac-sha256:7d"
	session  = "cloudtrail/default/session/ASIA1"
	svid     = "spire/default/x509-svid/77"
	jti      = "jwtregistry/default/jwt/j1"
	backup   = "vault/default/token/hmac-sha256:b0"
	stolen   = "cloudtrail/default/accesskey/AKIA1"
	spiffeID = "spiffe://example.org/ns/pay/sa/in"
)

// history of a fleet: one agent seen by four issuers and its own log; one whose log claims to be another; an identity of
// two owners; a key that two principals use; and calls that say nothing new.
func history() []*pb.Event {
	role := "cloudtrail/default/role/arn:aws:iam::1:role/ingest"
	events := []*pb.Event{
		event("vault", pb.Event_ISSUED, token, entity, "mount_type", "kubernetes", "mount_point", "auth/k8s-prod/",
			"meta.service_account_namespace", "pay", "meta.service_account_name", "in", "meta.agent_id", uuid),
		event("spire", pb.Event_USED, "", "", "selectors", "k8s:ns:pay,k8s:sa:in"),
		event("spire", pb.Event_ISSUED, svid, "spire/default/spiffe/"+spiffeID, "spiffe_id", spiffeID),
		event("cloudtrail", pb.Event_ISSUED, session, role, "session_issuer", "arn:aws:iam::1:role/ingest",
			"web_identity_provider", "arn:aws:iam::1:oidc-provider/oidc.eks.eu-west-1.amazonaws.com/id/AB", "web_identity_subject", "system:serviceaccount:pay:in"),
		event("jwtregistry", pb.Event_ISSUED, jti, "jwtregistry/default/subject/https://idp|svc-ingest", "agent_id", uuid, "oauth_client", "svc-ingest"),
		event("agentusage", pb.Event_USED, token, "", "agent_id", uuid),

		event("vault", pb.Event_ISSUED, backup, "vault/default/entity/e-backup", "mount_type", "approle", "mount_point", "auth/approle/", "role_name", "backup"),
		event("agentusage", pb.Event_USED, backup, "", "agent_id", "backup-agent"),
		event("agentusage", pb.Event_USED, backup, "", "agent_id", uuid), // says it is the other agent

		event("vault", pb.Event_ISSUED, "vault/default/token/both", "vault/default/entity/e-both", "mount_type", "jwt", "mount_point", "auth/jwt/", "meta.sub", "spiffe://example.org/both"),

		event("cloudtrail", pb.Event_USED, stolen, "cloudtrail/default/user/arn:aws:iam::1:user/alice"),
		event("cloudtrail", pb.Event_USED, stolen, "cloudtrail/default/user/arn:aws:iam::1:user/mallory"),
	}
	events[1].Resource = spiffeID
	for i := range 20 {
		events = append(events, event("vault", pb.Event_USED, token, entity), event("agentusage", pb.Event_USED, token, "", "agent_id", uuid))
		events[len(events)-1].Kind = pb.Event_Kind(int(pb.Event_USED) + i%2) // refusals, too
	}
	for i, ev := range events {
		ev.RecordId, ev.OccurredAt = fmt.Sprint(i), moment(i)
	}
	return events
}

// site is some processors that hear of each other through a topic.
type site struct {
	linkers []*Linker
	held    []map[string]string // by partition: principals of credentials, as their state has them
	read    []int               // by linker: how much of the topic it has read
	topic   []*pb.Link
}

func newSite(partitions int, cat *catalog.Catalog) *site {
	s := &site{read: make([]int, partitions)}
	for range partitions {
		l := NewLinker(New(), oneCluster)
		l.ClaimCatalog(cat, start)
		s.linkers, s.held = append(s.linkers, l), append(s.held, map[string]string{})
	}
	return s
}

func (s *site) event(ev *pb.Event) {
	p := 0
	for _, c := range ev.Credential {
		p = (p*31 + int(c)) % len(s.linkers)
	}
	held := s.held[p]
	s.linkers[p].Event(ev, held[ev.Credential])
	if old := held[ev.Credential]; ev.Principal != "" && (old == "" || ev.Principal < old) {
		held[ev.Credential] = ev.Principal
	}
	s.publish(p)
}

func (s *site) publish(p int) {
	for _, said := range s.linkers[p].News() {
		s.topic = append(s.topic, proto.Clone(said.Link).(*pb.Link))
	}
}

// follow lets one processor read on.
func (s *site) follow(p, upTo int) {
	for ; s.read[p] < min(upTo, len(s.topic)); s.read[p]++ {
		s.linkers[p].Graph().Put(s.topic[s.read[p]])
	}
}

// settle lets all read to the end.
func (s *site) settle() {
	for p := range s.linkers {
		s.publish(p)
	}
	for p := range s.linkers {
		s.follow(p, len(s.topic))
	}
}

// told is what a graph says of who is who: components, owners, systems and findings, without the times and sentences.
func told(g *Graph) string {
	var lines []string
	var nodes []string
	g.Nodes(func(node string) { nodes = append(nodes, node) })
	for _, node := range nodes {
		r := g.Resolve(Query{Principal: node})
		lines = append(lines, fmt.Sprintf("%s: %s %v %v %v", node, r.Component, r.Agents, r.Owners, r.Systems))
	}
	for _, f := range g.Findings(0) {
		line := f.Kind + " " + f.Subject
		for _, side := range f.Sides {
			line += " / " + side.Claim
		}
		lines = append(lines, line)
	}
	for _, l := range g.Held(0) {
		lines = append(lines, fmt.Sprintf("%s %s %s %s", l.Confidence, l.Kind, l.From, l.To))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
