package identity

import (
	"fmt"
	"slices"
	"strings"
	"time"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Query is a credential, or an identity if Credential is empty.
type Query struct {
	Credential string
	Principal  string
	Labels     map[string]string
	// AsOf asks who it was then (unix nanoseconds); 0 is now.
	AsOf int64
}

// Step is one link of a chain, in the direction in which the chain is read.
type Step struct {
	From, To   string
	Kind       pb.Link_Kind
	Confidence pb.Link_Confidence
	Evidence   string
	Since      int64 // when it was first said
	Against    bool  // the link itself leads from To to From
}

// Resolution is who holds a credential, or who an identity is, and who answers.
type Resolution struct {
	// Holder is the node that the credential was issued to.
	Holder string
	// Component names the identity: the smallest of its nodes. Empty if the holder is not known.
	Component string
	// Agents, Owners and Systems are nodes of the catalog, sorted: exactly one owner and one system are as it should be.
	Agents, Owners, Systems []string
	// Findings about the identity and the credential, as of the query.
	Findings []Finding
	// Revision of the graph that was asked.
	Revision uint64
}

// Conflict says in one sentence why the owner is not to be relied on; empty if nothing speaks against it. That nobody is
// known is no conflict.
func (r *Resolution) Conflict() string {
	for _, f := range r.Findings {
		if f.Kind != NoOwner && f.Kind != TwoAgents && f.Kind != SharedLabel {
			return f.String()
		}
	}
	return ""
}

// Holder is the node that a credential was issued to, by what its issuer says of it: the current actor of a delegated
// token (RFC 8693, section 4.1: only the outermost act counts), the SPIFFE ID that a certificate names, the workload that
// a session of AWS was given to, else the principal. Tags of a session are its caller's choice and count for nothing,
// but for those that EKS sets itself.
func Holder(credential, principal string, labels map[string]string) string {
	if len(labels) == 0 {
		return Node(principal)
	}
	of := credential
	if of == "" {
		of = principal
	}
	if !strings.HasPrefix(of, "cloudtrail/") {
		if actor := labels["actor_subject"]; actor != "" {
			return actorNode(credential, principal, actor, labels)
		}
		if id := labels["spiffe_id"]; strings.HasPrefix(id, "spiffe://") {
			return spiffeNode(id)
		}
	} else if account := podIdentity(labels); account != "" {
		return account
	}
	if subject := labels["web_identity_subject"]; subject != "" && labels["web_identity_provider"] != "" {
		return subjectNode(labels["web_identity_provider"], subject)
	}
	return Node(principal)
}

// actorNode is who acts, named in the namespace of the principal for whom it acts.
func actorNode(credential, principal, actor string, labels map[string]string) string {
	system, instance, kind, id, ok := split(principal)
	if !ok {
		system, instance, _, _, _ = split(credential)
		kind = "subject"
	}
	if issuer, _, has := strings.Cut(id, "|"); kind == "subject" && !strings.Contains(actor, "|") {
		if !has {
			issuer = labels["issuer"]
		}
		actor = issuer + "|" + actor
	}
	return Node(key(system, instance, kind, actor))
}

// Resolve finds who holds a credential and who answers for it.
func (g *Graph) Resolve(q Query) Resolution {
	g.mu.Lock() // summaries are remembered
	defer g.mu.Unlock()
	v := view{g, q.AsOf}
	r := Resolution{Holder: Holder(q.Credential, q.Principal, q.Labels), Revision: g.revision}
	if q.Credential == "" && r.Holder == "" {
		return r
	}
	holder, known := g.ids[r.Holder]
	credential, linked := none, false
	if q.Credential != "" {
		credential, linked = g.lookup(q.Credential)
	}
	if !known && linked {
		holder, known = v.firstHolder(credential)
	}
	if !known {
		r.Component = r.Holder
		if r.Holder != "" {
			r.Findings = []Finding{{Kind: NoOwner, Subject: r.Holder}}
		}
		return r
	}
	s := v.summary(holder, g.summaries)
	r.Holder, r.Component = g.names[holder], g.names[s.low]
	r.Agents, r.Owners, r.Systems = v.name(s.agents), v.name(s.owners), v.name(s.systems)
	r.Findings = v.findings(holder, s)
	if linked {
		r.Findings = append(r.Findings, v.shared(credential, holder)...)
	}
	return r
}

func (g *Graph) lookup(key string) (uint32, bool) {
	id, ok := g.ids[Node(key)]
	return id, ok
}

// firstHolder is the smallest of the nodes that a credential is known to be issued to.
func (v view) firstHolder(credential uint32) (holder uint32, found bool) {
	v.each(credential, func(e *edge) {
		if e.kind != uint8(pb.Link_ISSUED_TO) || e.from != credential || e.confidence == uint8(pb.Link_INFERRED) {
			return
		}
		if !found || v.g.names[e.to] < v.g.names[holder] {
			holder, found = e.to, true
		}
	})
	return holder, found
}

// Component gives the name of a key's component; the key's own node if no link names it.
func (g *Graph) Component(key string) string {
	g.mu.RLock()
	defer g.mu.RUnlock()
	id, ok := g.lookup(key)
	if !ok {
		return Node(key)
	}
	return g.names[g.nodes[g.find(id)].low]
}

// Names lists the nodes that are one identity with a key at a moment (0: now), sorted; at least its own.
func (g *Graph) Names(key string, asOf int64) []string {
	g.mu.RLock()
	defer g.mu.RUnlock()
	id, ok := g.lookup(key)
	if !ok {
		return []string{Node(key)}
	}
	v := view{g, asOf}
	names := v.name(v.members(id))
	slices.Sort(names)
	return names
}

// Chain is the evidence that leads from a key to another node of its identity, to its owner or to its system of record.
// nil if nothing does.
func (g *Graph) Chain(from, to string, asOf int64) []Step {
	g.mu.RLock()
	defer g.mu.RUnlock()
	a, ok := g.lookup(from)
	b, too := g.lookup(to)
	if !ok || !too {
		return nil
	}
	return view{g, asOf}.chain(a, b)
}

// Links lists the links of a key's node that are held at a moment, inferred ones included, strongest first.
func (g *Graph) Links(key string, asOf int64) []Step {
	g.mu.RLock()
	defer g.mu.RUnlock()
	id, ok := g.lookup(key)
	if !ok {
		return nil
	}
	var steps []Step
	v := view{g, asOf}
	v.each(id, func(e *edge) { steps = append(steps, v.step(e, id)) })
	slices.SortFunc(steps, func(a, b Step) int {
		if a.Confidence != b.Confidence {
			return int(b.Confidence) - int(a.Confidence)
		}
		if a.Kind != b.Kind {
			return int(a.Kind) - int(b.Kind)
		}
		return strings.Compare(a.To, b.To)
	})
	return steps
}

// String gives a step as a sentence.
func (s Step) String() string {
	since := ""
	if s.Since > 1 {
		since = " since " + time.Unix(0, s.Since).UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("%s %s %s (%s%s: %s)", s.From, s.verb(), s.To, strings.ToLower(s.Confidence.String()), since, s.Evidence)
}

func (s Step) verb() string {
	if s.Against {
		return against[s.Kind]
	}
	return verbs[s.Kind]
}

var (
	verbs = map[pb.Link_Kind]string{pb.Link_SAME_AS: "is", pb.Link_ISSUED_TO: "was issued to",
		pb.Link_DERIVED_FROM: "is derived from", pb.Link_OWNED_BY: "is owned by", pb.Link_RECORDED_IN: "is recorded in"}
	against = map[pb.Link_Kind]string{pb.Link_ISSUED_TO: "holds", pb.Link_DERIVED_FROM: "gave rise to",
		pb.Link_OWNED_BY: "owns", pb.Link_RECORDED_IN: "records"}
)
