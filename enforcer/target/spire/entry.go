package spire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/leastwise/leastwise/enforcer/target"
)

const (
	x509SVID = "x509_svid"
	jwtSVID  = "jwt_svid"

	// maxRestore is what the journal takes.
	maxRestore = 16 << 10
)

// byEntry is a workload's SVID.
type byEntry struct {
	t        *Target
	c        target.Credential
	id       string
	spiffeID spiffeid.ID
	jwt      bool
	former   *types.Entry // as it was before the revocation; nil if that is not known
}

// read gives the entry; nil if it is gone. One that gives another identity by
// now is not what issued the SVID.
func (k *byEntry) read(ctx context.Context) (*types.Entry, error) {
	e, err := k.t.entry(ctx, k.id)
	if e != nil && text(e.SpiffeId) != k.spiffeID.String() {
		return nil, impossible("read the entry", fmt.Errorf("entry %s gives %s by now, and not %s: look at it by hand", k.id, text(e.SpiffeId), k.spiffeID))
	}
	return e, err
}

func (k *byEntry) limit() time.Duration {
	if k.jwt {
		return k.t.cfg.ShortenJWTTTL
	}
	return k.t.cfg.ShortenX509TTL
}

// long is whether there is something to shorten.
func (k *byEntry) long(e *types.Entry) (bool, time.Duration, error) {
	ttl, known := k.t.ttl(e, k.jwt)
	if !known {
		// To set one could lengthen it.
		return false, 0, impossible("shorten the entry's TTL", errors.New("the entry has the server's default TTL, which its API does not tell: set enforcer.spire.default_x509_svid_ttl and default_jwt_svid_ttl to the server's"))
	}
	return ttl > k.limit(), ttl, nil
}

func (k *byEntry) lookup(ctx context.Context) (target.Sighting, error) {
	e, err := k.read(ctx)
	if err != nil {
		return target.Sighting{}, err
	}
	if e == nil {
		return target.Sighting{Status: target.Gone, Found: "entry " + k.id, Detail: getEntry + ": not found"}, nil
	}
	s := target.Sighting{Status: target.Alive, Found: "entry " + k.id}
	if k.t.cfg.SVID == Shorten {
		long, ttl, err := k.long(e)
		switch {
		case err != nil:
			return target.Sighting{}, err
		case !long && k.c.Found == "" && !k.wasLong():
			return target.Sighting{}, impossible("shorten the entry's TTL", fmt.Errorf("it is %s already: what is wrong with this SVID a shorter life does not mend (enforcer.spire.svid: delete would end its issuance)", ttl))
		case !long:
			return target.Sighting{Status: target.Gone, Found: s.Found, Detail: fmt.Sprintf("%s: the TTL is %s by now", getEntry, ttl)}, nil
		}
		s.Detail = fmt.Sprintf("SPIRE issues by entry %s, each for %s", k.id, ttl)
	} else {
		s.Detail = "SPIRE issues by entry " + k.id
	}
	var why string
	if s.Restore, why, err = k.t.keep(ctx, e); err != nil {
		return target.Sighting{}, err
	}
	if why != "" {
		s.Detail += "; it could not be given back: " + why
	}
	return s, nil
}

// wasLong is whether the inventory saw a longer TTL than what it is cut to.
func (k *byEntry) wasLong() bool {
	name := "x509_svid_ttl"
	if k.jwt {
		name = "jwt_svid_ttl"
	}
	ttl, err := time.ParseDuration(k.c.Labels[name] + "s")
	return err == nil && ttl > k.limit()
}

func (k *byEntry) own(ctx context.Context) (bool, error) {
	self, err := k.t.self(ctx)
	return self.id == k.spiffeID.String() || self.holdsEntry(k.id), err
}

func (k *byEntry) revoke(ctx context.Context) error {
	e, err := k.read(ctx)
	if err != nil || e == nil {
		return err
	}
	if k.t.cfg.SVID == Delete {
		return k.t.deleteEntry(ctx, k.id)
	}
	long, _, err := k.long(e)
	if err != nil || !long {
		return err
	}
	return k.t.setTTL(ctx, k.id, k.limit(), k.jwt)
}

func (k *byEntry) verify(ctx context.Context) (target.Proof, error) {
	e, err := k.read(ctx)
	if err != nil {
		return target.Proof{}, err
	}
	kinds, by := []string{x509SVID, jwtSVID}, IssuedBy{Entry: k.id}
	said := getEntry + " of " + k.id + ": not found"
	switch {
	case e == nil:
		others, err := k.t.entries(ctx, &entryv1.ListEntriesRequest_Filter{BySpiffeId: wire(k.spiffeID)})
		if err != nil {
			return target.Proof{}, err
		}
		if len(others) > 0 {
			said += fmt.Sprintf(" (%s is also given by %s)", k.spiffeID, count(len(others), "other entry", "other entries"))
		}
	case k.t.cfg.SVID == Delete && k.renewed(e):
		said = fmt.Sprintf("%s of %s: made anew with shorter TTLs after it was deleted", getEntry, k.id)
	case k.t.cfg.SVID == Delete:
		return target.Proof{Text: getEntry + " of " + k.id + ": it is there"}, nil
	default:
		long, ttl, err := k.long(e)
		if err != nil {
			return target.Proof{}, err
		}
		if long {
			return target.Proof{Text: fmt.Sprintf("%s of %s: its TTL is %s", getEntry, k.id, ttl)}, nil
		}
		said = fmt.Sprintf("%s of %s: its TTL is %s", getEntry, k.id, ttl)
		kinds, by.Type = []string{x509SVID}, x509SVID
		if k.jwt {
			kinds, by.Type = []string{jwtSVID}, jwtSVID
		}
	}
	bound, why, err := k.t.boundOf(ctx, k.former, k.t.since(k.c), kinds...)
	if err != nil {
		return target.Proof{}, err
	}
	until, why, err := k.t.exposed(ctx, by, bound, why)
	if err != nil {
		return target.Proof{}, err
	}
	return k.t.proof(said, until, why), nil
}

// renewed is whether the entry is one that Reissue made after the deletion was
// proven: by the server's own clock it is younger, and no TTL is longer.
func (k *byEntry) renewed(e *types.Entry) bool {
	return !k.c.RevokedAt.IsZero() && k.former != nil && e.CreatedAt > k.former.CreatedAt && shorter(e, k.former)
}

func (k *byEntry) collateral(ctx context.Context) ([]target.Hit, error) {
	if k.t.cfg.SVID == Shorten {
		return nil, nil // every workload goes on, with SVIDs that live shorter
	}
	e, err := k.read(ctx)
	if err != nil || e == nil {
		return nil, err
	}
	hits := []target.Hit{{Text: "every other X.509- and JWT-SVID of " + k.spiffeID.String() + " by entry " + k.id + ": none is renewed"}}
	others, err := k.t.below(ctx, e.SpiffeId)
	if err != nil {
		return nil, err
	}
	return append(hits, k.t.hits(others, "they come through "+k.spiffeID.String()+", which this entry gives")...), nil
}

func (k *byEntry) restore(ctx context.Context) error {
	if k.former == nil {
		return impossible("give the entry back", fmt.Errorf("what entry %s was is not in the journal: its owner has to register the workload anew", k.id))
	}
	e, err := k.read(ctx)
	if err != nil {
		return err
	}
	if e == nil {
		return k.t.createEntry(ctx, k.former)
	}
	return k.t.putTTLs(ctx, k.former)
}

// createEntry makes an entry as it was. That it is there already is no error:
// then it was this call's answer that got lost, and the TTLs are seen to.
func (t *Target) createEntry(ctx context.Context, e *types.Entry) error {
	const step = "make the entry anew"
	e = proto.CloneOf(e)
	e.RevisionNumber, e.CreatedAt = 0, 0
	answer, err := call(ctx, t, createEntry, step, func(ctx context.Context, s api) (*entryv1.BatchCreateEntryResponse, error) {
		return s.entry.BatchCreateEntry(ctx, &entryv1.BatchCreateEntryRequest{Entries: []*types.Entry{e}})
	})
	if err != nil {
		return err
	}
	err = item(createEntry, step, len(answer.Results), func(i int) *types.Status { return answer.Results[i].Status })
	if codeOf(err) != codes.AlreadyExists {
		return err
	}
	if similar := answer.Results[0].Entry; similar.GetId() != e.Id {
		return impossible(step, fmt.Errorf("entry %s is like it (same SPIFFE ID, parent and selectors): somebody has registered the workload anew", similar.GetId()))
	}
	return t.putTTLs(ctx, e)
}

func (t *Target) deleteEntry(ctx context.Context, id string) error {
	const step = "delete the entry"
	answer, err := call(ctx, t, deleteEntry, step, func(ctx context.Context, s api) (*entryv1.BatchDeleteEntryResponse, error) {
		return s.entry.BatchDeleteEntry(ctx, &entryv1.BatchDeleteEntryRequest{Ids: []string{id}})
	})
	if err != nil {
		return err
	}
	err = item(deleteEntry, step, len(answer.Results), func(i int) *types.Status { return answer.Results[i].Status })
	if codeOf(err) == codes.NotFound {
		return nil // gone already
	}
	return err
}

func (t *Target) setTTL(ctx context.Context, id string, ttl time.Duration, jwt bool) error {
	e := &types.Entry{Id: id, X509SvidTtl: int32(ttl / time.Second)}
	mask := &types.EntryMask{X509SvidTtl: true}
	if jwt {
		e, mask = &types.Entry{Id: id, JwtSvidTtl: int32(ttl / time.Second)}, &types.EntryMask{JwtSvidTtl: true}
	}
	return t.update(ctx, e, mask)
}

func (t *Target) putTTLs(ctx context.Context, e *types.Entry) error {
	return t.update(ctx, &types.Entry{Id: e.Id, X509SvidTtl: e.X509SvidTtl, JwtSvidTtl: e.JwtSvidTtl},
		&types.EntryMask{X509SvidTtl: true, JwtSvidTtl: true})
}

// update changes nothing but what the mask names.
func (t *Target) update(ctx context.Context, e *types.Entry, mask *types.EntryMask) error {
	const step = "change the entry's TTL"
	answer, err := call(ctx, t, updateEntry, step, func(ctx context.Context, s api) (*entryv1.BatchUpdateEntryResponse, error) {
		return s.entry.BatchUpdateEntry(ctx, &entryv1.BatchUpdateEntryRequest{Entries: []*types.Entry{e}, InputMask: mask})
	})
	if err != nil {
		return err
	}
	return item(updateEntry, step, len(answer.Results), func(i int) *types.Status { return answer.Results[i].Status })
}

// keep is the entry as text for the journal; empty, with the reason, if that
// would hold a secret or be too long.
func (t *Target) keep(ctx context.Context, e *types.Entry) (restore, why string, err error) {
	for _, s := range e.Selectors {
		if s.Type == "docker" && strings.HasPrefix(s.Value, "env:") {
			return "", "a selector holds a value of a container's environment, which may be a secret", nil
		}
	}
	for _, id := range []*types.SPIFFEID{e.ParentId, e.SpiffeId} {
		if !strings.HasPrefix(id.GetPath(), "/spire/agent/join_token/") {
			continue
		}
		parent, err := spiffeid.FromString(text(id))
		if err != nil {
			return "", "its parent's SPIFFE ID can not be read", nil
		}
		a, err := t.agent(ctx, parent)
		if err != nil {
			return "", "", err
		}
		if a == nil { // nobody has attested with it: it may yet be spent
			return "", "its parent's SPIFFE ID is a join token that may yet be spent", nil
		}
	}
	raw, err := protojson.Marshal(e)
	if err != nil {
		return "", "", impossible("write the entry down", err)
	}
	out, err := json.Marshal(map[string]json.RawMessage{"entry": raw})
	if err != nil {
		return "", "", impossible("write the entry down", err)
	}
	if len(out) > maxRestore {
		return "", fmt.Sprintf("it is longer than the %d KB that the journal takes", maxRestore>>10), nil
	}
	return string(out), "", nil
}

// formerEntry reads what keep wrote; nil if there is none.
func formerEntry(restore string) (*types.Entry, error) {
	if restore == "" {
		return nil, nil
	}
	var kept struct {
		Entry json.RawMessage `json:"entry"`
	}
	if err := json.Unmarshal([]byte(restore), &kept); err != nil {
		return nil, impossible("read what the entry was", err)
	}
	if len(kept.Entry) == 0 {
		return nil, nil
	}
	e := &types.Entry{}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(kept.Entry, e); err != nil {
		return nil, impossible("read what the entry was", err)
	}
	return e, nil
}

// shorter is whether a issues for no longer than b, and some shorter. A default
// is the same on both sides, or not known to be shorter.
func shorter(a, b *types.Entry) bool {
	less := func(x, y int32) (less, more bool) {
		return x != 0 && y != 0 && x < y, x != y && (x == 0 || y == 0 || x > y)
	}
	x509Less, x509More := less(a.X509SvidTtl, b.X509SvidTtl)
	jwtLess, jwtMore := less(a.JwtSvidTtl, b.JwtSvidTtl)
	return (x509Less || jwtLess) && !x509More && !jwtMore
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
