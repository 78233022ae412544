package core

import (
	"strings"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// forms are how an issuer names credentials of one type: by their ids, or by hashes of them, as Vault's audit log does
// unless it is told otherwise. What agents call by the other form can not be found under it.
type forms uint8

const (
	plainIDs forms = 1 << iota
	hashedIDs
)

// kindPrefix is system/instance/type of a credential's key, and the id after it.
func kindPrefix(key string) (prefix, id string) {
	source := sourceOf(key)
	rest := strings.TrimPrefix(key[len(source):], "/")
	typ, id, _ := strings.Cut(rest, "/")
	return key[:min(len(key), len(source)+1+len(typ))], id
}

func formOf(id string) forms {
	if strings.HasPrefix(id, "hmac-sha256:") || strings.HasPrefix(id, "sha256:") {
		return hashedIDs
	}
	return plainIDs
}

// learn notes how the issuer of a credential names it, once it spoke of it.
func (c *Core) learn(e *Entry) {
	if e.marks&markLearned != 0 {
		return
	}
	e.marks |= markLearned
	prefix, id := kindPrefix(e.Key)
	if known := c.forms[prefix]; known|formOf(id) != known {
		c.forms[prefix] = known | formOf(id)
		c.formsNew = true
	}
}

// relearn looks again at what agents tell of, after an issuer was found to use a form of ids for the first time.
func (c *Core) relearn() {
	if !c.formsNew {
		return
	}
	c.formsNew = false
	c.Entries(func(e *Entry) {
		if e.Reported() != nil {
			c.touch(e)
		}
	})
}

// otherIDs: the issuer said nothing of the credential, and it is not known that it would under this id.
func (c *Core) otherIDs(e *Entry) bool {
	if issuerTold(e) {
		return false
	}
	prefix, id := kindPrefix(e.Key)
	known, own := c.forms[prefix], formOf(id)
	// A registry hashes tokens that have no id; one that an agent names by its id has one.
	mixed := known&^own != 0 && !(own == plainIDs && strings.HasPrefix(prefix, "jwtregistry/"))
	return known&own == 0 || mixed
}

// issuerTold is whether its issuer said something of the credential.
func issuerTold(e *Entry) bool {
	return e.IssuedAt != 0 || e.FirstUsedAt != 0 || e.LastDeniedAt != 0 || e.RevokedAt != 0 || e.Vouched()
}

// tellsOf is whether an event is its issuer's word on a credential, and no agent's.
func tellsOf(ev *pb.Event) bool {
	switch ev.Kind {
	case pb.Event_ISSUED, pb.Event_USED, pb.Event_DENIED, pb.Event_RENEWED, pb.Event_ROTATED, pb.Event_OBSERVED, pb.Event_REVOKED:
		return true
	}
	return false
}
