package core

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/processor/identity"
	"github.com/leastwise/leastwise/processor/lifecycle"
)

// who is how far the owners of the entries follow the identities.
type who struct {
	revision uint64 // of Identities, that all entries were looked at for
	next     int64  // not before this time again
	// owners and systems that links name and the catalog does not have; one value each, so that matches compare equal.
	owners  map[string]*catalog.Owner
	systems map[string]*catalog.System
}

// identify finds who answers for a credential: by the catalog's entries that match what its issuer says of it, and by
// the links of the identity that holds it. Two different answers are a conflict, and then nobody is known.
func (c *Core) identify(e *Entry) {
	if c.catalog == nil && c.opts.Identities == nil {
		return
	}
	before, was := e.Match, e.Identity
	key := e.ID()
	e.Match = c.catalog.Resolve(catalog.Query{Principal: e.Principal, Source: key.System, Type: key.Type, Labels: e.Labels, Policies: e.Policies})
	if c.opts.Identities != nil {
		r := c.opts.Identities.Resolve(identity.Query{Credential: e.Key, Principal: e.Principal, Labels: e.Labels})
		e.Identity, e.revision = r.Component, r.Revision
		e.Match = c.agree(e.Match, &r)
	}
	if e.Match == before && e.Identity == was {
		return
	}
	e.index = nil
	if e.marks&markUnpacked != 0 {
		e.marks &^= markUnpacked // as it was when it was packed: no news
		return
	}
	if e.Match != before {
		e.marks |= markAsk
	}
	c.markDirty(e)
}

// agree puts together what the catalog says of the credential and what links say of its holder.
func (c *Core) agree(m catalog.Match, r *identity.Resolution) catalog.Match {
	agents := c.agents(r)
	for _, agent := range agents {
		m.Protected = m.Protected || agent.Protected // the doubt protects
	}
	if m.Conflict != "" {
		return m
	}
	conflict := r.Conflict()
	if conflict == "" && m.Owner != nil {
		conflict = disagreement(&m, r)
	}
	if conflict != "" {
		return catalog.Match{Conflict: conflict, Evidence: m.Evidence, Protected: m.Protected}
	}
	if m.Owner != nil {
		if m.System == nil && len(r.Systems) == 1 {
			m.System = c.system(r.Systems[0])
		}
		return m
	}
	if len(r.Owners) != 1 {
		return m
	}
	m.Owner = c.owner(r.Owners[0])
	if len(r.Systems) == 1 {
		m.System = c.system(r.Systems[0])
	}
	if len(agents) > 0 {
		m.Agent = agents[0]
	}
	var evidence []string
	for _, step := range c.opts.Identities.Chain(r.Holder, r.Owners[0], 0) {
		evidence = append(evidence, step.Evidence)
	}
	m.Evidence = strings.Join(evidence, "; ")
	return m
}

// disagreement of the catalog's entry for the credential with the links of its holder; empty if there is none.
func disagreement(m *catalog.Match, r *identity.Resolution) string {
	if len(r.Owners) == 1 && r.Owners[0] != identity.OwnerNode(m.Owner.ID) {
		return fmt.Sprintf("two owners: %s by %s, and %s by the links of %s", m.Owner.ID, m.Evidence, last(r.Owners[0]), r.Component)
	}
	if m.System != nil && len(r.Systems) == 1 && r.Systems[0] != identity.SystemNode(m.System.ID) {
		return fmt.Sprintf("two systems of record: %s by %s, and %s by the links of %s", m.System.ID, m.Evidence, last(r.Systems[0]), r.Component)
	}
	return ""
}

// last gives the id of a node of the catalog.
func last(node string) string {
	parts := strings.SplitN(node, "/", 4)
	return parts[len(parts)-1]
}

// agents of the catalog that the identity is, by id.
func (c *Core) agents(r *identity.Resolution) []*catalog.Agent {
	if c.catalog == nil {
		return nil
	}
	var out []*catalog.Agent
	for _, node := range r.Agents {
		if agent, ok := c.catalog.Agent(last(node)); ok {
			out = append(out, agent)
		}
	}
	return out
}

func (c *Core) owner(node string) *catalog.Owner {
	id := last(node)
	if owner, ok := c.catalog.Owner(id); ok {
		return owner
	}
	if c.who.owners == nil {
		c.who.owners = map[string]*catalog.Owner{}
	}
	if c.who.owners[id] == nil {
		c.who.owners[id] = &catalog.Owner{ID: id, Name: id}
	}
	return c.who.owners[id]
}

func (c *Core) system(node string) *catalog.System {
	id := last(node)
	if system, ok := c.catalog.System(id); ok {
		return system
	}
	if c.who.systems == nil {
		c.who.systems = map[string]*catalog.System{}
	}
	if c.who.systems[id] == nil {
		c.who.systems[id] = &catalog.System{ID: id, Name: id}
	}
	return c.who.systems[id]
}

// reidentify looks at the credentials whose holder's identity has changed. It goes over all of them, so it does so once a
// tick and takes a twentieth of the time at most: a change may wait for a moment while many links come in.
func (c *Core) reidentify(now int64) {
	graph := c.opts.Identities
	if graph == nil || now < c.who.next {
		return
	}
	revision := graph.Revision()
	if revision == c.who.revision {
		return
	}
	since := c.who.revision
	c.who.revision = revision
	began := time.Now()
	holders := map[*lifecycle.Holder]bool{}
	var affected []string
	for key, quiet := range c.cold {
		told, known := holders[quiet.holder]
		if !known {
			told = graph.Changed(identity.Holder(key, quiet.holder.Principal(), quiet.holder.Labels()), since)
			holders[quiet.holder] = told
		}
		if told || graph.ChangedCredential(key, since) {
			affected = append(affected, key)
		}
	}
	for key, e := range c.entries {
		if e.node == 0 {
			e.node = graph.Number(identity.Holder(key, e.Principal, e.Labels))
		}
		since := max(since, e.revision)
		if graph.ChangedNumber(e.node, since) || graph.ChangedCredential(key, since) {
			affected = append(affected, key)
		}
	}
	slices.Sort(affected)
	for _, key := range affected {
		e := c.Entry(key)
		e.marks &^= markUnpacked // its owner may be another than when it was packed
		c.identify(e)
		c.touch(e)
	}
	c.who.next = now + int64(max(c.opts.Tick, 20*time.Since(began)))
}
