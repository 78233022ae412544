package gcp

import (
	"maps"
	"slices"
	"strings"
)

// Smallest gives the predefined role with the fewest permissions that has all of those named, and how many it has; "" if
// none has. Of two alike the first by name is taken. Roles of Google's own service agents are left out: they are not
// meant to be granted (https://cloud.google.com/iam/docs/service-agents).
func Smallest(permissions []string) (role string, size int) {
	all := roles()
	want := make([]uint16, 0, len(permissions))
	for _, name := range permissions {
		at, ok := slices.BinarySearch(all.permissions, name)
		if !ok {
			return "", 0
		}
		want = append(want, uint16(at))
	}
	for _, name := range slices.Sorted(maps.Keys(all.roles)) {
		has := all.roles[name]
		if strings.HasSuffix(strings.ToLower(name), "serviceagent") || role != "" && len(has) >= size {
			continue
		}
		if !slices.ContainsFunc(want, func(p uint16) bool { _, ok := slices.BinarySearch(has, p); return !ok }) {
			role, size = name, len(has)
		}
	}
	return role, size
}
