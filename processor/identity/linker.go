package identity

import (
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/processor/catalog"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Options of a Linker.
type Options struct {
	// Clusters says which cluster an authority speaks for: an auth mount of Vault (vault/INSTANCE/auth/MOUNT), the issuer of
	// the cluster's tokens, a trust domain of SPIRE (spire/DOMAIN or, with the attestor's name for it, spire/DOMAIN/CLUSTER).
	// Service accounts that two authorities of one cluster name are one.
	Clusters map[string]string
}

// Statement is a link said or taken back, and the key under which other processors should hear of it.
type Statement struct {
	Key  string
	Link *pb.Link
}

// Linker turns events and the catalog into links, and puts them into a graph. It is not safe for concurrent use; several
// may share a graph.
type Linker struct {
	graph    *Graph
	clusters map[string]string   // by authority
	named    map[string]struct{} // the clusters
	catalog  *catalog.Catalog
	since    *timestamppb.Timestamp // when the catalog came in force
	known    map[string]struct{}    // nodes that the catalog was asked about
	most     int                    // of them
	forgot   bool                   // some of them were forgotten
	places   map[uint64]uint32      // of links said, by name
	news     []Statement
}

// NewLinker gives a Linker that knows no catalog yet.
func NewLinker(g *Graph, opts Options) *Linker {
	l := &Linker{graph: g, clusters: map[string]string{}, named: map[string]struct{}{}, known: map[string]struct{}{}, most: maxKnown,
		places: map[uint64]uint32{}}
	for authority, cluster := range opts.Clusters {
		l.clusters[clusterNode(authority)] = cluster
		l.named[clusterNode(cluster)] = struct{}{}
	}
	return l
}

// clusterNode is how an authority stands in keys of service accounts.
func clusterNode(authority string) string {
	return strings.ReplaceAll(issuerName(authority), "/", "_")
}

// Graph that the links go into.
func (l *Linker) Graph() *Graph { return l.graph }

// News takes the statements that other processors should hear of.
func (l *Linker) News() []Statement {
	out := l.news
	l.news = nil
	return out
}

// Event reads one event. held is the principal that the event's credential was known by before, from an event or by Meet;
// empty if none was. It keeps nothing of the event but texts, and those only in the News.
func (l *Linker) Event(ev *pb.Event, held string) {
	if ev.Principal != "" {
		if held != ev.Principal || l.forgot {
			l.Meet(ev.Principal)
		}
		if held != "" && held != ev.Principal && ev.Credential != "" {
			l.second(ev, held)
		}
	}
	if telling(ev) {
		r := read(ev, l.again)
		l.Meet(r.holder)
		for i, link := range r.links {
			l.say(link)
			l.remember(r.names[i], link)
		}
	}
	if ev.Credential != "" {
		l.claimed(ev, held)
	}
}

// again notes that a link was said once more, which is all there is to do for nearly all events. It is false for a link
// that was not said before by this Linker, or that is news.
func (l *Linker) again(name uint64, at int64) bool {
	place, known := l.places[name]
	return known && l.graph.again(place, at)
}

const maxPlaces = 1_000_000

func (l *Linker) remember(name uint64, link *pb.Link) {
	if len(l.places) > maxPlaces { // a bound, not a cache
		l.places = map[uint64]uint32{}
	}
	if place, ok := l.graph.place(link); ok {
		l.places[name] = place
	}
}

// say puts a statement into the graph, and meets its nodes.
func (l *Linker) say(link *pb.Link) {
	if key := l.graph.Tell(link); key != "" {
		l.news = append(l.news, Statement{key, link})
	}
	if link.Retracted {
		return
	}
	if link.Kind != pb.Link_ISSUED_TO {
		l.Meet(link.From)
	}
	l.Meet(link.To)
}

// second tells that a credential is used by another than it was known by.
func (l *Linker) second(ev *pb.Event, held string) {
	if Node(held) == Node(ev.Principal) || oneRole(Node(held), Node(ev.Principal)) {
		return
	}
	r := &reading{ev: ev}
	r.link(pb.Link_ISSUED_TO, ev.Credential, held, pb.Link_PROVEN, "%s named it as holder", ev.Source)
	r.links[0].Evidence = "earlier records of " + ev.Source + " name it as holder"
	r.link(pb.Link_ISSUED_TO, ev.Credential, ev.Principal, pb.Link_PROVEN, "%s names it as holder", ev.Source)
	for _, link := range r.links {
		l.say(link)
	}
}

// oneRole is whether two nodes are one role of AWS: as itself, as its session, or without its path, which the ARN of a
// session leaves out.
func oneRole(a, b string) bool {
	account, name, path := roleName(a)
	other, same, otherPath := roleName(b)
	return name != "" && account == other && name == same && (path == "" || otherPath == "")
}

func roleName(node string) (account, name, path string) {
	system, account, kind, arn, ok := split(node)
	if !ok || system != "aws" || kind != "assumed-role" && kind != "role" {
		return "", "", ""
	}
	parts := strings.Split(arn, "/")
	return account, parts[len(parts)-1], strings.Join(parts[1:len(parts)-1], "/")
}

// claimed joins who an agent says it is with whom the credential was issued to: the claim of an agent's own log, shown
// beside the identity, never part of it.
func (l *Linker) claimed(ev *pb.Event, held string) {
	if l.graph.credentials.Load() == 0 {
		return // no credential has a link of its own
	}
	holders, claims := l.graph.sides(ev.Credential)
	if len(claims) == 0 {
		return
	}
	for _, holder := range append(holders, held, ev.Principal) {
		holder = Node(holder)
		if holder == "" || isAgentID(holder) {
			continue
		}
		for _, claim := range claims {
			link := &pb.Link{Kind: pb.Link_SAME_AS, From: min(holder, claim.To), To: max(holder, claim.To), Confidence: pb.Link_INFERRED,
				At: timestamppb.New(time.Unix(0, claim.Since)), Evidence: bounded("says in its own log that it used " + ev.Credential)}
			link.Id = ID(link)
			l.say(link)
		}
	}
}

// sides lists the nodes that a credential is known to be issued to, and what agents' own logs claim of it.
func (g *Graph) sides(credential string) (holders []string, claims []Step) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	id, ok := g.lookup(credential)
	if !ok {
		return nil, nil
	}
	v := view{g, 0}
	v.each(id, func(e *edge) {
		switch {
		case e.kind != uint8(pb.Link_ISSUED_TO) || e.from != id:
		case e.confidence == uint8(pb.Link_INFERRED):
			claims = append(claims, v.step(e, id))
		default:
			holders = append(holders, g.names[e.to])
		}
	})
	return holders, claims
}

const maxKnown = 5_000_000

// Meet tells, the first time that an identity is seen, what catalog and configuration say of it.
func (l *Linker) Meet(principal string) {
	if principal == "" {
		return
	}
	if _, ok := l.known[principal]; ok {
		return
	}
	if len(l.known) > l.most { // a bound, not a cache: then all are asked about once more
		l.known, l.forgot = map[string]struct{}{}, true
	}
	principal = strings.Clone(principal) // it may be a piece of a whole message
	l.known[principal] = struct{}{}
	node := Node(principal)
	if node != principal {
		if _, ok := l.known[node]; ok {
			return
		}
		l.known[node] = struct{}{}
	}
	l.cluster(node)
	for _, link := range l.claims(node) {
		l.say(link)
	}
}

// cluster joins a service account that one authority of a cluster names with those that its other authorities name. If
// the configuration does not say which cluster it is, accounts of one name are only shown together.
func (l *Linker) cluster(node string) {
	system, authority, kind, user, ok := split(node)
	if !ok || system != "kubernetes" || kind != "serviceaccount" || authority == anywhere {
		return
	}
	r := &reading{ev: &pb.Event{Source: "configuration", Instance: "processor", RecordId: "clusters"}} // at all times
	if _, ok := l.named[authority]; ok {
		return
	}
	if cluster, ok := l.clusters[authority]; ok {
		r.link(pb.Link_SAME_AS, node, key("kubernetes", cluster, kind, user), pb.Link_ASSERTED, "%s speaks for cluster %s", authority, cluster)
	} else {
		r.link(pb.Link_SAME_AS, node, key("kubernetes", anywhere, kind, user), pb.Link_INFERRED,
			"same namespace and name; set clusters if %s speaks for the same cluster as others", authority)
	}
	for _, link := range r.links {
		l.say(link)
	}
}

// ClaimCatalog puts a catalog in force as of now: what it says of owners, systems of record and the identities known is
// said, and what an earlier one said and it does not is taken back.
func (l *Linker) ClaimCatalog(cat *catalog.Catalog, now time.Time) {
	at := timestamppb.New(now)
	l.catalog, l.since = cat, at
	said := map[string]bool{}
	tell := func(link *pb.Link) {
		said[link.Id] = true
		if l.graph.Said(link) == 0 { // what is held already is not said again
			l.say(link)
		}
	}
	if cat != nil {
		for _, agent := range cat.Agents() {
			for _, link := range agentLinks(agent, at) {
				tell(link)
			}
		}
	}
	var nodes []string
	l.graph.Nodes(func(node string) { nodes = append(nodes, node) })
	for node := range l.known {
		nodes = append(nodes, Node(node))
	}
	for _, node := range nodes {
		l.known[node] = struct{}{}
		for _, link := range l.claims(node) {
			tell(link)
		}
	}
	for _, link := range l.graph.asserted() {
		if !said[link.Id] {
			link.At, link.Retracted = at, true
			link.Evidence = "the catalog no longer says so"
			l.say(link)
		}
	}
}

// agentLinks are what the catalog says of an agent by itself.
func agentLinks(agent *catalog.Agent, at *timestamppb.Timestamp) []*pb.Link {
	r := &reading{ev: &pb.Event{Source: systemCatalog, RecordId: agent.Where, OccurredAt: at}}
	if agent.Owner != nil {
		r.link(pb.Link_OWNED_BY, AgentNode(agent.ID), OwnerNode(agent.Owner.ID), pb.Link_ASSERTED, "the catalog gives agent %s owner %s", agent.ID, agent.Owner.ID)
	}
	if agent.System != nil {
		r.link(pb.Link_RECORDED_IN, AgentNode(agent.ID), SystemNode(agent.System.ID), pb.Link_ASSERTED, "the catalog gives agent %s system of record %s", agent.ID, agent.System.ID)
	}
	return r.links
}

// claims are what the catalog says of an identity by its name alone. Entries that also ask for metadata or labels speak of
// single credentials, and are matched there.
func (l *Linker) claims(node string) []*pb.Link {
	if l.catalog == nil || strings.HasPrefix(node, systemCatalog+"/") {
		return nil
	}
	query := catalog.Query{Principal: node}
	if mount, role, ok := roleOf(node); ok {
		query = catalog.Query{Labels: map[string]string{"mount_point": mount, "role_name": role}}
	}
	r := &reading{}
	for _, claim := range l.catalog.Claims(query) {
		r.ev = &pb.Event{Source: systemCatalog, RecordId: claim.Where, OccurredAt: l.since}
		r.link(pb.Link_SAME_AS, AgentNode(claim.Agent.ID), node, pb.Link_ASSERTED, "the catalog lists it as agent %s", claim.Agent.ID)
	}
	return r.links
}

// asserted lists the links to nodes of the catalog that are held because a catalog said so.
func (g *Graph) asserted() []*pb.Link {
	g.mu.RLock()
	defer g.mu.RUnlock()
	var out []*pb.Link
	for i := range g.edges {
		e := &g.edges[i]
		from, to := g.names[e.from], g.names[e.to]
		if !e.held || e.confidence != uint8(pb.Link_ASSERTED) || !isAgent(from) && !isAgent(to) {
			continue
		}
		link := &pb.Link{Kind: pb.Link_Kind(e.kind), From: from, To: to, Confidence: pb.Link_ASSERTED}
		link.Id = ID(link)
		out = append(out, link)
	}
	return out
}

func isAgent(node string) bool {
	_, ok := catalogID(node, typeAgent)
	return ok
}
