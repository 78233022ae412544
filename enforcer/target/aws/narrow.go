package aws

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// want is one action that use justifies, on resources; none: on those it is
// granted on now.
type want struct {
	action    string
	resources []string
	// not are the NotResource patterns of the statements that grant it now.
	not []string
}

// wants of a proposal. Two forms of rules name them: an action as a capability
// on a resource, several of which a space separates and "not:" marks those of
// NotResource; and lists of actions and resources.
func wants(rules []*pb.Rule) ([]want, string) {
	var list []want
	for _, r := range rules {
		if r.Deny || len(r.NotActions) > 0 || len(r.NotResources) > 0 {
			return nil, "the proposed scope holds more than actions and resources"
		}
		var w want
		for _, pattern := range slices.Concat(r.Resources, strings.Fields(r.Resource)) {
			if not, ok := strings.CutPrefix(pattern, "not:"); ok {
				w.not = append(w.not, not)
			} else {
				w.resources = append(w.resources, pattern)
			}
		}
		for _, action := range slices.Concat(r.Actions, r.Capabilities) {
			if !strings.Contains(action, ":") {
				return nil, fmt.Sprintf("the proposed scope names %q, which is no action of AWS", clean(action, 60))
			}
			w.action = action
			list = append(list, w)
		}
	}
	return list, ""
}

// narrowed is what narrow makes.
type narrowed struct {
	doc     document
	actions int
	// elsewhere are wanted actions that no statement grants: what grants them
	// stands elsewhere, such as on the resource, and is not changed.
	elsewhere []string
}

// narrow keeps of statements what is wanted. Denies stay as they are; of what
// is allowed each action keeps the conditions and no more resources than it
// had. So nothing is permitted that was not.
func narrow(statements []statement, list []want) narrowed {
	var out narrowed
	type grant struct {
		statement
		actions []string
	}
	var grants []*grant
	kept := map[string]bool{}
	add := func(s statement, action string) {
		kept[strings.ToLower(action)] = true
		for _, g := range grants {
			if slices.Equal(g.Resource, s.Resource) && slices.Equal(g.NotResource, s.NotResource) && bytes.Equal(g.Condition, s.Condition) {
				g.actions = append(g.actions, action)
				return
			}
		}
		grants = append(grants, &grant{s, []string{action}})
	}
	var denied []json.RawMessage
	for _, s := range statements {
		s.Sid = ""
		s.Condition = compact(s.Condition)
		if s.Effect == "Deny" {
			if raw := s.raw(); !slices.ContainsFunc(denied, func(d json.RawMessage) bool { return bytes.Equal(d, raw) }) {
				denied = append(denied, raw)
			}
			continue
		}
		for _, w := range list {
			if !s.allows(w.action) {
				continue
			}
			if part, ok := s.on(w); ok {
				add(part, w.action)
			}
		}
	}
	for _, g := range grants {
		slices.Sort(g.actions)
		g.actions = slices.CompactFunc(g.actions, strings.EqualFold)
		g.Action, g.NotAction = g.actions, nil
		out.doc.Statements = append(out.doc.Statements, g.raw())
	}
	out.doc.Statements = append(out.doc.Statements, denied...)
	out.actions = len(kept)
	for _, w := range list {
		if !kept[strings.ToLower(w.action)] && !slices.Contains(out.elsewhere, w.action) {
			out.elsewhere = append(out.elsewhere, w.action)
		}
	}
	slices.Sort(out.elsewhere)
	return out
}

func compact(raw json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	if len(raw) == 0 || json.Compact(&b, raw) != nil || b.String() == "{}" || b.String() == "null" {
		return nil
	}
	return b.Bytes()
}

// allows tells whether the statement speaks of everything that action, which
// may be a pattern, stands for. Actions have no case.
func (s statement) allows(action string) bool {
	action = strings.ToLower(action)
	for _, pattern := range s.Action {
		if covers(strings.ToLower(pattern), action) {
			return true
		}
	}
	for _, pattern := range s.NotAction {
		if mayMeet(strings.ToLower(pattern), action) {
			return false
		}
	}
	return len(s.NotAction) > 0
}

// variable of a policy, such as ${aws:username}: it stands for some text.
var variable = regexp.MustCompile(`\$\{[^}]*\}`)

// on gives the statement on those of its resources that are wanted.
func (s statement) on(w want) (statement, bool) {
	if len(w.resources) == 0 && len(w.not) == 0 {
		return s, true
	}
	if len(s.NotResource) > 0 {
		for _, not := range s.NotResource {
			if slices.Contains(w.not, not) {
				return s, true
			}
		}
		apart := func(pattern string) bool {
			return !slices.ContainsFunc(s.NotResource, func(not string) bool { return mayMeet(variable.ReplaceAllString(not, "*"), pattern) })
		}
		var part texts
		for _, pattern := range w.resources {
			if !apart(pattern) {
				return s, true // it can not be said with Resource: as it was
			}
			part = append(part, pattern)
		}
		s.NotResource, s.Resource = nil, sorted(part)
		return s, len(part) > 0
	}
	var part texts
	for _, have := range s.Resource {
		for _, pattern := range w.resources {
			switch loose := variable.ReplaceAllString(have, "*"); {
			case have == pattern, covers(variable.ReplaceAllString(pattern, "*"), have):
				part = append(part, have)
			case loose != have && covers(loose, pattern):
				part = append(part, have) // what the variable stands for is not known here
			case covers(have, pattern):
				part = append(part, pattern)
			}
		}
	}
	s.Resource = sorted(part)
	return s, len(part) > 0
}

func sorted(list texts) texts {
	slices.Sort(list)
	return slices.Compact(list)
}

// mayMeet tells whether some text may match both patterns; it says yes where
// that is not easily excluded.
func mayMeet(a, b string) bool {
	for i := range min(len(a), len(b)) {
		if a[i] == '*' || b[i] == '*' {
			return true
		}
		if a[i] != b[i] && a[i] != '?' && b[i] != '?' {
			return false
		}
	}
	// One is over: the other matches too only if what is left may be nothing.
	rest := a[min(len(a), len(b)):] + b[min(len(a), len(b)):]
	return strings.Trim(rest, "*") == ""
}
