package enforcer

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/enforcer/notify"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Bounds on text from logs, in runes.
const (
	shortText = 120
	longText  = 400
)

func short(text string) string { return notify.Clean(text, shortText) }
func long(text string) string  { return notify.Clean(text, longText) }

// message says of a ladder what its reader has to know: what, why, by when,
// what ends with it, and what to do. Every text that is not ours is cleaned.
func message(kind notify.Kind, now time.Time, s *pb.LadderState, d *pb.Decision, revokeAt time.Time) notify.Message {
	if d == nil {
		d = s.GetDecision()
	}
	sub := d.GetSubject()
	m := notify.Message{
		Kind: kind, Credential: notify.Clean(s.Credential, 300), Agent: short(sub.GetAgent()), Owner: short(ownerName(sub)),
		LadderID: s.LadderId, State: strings.ToLower(s.State.String()), At: now, Until: now.Add(24 * time.Hour),
	}
	if !revokeAt.IsZero() {
		at := revokeAt.UTC()
		m.RevokeAt = &at
		m.Until = at.Add(time.Hour)
	}
	for _, v := range d.GetViolations() {
		m.Violations = append(m.Violations, notify.Violated{
			Policy: short(v.PolicyId), Metric: short(v.Metric), Value: short(v.Value), Threshold: short(v.Threshold),
			Condition: short(v.Condition), Severity: short(v.Severity), Hint: long(v.Hint), Evidence: long(v.Evidence),
		})
		if severer(v.Severity, m.Severity) {
			m.Severity = short(v.Severity)
		}
	}
	var b strings.Builder
	m.Title = title(kind, s, m)
	describe(&b, s, sub, m)
	switch kind {
	case notify.Outcome:
		outcome(&b, s)
	case notify.Restored:
		restoration(&b, s)
	case notify.Denied:
		denied(&b, s)
	case notify.Escalation:
		fmt.Fprintf(&b, "Why you are told: %s\n", stuck(s))
		consequence(&b, now, s, sub, m)
	default:
		consequence(&b, now, s, sub, m)
		justify(&b, s, m)
	}
	m.Text = b.String()
	return m
}

func ownerName(sub *pb.Subject) string {
	if name := sub.GetOwner().GetName(); name != "" {
		return name
	}
	return sub.GetOwner().GetId()
}

var severities = []string{"", "info", "low", "medium", "high", "critical"}

func severer(a, b string) bool {
	return slices.Index(severities, strings.ToLower(a)) > slices.Index(severities, strings.ToLower(b)) || b == ""
}

func title(kind notify.Kind, s *pb.LadderState, m notify.Message) string {
	who := m.Agent
	if who == "" {
		who = m.Credential
	}
	switch kind {
	case notify.Restored:
		if s.State == pb.LadderState_RESTORED {
			return fmt.Sprintf("Credential of %s was given back", who)
		}
		return fmt.Sprintf("Credential of %s was not given back", who)
	case notify.Denied:
		if s.State == pb.LadderState_ROLLED_BACK {
			return fmt.Sprintf("The former scope of %s was put back", who)
		}
		return fmt.Sprintf("%s is denied what its former scope allowed", who)
	case notify.Moved:
		return fmt.Sprintf("Later than announced: credential of %s will be revoked at %s", who, m.RevokeAt.Format(time.RFC3339))
	case notify.Outcome:
		return fmt.Sprintf("Credential of %s was revoked", who)
	case notify.Escalation:
		return fmt.Sprintf("Nobody acts on the credential of %s", who)
	case notify.Reminder:
		return fmt.Sprintf("Reminder: credential of %s will be revoked at %s", who, m.RevokeAt.Format(time.RFC3339))
	}
	if m.RevokeAt != nil {
		return fmt.Sprintf("Credential of %s will be revoked at %s", who, m.RevokeAt.Format(time.RFC3339))
	}
	return fmt.Sprintf("Credential of %s stands past policy", who)
}

func describe(b *strings.Builder, s *pb.LadderState, sub *pb.Subject, m notify.Message) {
	owner := m.Owner
	if owner == "" {
		owner = "nobody is known"
	}
	fmt.Fprintf(b, "Owner: %s\nCredential: %s (%s)\n", owner, m.Credential, short(sub.GetType()))
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(b, "%s: %s\n", name, value)
		}
	}
	line("Agent", m.Agent)
	line("Role", short(sub.GetLabels()["role_name"]))
	line("Identity", short(sub.GetPrincipal()))
	for _, v := range m.Violations {
		fmt.Fprintf(b, "Policy %s: %s is %s, threshold %s %s\n", v.Policy, v.Metric, v.Value, strings.ReplaceAll(v.Condition, "_", " "), v.Threshold)
		line("  Because", v.Evidence)
		line("  What to do", v.Hint)
	}
	line("Ladder", s.LadderId)
}

func consequence(b *strings.Builder, now time.Time, s *pb.LadderState, sub *pb.Subject, m notify.Message) {
	if m.RevokeAt == nil {
		b.WriteString("No revocation is planned.\n")
		return
	}
	fmt.Fprintf(b, "It will be revoked at %s (in %s).\n", m.RevokeAt.Format(time.RFC3339), relative(m.RevokeAt.Sub(now)))
	if s.GetMoved() != "" {
		fmt.Fprintf(b, "The time was moved %s.\n", long(s.Moved))
	}
	besides(b, s.GetCollateral())
	total := max(sub.GetChildrenTotal(), uint64(len(sub.GetChildren())))
	if total == 0 {
		if s.GetCollateral().GetCount() == 0 && s.GetCollateral().GetUnknown() == "" {
			b.WriteString("Nothing else is known to end with it.\n")
		}
		return
	}
	leases, shown := 0, sub.GetChildren()
	for _, child := range shown {
		if strings.Contains(child, "/lease/") {
			leases++
		}
	}
	fmt.Fprintf(b, "With it end %d credentials that it issued", total)
	if leases > 0 {
		fmt.Fprintf(b, ", among them at least %d leases", leases)
	}
	b.WriteString(":")
	for _, child := range shown[:min(5, len(shown))] {
		b.WriteString(" " + short(child))
	}
	if total > 5 {
		b.WriteString(" …")
	}
	b.WriteString("\n")
}

// besides says what the issuer foresees to be hit, for whoever has to decide
// whether that is right.
func besides(b *strings.Builder, c *pb.Collateral) {
	switch {
	case c.GetUnknown() != "":
		fmt.Fprintf(b, "What else it would hit could not be found out: %s\n", notify.Clean(c.Unknown, 300))
	case c.GetCount() > 0:
		fmt.Fprintf(b, "It also hits %d others at the issuer:\n", c.Count)
		for _, hit := range c.Hits[:min(5, len(c.Hits))] {
			fmt.Fprintf(b, "  %s\n", strings.TrimSpace(short(hit.Key)+" "+long(hit.Text)))
		}
		if c.Count > 5 {
			fmt.Fprintln(b, "  …")
		}
	}
}

// restoration says what became of the wish to have back what was taken.
func restoration(b *strings.Builder, s *pb.LadderState) {
	r := s.GetRestoration()
	fmt.Fprintf(b, "%s asked for it: %s\n", short(r.GetAskedBy()), long(r.GetReason()))
	if len(r.GetApprovedBy()) > 0 {
		fmt.Fprintf(b, "Approved by: %s\n", strings.Join(r.ApprovedBy, ", "))
	}
	if r.GetRefused() != "" {
		fmt.Fprintf(b, "It was not given back: %s\n", long(r.Refused))
		return
	}
	b.WriteString("It works again, and the issuer says so. If it still stands past policy, its owner is told anew and has the whole grace period.\n")
}

func justify(b *strings.Builder, s *pb.LadderState, m notify.Message) {
	b.WriteString("To justify it, ask for an exception, which somebody else approves:\n")
	policies := []string{}
	for _, v := range m.Violations {
		if !slices.Contains(policies, v.Policy) {
			policies = append(policies, v.Policy)
		}
	}
	for _, policy := range policies {
		fmt.Fprintf(b, "  leastwise exception request --credential %s --policy %s --reason 'WHY' --until %s\n",
			quote(s.Credential), quote(policy), "YYYY-MM-DD")
	}
}

// quote makes a word safe to paste into a shell: what is not plainly harmless
// is dropped, since the text may come from an attacker's log.
func quote(word string) string {
	return "'" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:+=*,~", r) {
			return r
		}
		return -1
	}, word) + "'"
}

func stuck(s *pb.LadderState) string {
	if s.Waiting != "" {
		return notify.Clean(s.Waiting, 600)
	}
	return notify.Clean(s.GetAttempt().GetError(), 600)
}

func outcome(b *strings.Builder, s *pb.LadderState) {
	fmt.Fprintf(b, "It was revoked. Proof: %s\n", notify.Clean(s.Proof, 300))
	if s.WorksUntil != nil {
		fmt.Fprintf(b, "Those who do not ask the issuer may accept it until %s: it is exposed until then.\n", s.WorksUntil.AsTime().UTC().Format(time.RFC3339))
	}
	if s.Restore != "" {
		fmt.Fprintf(b, "If something breaks, it can be given back: leastwise restore %s --reason 'WHY'\n", s.LadderId)
	}
	r := s.Reissue
	switch {
	case planned(s):
		fmt.Fprintf(b, "Given back: policy %s with %s (before: %d). %s\n", short(r.PolicyName), permissions(r.GrantedAfter), r.GrantedBefore, long(r.Narrowed))
		fmt.Fprintf(b, "To put the former scope back: leastwise rollback %s\n", s.LadderId)
	case r.GetNarrowed() != "":
		fmt.Fprintln(b, long(r.Narrowed))
	}
}

// relative is a duration as a person says it.
func relative(d time.Duration) string {
	switch d = d.Round(time.Second); {
	case d <= 0:
		return "now"
	case d < 2*time.Minute:
		return d.String()
	case d < 48*time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	default:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
}

// permissions counted, with the noun.
func permissions(n uint32) string {
	if n == 1 {
		return "1 permission"
	}
	return fmt.Sprintf("%d permissions", n)
}
