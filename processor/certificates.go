package processor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/processor/identity"
	"github.com/leastwise/leastwise/processor/record"
	"github.com/leastwise/leastwise/processor/silence"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// A certificate that a transparency log shows in a trust domain of ours was issued by an issuer of ours, or somebody else
// can issue there. The log and the issuer name it by keys of their own, so the two meet here, by serial and SPIFFE ID, in
// the tables, which all partitions write: in whatever order the two sides were read, the answer is the same.

const (
	// issuerLag is how far one side may be behind the other: an issuer's word that is younger proves nothing about a
	// certificate, and neither does one that began less than this before it.
	issuerLag = 15 * time.Minute
	// issuerGone is after how long without a word an issuer of a trust domain is held to have left it.
	issuerGone = 30 * 24 * time.Hour
)

// unissued finds the certificates that no issuer of their trust domain tells of. One is found only if every issuer of the
// domain told of others both before and after it, and is not silent now; what is not found because of an issuer's silence
// is unknown. One that was found stands until an issuer tells of it, or it is long over (then it is not among all).
func unissued(all []record.Certificate, tellers []record.Issuer, silent map[string]silence.Reading, stands map[string]bool) []*pb.Finding {
	tellers = append(slices.Clone(tellers), byMatch(all)...)
	twice := doubled(all)
	var out []*pb.Finding
	for i := range all {
		c := &all[i]
		f := &pb.Finding{Source: "certlog", Instance: c.Instance, Kind: schemas.FindingUnissuedCertificate, Subject: c.Credential,
			Standing: true, About: []string{c.Credential}, Evidence: []string{fmt.Sprintf("log %s shows serial %s of issuer %s, logged %s",
				c.Log, c.Serial, c.Issuer, c.LoggedAt.Format(time.RFC3339))}}
		if c.Name != "" {
			f.About = append(f.About, identity.Node(c.Principal))
		}
		name := c.Name
		if name == "" {
			name = "trust domain " + c.Domain
		}
		const advice = ". Find who holds the key of its issuer; until that is known, take the issuer out of the trust bundle"
		switch others := twice[c.Credential]; {
		case len(others) > 0:
			f.Detail = fmt.Sprintf("certificate %s for %s: an issuer of ours told of this serial once, and certificates of two issuer keys bear it; "+
				"one of them is not ours", c.Serial, name) + advice
			f.Evidence = append(f.Evidence, others...)
		case len(c.IssuedAs) > 0:
			continue
		default:
			sides, covered := covering(c, tellers, silent)
			if !covered && !stands[c.Credential] {
				continue
			}
			f.Detail = fmt.Sprintf("certificate %s for %s is in log %s, and no issuer of ours told of it", c.Serial, name, c.Log) + advice
			f.Evidence = append(f.Evidence, sides...)
		}
		out = append(out, f)
	}
	return out
}

// covering is whether every issuer of the certificate's trust domain would have told of it, with what each told.
func covering(c *record.Certificate, tellers []record.Issuer, silent map[string]silence.Reading) (sides []string, covered bool) {
	for _, t := range tellers {
		if t.Domain != c.Domain || c.LoggedAt.Sub(t.Last) > issuerGone {
			continue
		}
		if silent[silence.Key(t.Source, t.Instance)].Since != 0 || c.LoggedAt.Sub(t.First) < issuerLag || t.Last.Sub(c.LoggedAt) < issuerLag {
			return nil, false
		}
		sides = append(sides, fmt.Sprintf("%s %s told of %d certificates of %s from %s to %s, and not of this", t.Source, t.Instance, t.Issued, t.Domain,
			t.First.Format(time.RFC3339), t.Last.Format(time.RFC3339)))
	}
	return sides, len(sides) > 0
}

// byMatch are the issuers whose own records name no trust domain: they issue in that of the certificates they told of.
func byMatch(all []record.Certificate) (out []record.Issuer) {
	for _, c := range all {
		for _, by := range c.IssuedBy {
			source, instance, _ := strings.Cut(by, "/")
			if source == "spire" {
				continue
			}
			at := slices.IndexFunc(out, func(i record.Issuer) bool {
				return i.Source == source && i.Instance == instance && i.Domain == c.Domain
			})
			if at < 0 {
				at = len(out)
				out = append(out, record.Issuer{Source: source, Instance: instance, Domain: c.Domain, First: c.LoggedAt, Last: c.LoggedAt})
			}
			i := &out[at]
			i.Issued++
			if c.LoggedAt.Before(i.First) {
				i.First = c.LoggedAt
			}
			if c.LoggedAt.After(i.Last) {
				i.Last = c.LoggedAt
			}
		}
	}
	return out
}

// doubled finds certificates of two issuer keys that bear the serial of one issuance: each with the others. A serial is
// unique at its issuer alone, so whoever makes a certificate may copy one.
func doubled(all []record.Certificate) map[string][]string {
	signers := map[string]map[string]string{} // by issuance: issuer key to credential
	for _, c := range all {
		signer, proven := signerOf(c.Credential)
		if !proven || len(c.IssuedAs) != 1 {
			continue
		}
		if signers[c.IssuedAs[0]] == nil {
			signers[c.IssuedAs[0]] = map[string]string{}
		}
		signers[c.IssuedAs[0]][signer] = c.Credential
	}
	out := map[string][]string{}
	for _, c := range all {
		if len(c.IssuedAs) != 1 || len(signers[c.IssuedAs[0]]) < 2 {
			continue
		}
		own, proven := signerOf(c.Credential)
		for signer, credential := range signers[c.IssuedAs[0]] {
			if proven && signer != own {
				out[c.Credential] = append(out[c.Credential], "the same serial: "+credential+", issued as "+c.IssuedAs[0])
			}
		}
		slices.Sort(out[c.Credential])
	}
	return out
}

// signerOf is the hash of the issuer's key in a certificate's key, ISSUER-SERIAL; proven is false if it is that of its name.
func signerOf(credential string) (signer string, proven bool) {
	_, id, _ := strings.Cut(credential, "/certificate/")
	end := strings.LastIndexByte(id, '-')
	if end < 0 || strings.HasPrefix(id, "name-") {
		return "", false
	}
	return id[:end], true
}

// watchFindings keeps the findings about certificates up to the tables and those about roles up to the policies, and counts
// what stands. It takes a thirtieth of the time at most.
func (p *Processor) watchFindings(ctx context.Context) error {
	select {
	case <-p.ready:
	case <-ctx.Done():
		return nil
	}
	for {
		began := time.Now()
		var news []*pb.Finding
		err := p.persist(ctx, "compare certificates with their issuers", func(ctx context.Context) (err error) {
			news, err = p.compareCertificates(ctx)
			return err
		})
		if err == nil {
			err = p.tell(ctx, news)
		}
		if err == nil {
			err = p.watchRoles(ctx)
		}
		if err != nil {
			return nilIfOver(ctx, err)
		}
		// What is told of a role is looked at soon, but never more often than a thirtieth of the time.
		least := 30 * time.Since(began)
		timer := time.NewTimer(least)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		timer = time.NewTimer(p.findingsEvery - least)
		select {
		case <-timer.C:
		case <-p.rolesTold:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// tell publishes findings, as a source does. Every processor tells the same under the same keys, and all write what the
// topic holds.
func (p *Processor) tell(ctx context.Context, findings []*pb.Finding) error {
	messages := make([]stream.Message, 0, len(findings))
	for _, f := range findings {
		value, err := (&pb.Fact{Fact: &pb.Fact_Finding{Finding: f}}).MarshalVT()
		if err != nil {
			return fmt.Errorf("finding %s about %s: %w", f.Kind, f.Subject, err)
		}
		messages = append(messages, stream.Message{Topic: schemas.TopicIdentity, Key: []byte(schemas.FindingKey(f)), Value: value})
	}
	return p.deps.Stream.Publish(ctx, messages...)
}

// compareCertificates gives what is news about certificates, and counts what stands.
func (p *Processor) compareCertificates(ctx context.Context) (news []*pb.Finding, err error) {
	db, now := p.deps.Store, p.deps.Env.Now()
	all, err := record.Certificates(ctx, db)
	if err != nil {
		return nil, err
	}
	stood, err := record.StandingOf(ctx, db, schemas.FindingUnissuedCertificate)
	if err != nil {
		return nil, err
	}
	var tellers []record.Issuer
	if len(all) > 0 {
		if tellers, err = record.Issuers(ctx, db); err != nil {
			return nil, err
		}
	}
	stands := make(map[string]bool, len(stood))
	for _, f := range stood {
		stands[f.Subject] = true
	}
	// That the issuers told of more meanwhile is no news.
	news = changes(stood, unissued(all, tellers, p.silence.Silent(now), stands), now)
	totals, err := record.FindingTotals(ctx, db)
	if err == nil {
		p.metrics.findings(totals)
	}
	return news, err
}

// changes gives what of the findings is news, given those that stood: what is new or says something else, and what stands no
// more.
func changes(stood, found []*pb.Finding, now time.Time) (news []*pb.Finding) {
	before := make(map[string]*pb.Finding, len(stood))
	for _, f := range stood {
		before[schemas.FindingKey(f)] = f
	}
	for _, f := range found {
		key := schemas.FindingKey(f)
		old := before[key]
		delete(before, key)
		if old != nil && old.Detail == f.Detail {
			continue
		}
		f.Since, f.At = timestamppb.New(now), timestamppb.New(now)
		if old != nil {
			f.Since = old.Since
		}
		news = append(news, f)
	}
	for _, f := range before {
		f.Standing, f.At = false, timestamppb.New(now)
		news = append(news, f)
	}
	return news
}
