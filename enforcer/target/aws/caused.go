package aws

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// maxFormer bounds the statements that are kept of the former policies.
const maxFormer = 256

// former are the statements by which it can be told what was allowed: a denied
// call tells its action and not always its resource, so of what was allowed
// only what was allowed on everything and without a condition, and every deny.
func former(statements []statement) []*pb.Rule {
	var list []*pb.Rule
	allows := false
	for _, s := range statements {
		r := &pb.Rule{Deny: s.Effect == "Deny", Actions: s.Action, NotActions: s.NotAction}
		if !r.Deny && (!slices.Contains(s.Resource, "*") || compact(s.Condition) != nil) {
			continue
		}
		allows = allows || !r.Deny
		list = append(list, r)
	}
	if !allows || len(list) > maxFormer {
		return nil
	}
	return list
}

// Caused tells that a key or session of the narrowed role or user was refused
// an action that its former policies allowed on everything, and of which the
// narrow one says nothing. A session from before may be refused by the deny
// that revoked another, so it does not count. What an organisation's policies
// forbid is not seen here.
func (t *Target) Caused(done *pb.Reissue, since time.Time, by *pb.Decision, action string) bool {
	var was previous
	if err := json.Unmarshal([]byte(done.GetPrevious()), &was); err != nil || !strings.Contains(action, ":") || strings.ContainsAny(action, "*?") {
		return false
	}
	h, _, refused := t.holderOf(by)
	if refused != "" || h.kind != was.Kind || h.name != was.Name {
		return false
	}
	if at := by.GetSubject().GetIssuedAt(); by.GetSubject().GetType() == "session" && (at == nil || at.AsTime().Before(since)) {
		return false
	}
	allowed := false
	for _, r := range done.GetFormer() {
		s := statement{Action: r.Actions, NotAction: r.NotActions}
		if r.Deny && s.allows(action) {
			return false // it speaks of the action, on whatever resource
		}
		allowed = allowed || s.allows(action)
	}
	if !allowed {
		return false
	}
	doc, err := parseDocument(done.GetPolicyText())
	if err != nil {
		return false
	}
	list, err := doc.read()
	return err == nil && !slices.ContainsFunc(list, func(s statement) bool { return s.allows(action) })
}
