package iam

import (
	"slices"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Explained is what the statements of a policy come to. The lists are sorted and never nil.
type Explained struct {
	// Allow: granted without condition on at least one resource.
	Allow []string `json:"allow"`
	// Conditional: granted only under conditions.
	Conditional []string `json:"conditional"`
	// Unknown: patterns that match no action of the list, as they were written.
	Unknown []string `json:"unknown"`
}

// Explain expands a policy's statements.
func Explain(rules []*pb.Rule) Explained {
	out := Explained{Unknown: []string{}}
	out.Allow, out.Conditional = Evaluate(rules).Names()
	for _, rule := range rules {
		for _, pattern := range rule.Actions {
			if len(actions().matching(pattern)) == 0 {
				out.Unknown = append(out.Unknown, pattern)
			}
		}
	}
	slices.Sort(out.Unknown)
	out.Unknown = slices.Compact(out.Unknown)
	return out
}
