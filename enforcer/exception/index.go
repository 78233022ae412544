package exception

import (
	"slices"
	"sync"
	"time"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Valid tells whether e lets anything pass at a time: approved by somebody
// else than the requester, not revoked, not over.
func Valid(e *pb.Exception, now time.Time) bool {
	return e.ApprovedBy != "" && person(e.ApprovedBy) != person(e.RequestedBy) && e.RequestedBy != "" &&
		e.ApprovedAt.IsValid() && e.RevokedAt == nil && e.RevokedBy == "" &&
		e.Until.IsValid() && e.Until.AsTime().After(now)
}

// Cover is what the valid exceptions say of one credential's policies.
type Cover struct {
	// Excepted are the asked policies that some exception covers.
	Excepted []string
	// All tells that every asked policy is covered, and there was one.
	All bool
	// ID is the exception that ends first among those used, Until its end.
	ID    string
	Until time.Time
}

// Index answers which policies are excepted for a credential. The zero value
// is empty; it is safe for concurrent use.
type Index struct {
	mu   sync.RWMutex
	byID map[string]*pb.Exception
	// What each covers, by credential or identity key; guarded by mu.
	bySubject map[string]map[string]*pb.Exception
}

// Put takes the newest record of an exception.
func (x *Index) Put(e *pb.Exception) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.byID == nil {
		x.byID, x.bySubject = map[string]*pb.Exception{}, map[string]map[string]*pb.Exception{}
	}
	if old := x.byID[e.Id]; old != nil {
		delete(x.bySubject[old.Credential+old.Identity], old.Id)
	}
	x.byID[e.Id] = e
	if (e.Credential == "") == (e.Identity == "") {
		return // covers nothing
	}
	subject := e.Credential + e.Identity
	if x.bySubject[subject] == nil {
		x.bySubject[subject] = map[string]*pb.Exception{}
	}
	x.bySubject[subject][e.Id] = e
}

// Cover tells which of the policies are excepted now for a credential of a
// principal. Where several cover one policy, the longest counts.
func (x *Index) Cover(credential, principal string, policies []string, now time.Time) Cover {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var c Cover
	for _, policy := range policies {
		var best *pb.Exception
		for _, subject := range []string{credential, principal} {
			if subject == "" {
				continue
			}
			for _, e := range x.bySubject[subject] {
				if (e.PolicyId == policy || e.PolicyId == "*") && Valid(e, now) && later(e, best) {
					best = e
				}
			}
		}
		if best == nil || slices.Contains(c.Excepted, policy) {
			continue
		}
		c.Excepted = append(c.Excepted, policy)
		if until := best.Until.AsTime(); c.ID == "" || until.Before(c.Until) {
			c.ID, c.Until = best.Id, until
		}
	}
	c.All = len(policies) > 0 && !slices.ContainsFunc(policies, func(p string) bool { return !slices.Contains(c.Excepted, p) })
	return c
}

// later orders exceptions by their end, then id, so that the answer does not
// depend on a map's order.
func later(e, than *pb.Exception) bool {
	if than == nil {
		return true
	}
	if c := e.Until.AsTime().Compare(than.Until.AsTime()); c != 0 {
		return c > 0
	}
	return e.Id < than.Id
}
