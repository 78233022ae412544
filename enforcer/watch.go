package enforcer

import (
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/leastwise/leastwise/enforcer/control"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// How a denial finds its ladder. What was narrowed is used by other credentials
// than the one that was revoked, which other partitions and processes own: a
// denial comes with the decision on the credential that was refused, and
// whoever owns that one knows from the whole journal what is watched. If the
// target says that the re-issue caused it, a record of the topic of settings
// carries it to the ladder's owner. The record is durable before the decision's
// offset is committed, and holds all that its credential was denied up to now:
// so it comes at least once, and again is harmless.

// lateDenials is how late the issuer's log may come.
const lateDenials = 24 * time.Hour

// correction is a re-issue that is watched.
type correction struct {
	ladder, target   string
	credential       string // that was revoked: what it is denied since is the revocation
	principal, agent string
	done             *pb.Reissue
	from, until      time.Time
}

// concerns tells whether the credential may be used by whom the re-issue was
// for. Where neither principal nor agent is known of both (a log shows the
// token that was given back by a hash, and it has no identity), the target
// decides by what the credential holds.
func (c correction) concerns(d *pb.Decision) bool {
	sub := d.GetSubject()
	switch {
	case d.GetCredential() == c.credential:
		return false
	case c.principal != "" && sub.GetPrincipal() != "":
		return sub.GetPrincipal() == c.principal
	case c.agent != "" && sub.GetAgent() != "":
		return sub.GetAgent() == c.agent
	default:
		return true
	}
}

// watch keeps of the journal what is watched.
func (b *ledger) watch(s *pb.LadderState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !observing(s) || s.State == pb.LadderState_ROLLED_BACK {
		delete(b.corrections, s.LadderId)
		return
	}
	if b.corrections == nil {
		b.corrections = map[string]correction{}
	}
	sub, from := s.GetDecision().GetSubject(), instant(s.ReissuedAt)
	b.corrections[s.LadderId] = correction{ladder: s.LadderId, credential: s.Credential, target: scopeOf(s).target, principal: sub.GetPrincipal(), agent: sub.GetAgent(),
		done: s.Reissue, from: from, until: from.Add(watchOf(s))}
}

// watching are those that a credential's denials may concern.
func (b *ledger) watching(now time.Time, d *pb.Decision) []correction {
	at := scopeOf(&pb.LadderState{Credential: d.GetCredential()}).target
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []correction
	for id, c := range b.corrections {
		switch {
		case now.After(c.until.Add(lateDenials)):
			delete(b.corrections, id)
		case c.target == at && c.concerns(d):
			list = append(list, c)
		}
	}
	return list
}

// refused is what a ladder's owner has yet to learn.
type refused struct {
	ladder, credential string
	denials            []*pb.Denial
}

// denied takes the denials off a decision and keeps those that a re-issue
// caused until tick has noted them.
func (p *partition) denied(d *pb.Decision) {
	all := d.Denials
	d.Denials = nil // nothing else asks for them
	if len(all) == 0 {
		return
	}
	for _, c := range p.e.ledger.watching(p.e.now(), d) {
		i, _ := p.e.issuer(d.Credential)
		if i == nil {
			continue
		}
		judge, ok := i.Target.(Corrector)
		if !ok {
			continue
		}
		var caused []*pb.Denial
		for _, one := range all {
			last := instant(one.LastAt)
			if !last.Before(c.from.Add(-clockSkew)) && !last.After(c.until) && judge.Caused(c.done, c.from, d, one.Permission) {
				caused = append(caused, one)
			}
		}
		known, room := p.e.control.DeniedTo(c.ladder, d.Credential)
		if len(caused) == 0 || !room || slices.EqualFunc(known, caused, func(a, b *pb.Denial) bool { return proto.Equal(a, b) }) {
			continue
		}
		p.refused = append(p.refused, refused{c.ladder, d.Credential, caused})
	}
}

// note makes what decisions told of denials durable.
func (p *partition) note(ctx context.Context) error {
	for len(p.refused) > 0 {
		if err := p.e.note(ctx, p.refused[0]); err != nil {
			return err
		}
		p.refused = p.refused[1:]
	}
	if n := p.e.denials.Load(); n != p.denials {
		p.denials = n
		for _, r := range p.ladders {
			if observing(r.s) {
				p.wake(r, p.e.now())
			}
		}
	}
	return nil
}

func (e *Enforcer) publishDenied(ctx context.Context, r refused) error {
	why := short(r.credential) + ": " + deniedText(&pb.Correction{Denials: r.denials}) // for who reads the audit log
	return control.Denied(ctx, e.stream, r.ladder, r.credential, r.denials, control.Who{Name: e.cfg.Writer, Reason: why}, e.now())
}
