package view

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/console/fleet"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// longest bounds lists that come whole.
const longest = 1000

func sortBy[T any](list []T, compare func(a, b T) int) { slices.SortFunc(list, compare) }

func bounded[T any](list []T) []T { return list[:min(len(list), longest)] }

func first(c int, a, b string) int { return cmp.Or(c, strings.Compare(a, b)) }

// Duties are what needs the owners, most urgent first; nil owners: everybody's.
func (v *View) Duties(owners []string) contract.Duties {
	out := contract.Duties{Items: []contract.Duty{}}
	now := v.Now.UnixNano()
	type dutiful struct {
		*fleet.Item
		due time.Time
	}
	var mine []dutiful
	for _, it := range v.Sorted(fleet.ByDeviation) {
		if it.Ended(now) || len(v.standing(it)) == 0 {
			continue
		}
		if owners == nil || slices.Contains(owners, it.Owner) || it.Owner == "" && slices.Contains(owners, fleet.Unowned) {
			mine = append(mine, dutiful{it, due(it)})
		} else {
			out.Others++
		}
	}
	slices.SortStableFunc(mine, func(a, b dutiful) int {
		return cmp.Or(a.due.Compare(b.due), cmp.Compare(b.Severity, a.Severity)) // then by deviation, as they came
	})
	for _, it := range bounded(mine) {
		out.Items = append(out.Items, v.duty(it.Item))
	}
	return out
}

var never = time.Unix(1<<40, 0)

// due is when something happens by itself.
func due(it *fleet.Item) time.Time {
	if l := ladder(it.Ladder); l != nil && l.NextAt != nil {
		return *l.NextAt
	}
	if l := it.Ladder; l != nil && (l.State == pb.LadderState_HELD || l.State == pb.LadderState_ESCALATED || l.State == pb.LadderState_RETRYING) {
		return never.Add(-time.Hour)
	}
	return never
}

func (v *View) duty(it *fleet.Item) contract.Duty {
	standing := v.standing(it)
	worst := standing[0]
	for _, s := range standing {
		if rank(s) > rank(worst) || rank(s) == rank(worst) && s.Deviation > worst.Deviation {
			worst = s
		}
	}
	told := violation(worst)
	d := contract.Duty{Credential: it.Key, Agent: text(it.Agent), Owner: text(it.Owner), Severity: told.Severity,
		Title: title(worst.Metric, worst.Condition), Why: told.Title, WhatHappens: "Nothing happens by itself.", Action: action(it, worst)}
	if l := it.Ladder; !LadderOver(l) {
		d.Ladder = v.Ladder(it)
		switch {
		case d.Ladder.NextAt != nil && l.State != pb.LadderState_RETRYING:
			d.By, d.WhatHappens = d.Ladder.NextAt, "It is revoked then."
			if n := l.GetDecision().GetSubject().GetChildrenTotal(); n == 1 {
				d.WhatHappens = "It is revoked then, and one credential made with it ends too."
			} else if n > 1 {
				d.WhatHappens = "It is revoked then, and " + number(n) + " credentials made with it end too."
			}
			if d.Ladder.NeedsApproval && d.Ladder.ApprovedBy == nil {
				d.WhatHappens = strings.TrimSuffix(d.WhatHappens, ".") + ", if somebody has approved it by then."
			}
		case l.State == pb.LadderState_HELD && awaited(l):
			d.WhatHappens = "It is revoked as soon as somebody approves it."
		case l.State == pb.LadderState_HELD:
			d.WhatHappens = "It is revoked as soon as nothing holds that back: " + waiting(l.Waiting) + "."
		case l.State == pb.LadderState_REVOKE_INTENDED, l.State == pb.LadderState_RETRYING:
			d.WhatHappens = "It is being revoked."
		case l.State == pb.LadderState_ESCALATED:
			d.WhatHappens = "The revocation is stuck until somebody looks at it."
		}
	}
	return d
}

func rank(v *pb.Violation) int { return slices.Index(fleet.Severities, v.Severity) }

// title says what is wrong in a few words.
func title(metric, condition string) string {
	if strings.HasPrefix(condition, "less") {
		switch metric {
		case "idle_time":
			return "Used, and should not be"
		case "remaining_validity":
			return "Ends soon"
		}
	}
	switch metric {
	case "credential_age", "rotation_age":
		return "Too old"
	case "lifetime", "remaining_validity":
		return "Lives too long"
	case "permission_scope_complexity", "scope_weight":
		return "May do too much"
	case "unused_permission_ratio":
		return "May do more than it does"
	case "idle_time", "issued_but_unused":
		return "Not used"
	case "utilization_ratio":
		return "Not used as expected"
	case "elevation_attempts":
		return "Tries what it may not do"
	case "novelty":
		return "Does something new"
	case "unresolved_identity":
		return "Nobody answers for it"
	case "used_but_unissued":
		return "Used, but nobody issued it"
	case "usage_contradiction":
		return "Logs contradict each other"
	}
	return "Past a policy"
}

// Quote makes one word of a shell of any text. Names come from logs: nothing in them may become a command.
func Quote(word string) string {
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '?' // control characters and those that turn the direction of writing
		}
		return r
	}, word)
	if clean != "" && strings.Trim(clean, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/.:_-@=+") == "" && clean[0] != '-' {
		return clean
	}
	return "'" + strings.ReplaceAll(clean, "'", `'\''`) + "'"
}

func number(n uint64) string {
	digits := []byte{}
	for n > 0 || len(digits) == 0 {
		digits = append(digits, byte('0'+n%10))
		n /= 10
	}
	slices.Reverse(digits)
	return string(digits)
}

// action is the one thing to do.
func action(it *fleet.Item, worst *pb.Violation) contract.Action {
	page := "/credential?key=" + url.QueryEscape(it.Key)
	a := contract.Action{Kind: "look", Label: "Look at what it does", Href: &page, Command: text("leastwise policy explain " + Quote(it.Key))}
	id := it.Key
	if parts := strings.SplitN(it.Key, "/", 4); len(parts) == 4 {
		id = parts[3]
	}
	switch worst.Metric {
	case "unresolved_identity":
		a.Kind, a.Label, a.Command = "claim", "Say who answers for it", text("leastwise who "+Quote(it.Key))
		if it.Principal != "" {
			to := "/identity?name=" + url.QueryEscape(it.Principal)
			a.Href = &to
		}
	case "permission_scope_complexity", "scope_weight", "unused_permission_ratio":
		a.Kind, a.Label, a.Command = "narrow", "Give it only what it uses", nil
	case "credential_age", "lifetime", "remaining_validity", "rotation_age", "idle_time", "issued_but_unused":
		if strings.HasPrefix(worst.Condition, "less") {
			break
		}
		a.Kind, a.Label, a.Command = "rotate", "Replace it by a short-lived one", text(endIt(it, id))
		if a.Command == nil {
			a.Command = text("leastwise exception request --credential " + Quote(it.Key) + " --policy " + Quote(worst.PolicyId) + " --reason 'WHY' --until 72h")
			a.Kind, a.Label = "exception", "Replace it, or say why it must stay"
		}
	}
	return a
}

// endIt is the issuer's own command that ends a credential; empty where there is none that can be known from here.
func endIt(it *fleet.Item, id string) string {
	switch {
	case it.Source == "vault" && it.Type == "token" && !strings.HasPrefix(id, "hmac-"):
		return "vault token revoke -accessor " + Quote(id)
	case it.Source == "vault" && it.Type == "lease" && !strings.HasPrefix(id, "hmac-"):
		return "vault lease revoke " + Quote(id)
	case it.Source == "cloudtrail" && it.Type == "access_key" && strings.HasPrefix(id, "AKIA"):
		return "aws iam update-access-key --status Inactive --access-key-id " + Quote(id)
	}
	return ""
}
