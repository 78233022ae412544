package gate

import (
	"fmt"
	"slices"
	"strings"
)

// agents of one identity, by all its claims.
func (s *Standing) agents() []string {
	return distinct(s.Claims, func(c Claim) string { return c.Agent })
}

// labels holds what the manifest says of its agent against whom its identities belong to.
func (v *Verdict) labels() {
	for i := range v.Identities {
		label := &v.Identities[i]
		if label.Kind != Agent || label.State == Excepted || len(label.agents()) == 0 {
			continue
		}
		var against, others []string
		for j := range v.Identities {
			other := &v.Identities[j]
			if j == i || other.State == Excepted || len(other.agents()) == 0 || other.Kind == Agent && j < i {
				continue
			}
			if slices.ContainsFunc(other.agents(), func(a string) bool { return slices.Contains(label.agents(), a) }) {
				continue
			}
			against = append(against, fmt.Sprintf("%s is %s", other, sides(other.Claims)))
			others = append(others, other.agents()...)
		}
		if len(against) == 0 {
			continue
		}
		slices.Sort(others)
		v.refuse(Problem{Code: "mislabelled",
			Text: fmt.Sprintf("it is mislabelled: %s says agent %s, which is %s; but %s",
				place(label), shorten(label.Name), sides(label.Claims), strings.Join(against, ", ")),
			Do: fmt.Sprintf("name one agent: set it to %s, or give what belongs there to agent %s in the catalog",
				strings.Join(slices.Compact(others), " or "), strings.Join(label.agents(), " or "))})
	}
}

func place(s *Standing) string {
	if s.Where == "" {
		return s.Field
	}
	return s.Field + " (" + s.Where + ")"
}

// agree refuses identities of one workload that belong to different owners or systems of record.
func (v *Verdict) agree() {
	settled := slices.DeleteFunc(slices.Clone(v.Identities), func(s Standing) bool { return s.Owner == "" })
	told := slices.ContainsFunc(v.Problems, func(p Problem) bool { return p.Code == "mislabelled" })
	for _, side := range []struct {
		state State
		what  string
		of    func(Standing) string
		keep  *string
	}{
		{TwoOwners, "owners", func(s Standing) string { return s.Owner }, &v.Owner},
		{TwoSystems, "systems of record", func(s Standing) string { return s.System }, &v.System},
	} {
		if all := distinct(settled, side.of); len(all) == 1 {
			*side.keep = all[0]
		}
		judged := settled
		if told { // a wrong label has been told already; the others may disagree beside it
			judged = slices.DeleteFunc(slices.Clone(settled), func(s Standing) bool { return s.Kind == Agent })
		}
		if names := distinct(judged, side.of); len(names) > 1 {
			texts := make([]string, 0, len(judged))
			for i := range judged {
				texts = append(texts, fmt.Sprintf("%s is %s", &judged[i], sides(judged[i].Claims)))
			}
			v.refuse(Problem{Code: string(side.state), Do: "give it identities of one owner and one system of record",
				Text: fmt.Sprintf("its identities have different %s (%s): %s", side.what, strings.Join(names, ", "), strings.Join(texts, "; "))})
		}
	}
	if agents := distinct(settled, func(s Standing) string { return strings.Join(s.agents(), "+") }); len(agents) > 1 && len(v.Problems) == 0 {
		v.warn("its identities belong to different agents of one owner: %s", strings.Join(agents, ", "))
	}
}
