package lifecycle

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"
	"sort"
	"strings"
	"time"
)

// Bounds of what is remembered of the permissions of one credential.
const (
	maxLeaves   = 16   // distinct last segments of one folder, before it counts as "many"
	maxFolders  = 512  // distinct (operation, folder) pairs
	maxDistinct = 4096 // distinct refused permissions counted exactly
	maxSamples  = 32   // refused permissions named
)

// longUnused is shorter than any observation, and long enough that a permission in steady use is no news.
const longUnused = time.Hour

// Use is the use of one operation on what lies in one folder: "update secret/data/storage/" with leaves "part-1" …, or
// Many once there are more than sixteen. A permission without a slash is its own folder with no leaf.
type Use struct {
	Permission      string
	Leaves          []string // sorted
	Many            bool
	Count           uint64
	FirstAt, LastAt int64
}

// used keeps the Uses with the smallest hashes when there are too many, so that which ones stay does not depend on the
// order in which they came.
type used struct {
	entries   []Use // sorted by Permission
	truncated bool
}

// add notes a use. It reports whether what was used is more than before, or was not used for so long that it may have
// fallen out of an observation.
func (u *used) add(permission string, at int64, counted bool) (news bool) {
	folder, leaf := split(permission)
	pos := sort.Search(len(u.entries), func(i int) bool { return u.entries[i].Permission >= folder })
	if pos == len(u.entries) || u.entries[pos].Permission != folder {
		if u.truncated && hash(folder) > u.largest() {
			return false
		}
		news = true
		u.entries = slices.Insert(u.entries, pos, Use{Permission: strings.Clone(folder), FirstAt: at, LastAt: at})
	}
	e := &u.entries[pos]
	news = news || at-e.LastAt > int64(longUnused)
	e.FirstAt, e.LastAt = min(e.FirstAt, at), max(e.LastAt, at)
	if counted {
		e.Count++
	}
	if leaf != "" && !e.Many {
		before := len(e.Leaves)
		e.Leaves = insertSorted(e.Leaves, leaf)
		news = news || len(e.Leaves) != before
		if len(e.Leaves) > maxLeaves {
			e.Leaves, e.Many = nil, true
		}
	}
	if len(u.entries) > maxFolders {
		u.truncated = true
		largest := u.largest()
		u.entries = slices.DeleteFunc(u.entries, func(e Use) bool { return hash(e.Permission) == largest })
	}
	return news
}

func (u *used) largest() uint64 {
	var largest uint64
	for i := range u.entries {
		largest = max(largest, hash(u.entries[i].Permission))
	}
	return largest
}

// split cuts a permission after its last slash.
func split(permission string) (folder, leaf string) {
	i := strings.LastIndexByte(permission, '/')
	if i < 0 || i == len(permission)-1 {
		return permission, ""
	}
	return permission[:i+1], permission[i+1:]
}

func hash(text string) uint64 {
	sum := sha256.Sum256([]byte(text))
	return binary.BigEndian.Uint64(sum[:8])
}

// distinct counts distinct values: exactly while there are few, then by the k-th smallest of their hashes.
type distinct struct{ smallest []uint64 } // sorted

func (d *distinct) add(text string) {
	h := hash(text)
	pos, found := slices.BinarySearch(d.smallest, h)
	if found || pos == maxDistinct {
		return
	}
	d.smallest = slices.Insert(d.smallest, pos, h)
	if len(d.smallest) > maxDistinct {
		d.smallest = d.smallest[:maxDistinct]
	}
}

func (d *distinct) count() uint64 {
	if len(d.smallest) < maxDistinct {
		return uint64(len(d.smallest))
	}
	return uint64(float64(maxDistinct-1) / (float64(d.smallest[maxDistinct-1]) / math.MaxUint64))
}

// Refused counts the refusals of one permission. Times of 0 are not known: an
// earlier release remembered it, or the records' times are not believed.
type Refused struct {
	Permission      string
	Count           uint64
	FirstAt, LastAt int64
}

// refused keeps those with the smallest hashes when there are too many, so that
// which ones stay does not depend on the order in which they came.
type refused []Refused // sorted by Permission

func (r refused) add(permission string, at int64) refused {
	pos := sort.Search(len(r), func(i int) bool { return r[i].Permission >= permission })
	if pos < len(r) && r[pos].Permission == permission {
		e := &r[pos]
		e.Count++
		if at != 0 {
			e.FirstAt, e.LastAt = earliest(e.FirstAt, at), max(e.LastAt, at)
		}
		return r
	}
	if len(r) == maxSamples && hash(permission) > r.largest() {
		return r
	}
	r = slices.Insert(r, pos, Refused{Permission: strings.Clone(permission), Count: 1, FirstAt: at, LastAt: at})
	if len(r) > maxSamples {
		largest := r.largest()
		r = slices.DeleteFunc(r, func(e Refused) bool { return hash(e.Permission) == largest })
	}
	return r
}

func (r refused) largest() (largest uint64) {
	for i := range r {
		largest = max(largest, hash(r[i].Permission))
	}
	return largest
}
