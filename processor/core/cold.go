package core

import (
	"time"

	"github.com/leastwise/leastwise/processor/lifecycle"
	"github.com/leastwise/leastwise/processor/usage"
	"github.com/leastwise/leastwise/rego"
)

// coldAfter is how long a credential must have been quiet before it is packed.
const coldAfter = 2 * time.Minute

// cold is a quiet credential: its state as bytes, and what the trigger needs to know without unpacking it. Most
// credentials are quiet most of the time, so this is what memory holds per credential.
type cold struct {
	state     string
	holder    *lifecycle.Holder
	due       int64
	signature uint32 // index into Core.signatures
	signed    bool
	usage     usage.Judgement
}

// Pack puts away the credentials that were not looked at for a while. Call it after Dirty was written.
func (c *Core) Pack(now int64) {
	c.latest = nil
	for key, e := range c.entries {
		if e.marks&(markTouched|markDirty) != 0 || now-e.settledAt < int64(coldAfter) {
			continue
		}
		state, holder, err := e.Pack()
		if err != nil {
			continue // stays as it is: nothing is lost but memory
		}
		c.cold[key] = cold{state: string(state), holder: holder, due: e.due, signature: c.name(e.signature),
			signed: e.marks&markSigned != 0 && e.marks&markAsk == 0, usage: e.usage}
		delete(c.entries, key)
	}
}

// name gives a signature's index: thousands of quiet credentials share a few.
func (c *Core) name(s rego.Signature) uint32 {
	if i, ok := c.signed[s]; ok {
		return i
	}
	i := uint32(len(c.signatures))
	c.signatures = append(c.signatures, s)
	c.signed[s] = i
	return i
}

// warm unpacks a credential; nil if there is none.
func (c *Core) warm(key string) *Entry {
	quiet, ok := c.cold[key]
	if !ok {
		return nil
	}
	cred, err := lifecycle.Unpack(key, []byte(quiet.state), quiet.holder)
	if err != nil {
		panic("core: a state packed by this process can not be read: " + err.Error())
	}
	e := &Entry{Credential: *cred, usedPerms: -1, marks: markRescope | markUnpacked, due: quiet.due, signature: c.signatures[quiet.signature], usage: quiet.usage}
	if quiet.signed {
		e.marks |= markSigned
	}
	delete(c.cold, key)
	c.entries[key] = e
	return e
}

func (c *Core) warmAll() {
	for key := range c.cold {
		c.warm(key)
	}
}
