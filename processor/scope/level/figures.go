package level

import "slices"

// Reach is how much one permission reaches.
type Reach uint8

// One resource, named in full; those that begin or end alike, or share a shape; all of a service or an account.
const (
	One Reach = iota
	Prefix
	All
	// Reaches counts them.
	Reaches
)

func (r Reach) String() string { return [...]string{"one", "prefix", "all"}[r] }

// Figures sum up a scope. Each permission counts once in Permissions, in Levels and in Reach.
type Figures struct {
	// Permissions are the distinct permissions after expansion.
	Permissions int
	// Conditional are those of them that are granted only under conditions.
	Conditional int
	// Unknown are those of them that stand in no list of known permissions.
	Unknown int
	// Weight is the sum of the weights of their levels.
	Weight float64
	Levels [Levels]int
	// Reach counts them by the widest resource pattern that they are granted on.
	Reach [Reaches]int
}

// Add one permission.
func (f *Figures) Add(l Level, r Reach, conditional, known bool) {
	f.Permissions++
	f.Weight += l.Weight()
	f.Levels[l]++
	f.Reach[r]++
	if conditional {
		f.Conditional++
	}
	if !known {
		f.Unknown++
	}
}

// ConditionalShare and UnknownShare are parts of one; 0 of nothing is 0.
func (f *Figures) ConditionalShare() float64 { return share(f.Conditional, f.Permissions) }

// UnknownShare see ConditionalShare.
func (f *Figures) UnknownShare() float64 { return share(f.Unknown, f.Permissions) }

func share(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// Use is a granted permission that was seen in use, with the resource patterns that it is granted on.
type Use struct {
	Permission string
	Resources  []string
}

// Sorted gives uses by permission, each with its resources sorted, none twice.
func Sorted(uses map[string][]string) []Use {
	out := make([]Use, 0, len(uses))
	for permission, resources := range uses {
		slices.Sort(resources)
		out = append(out, Use{permission, slices.Compact(resources)})
	}
	slices.SortFunc(out, func(a, b Use) int {
		if a.Permission < b.Permission {
			return -1
		}
		return 1
	})
	return out
}
