package read

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leastwise/leastwise/console/contract"
	"github.com/leastwise/leastwise/console/rules"
	"github.com/leastwise/leastwise/console/view"
	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

const manyChildren = 200

// Detail fills in what a credential's row holds beside the fleet's: labels, policies, children, journal and history.
func (r *Reader) Detail(ctx context.Context, d *contract.CredentialDetail) error {
	d.Children, d.Policies, d.Labels = []string{}, []string{}, map[string]string{}
	d.LadderSteps, d.Collateral, d.UsageFindings = []contract.LadderStep{}, []string{}, []contract.UsageFinding{}
	d.History, d.UsesByHour = []contract.Decided{}, []contract.HourOfUse{}
	err := r.each(ctx, "credential", `SELECT parent, children, policies, labels, usage_reasons, issued_but_unused, used_but_unissued, usage_contradiction
		FROM credentials FINAL WHERE credential = ?`, []any{d.Key}, func(rows store.Rows) error {
		var parent string
		var reasons map[string]string
		var found [3]*bool
		if err := rows.Scan(&parent, &d.ChildrenTotal, &d.Policies, &d.Labels, &reasons, &found[0], &found[1], &found[2]); err != nil {
			return err
		}
		d.Parent = text(parent)
		for i, name := range []string{"issued_but_unused", "used_but_unissued", "usage_contradiction"} {
			if why, told := reasons[name]; told || found[i] != nil {
				d.UsageFindings = append(d.UsageFindings, contract.UsageFinding{Finding: name, Found: found[i], Reason: why})
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if d.Policies == nil {
		d.Policies = []string{}
	}
	if d.Labels == nil {
		d.Labels = map[string]string{}
	}
	if d.ChildrenTotal > 0 {
		err = r.each(ctx, "children", `SELECT credential, isNull(revoked_at) AND (isNull(expires_at) OR expires_at > now()) AS lives
			FROM credentials FINAL WHERE parent = ? ORDER BY lives DESC, credential LIMIT ?`, []any{d.Key, manyChildren}, func(rows store.Rows) error {
			var key string
			var lives bool
			if err := rows.Scan(&key, &lives); err != nil {
				return err
			}
			d.Children = append(d.Children, key)
			if lives && d.RevokedAt == nil {
				d.Collateral = append(d.Collateral, key)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if err := r.steps(ctx, d); err != nil {
		return err
	}
	if err := r.history(ctx, d); err != nil {
		return err
	}
	return r.hours(ctx, d)
}

func (r *Reader) steps(ctx context.Context, d *contract.CredentialDetail) error {
	return r.each(ctx, "the enforcer's journal", `SELECT value FROM audit_log WHERE topic = ? AND (kafka_partition, kafka_offset) IN (
			SELECT kafka_partition, kafka_offset FROM enforcement WHERE credential = ? ORDER BY step DESC LIMIT 200)
		ORDER BY kafka_offset`, []any{schemas.TopicEnforcement, d.Key}, func(rows store.Rows) error {
		var value string
		if err := rows.Scan(&value); err != nil {
			return err
		}
		l := &pb.LadderState{}
		if err := l.UnmarshalVT([]byte(value)); err != nil {
			return nil // the audit log says so
		}
		if n := len(d.LadderSteps); n == 0 || !d.LadderSteps[n-1].At.Equal(l.At.AsTime()) || d.LadderSteps[n-1].State != strings.ToLower(l.State.String()) {
			d.LadderSteps = append(d.LadderSteps, view.Step(l))
		}
		return nil
	})
}

// history leaves out heartbeats: a decision that says what the one before said. Of an hour's decisions that name the same
// policies and differ by less than a twentieth the first stands for all.
func (r *Reader) history(ctx context.Context, d *contract.CredentialDetail) error {
	err := r.each(ctx, "decisions", `SELECT toUnixTimestamp64Nano(min(decided_at)) AS at, argMin(deviation, decided_at), policies FROM decisions
		WHERE credential = ? GROUP BY toStartOfHour(decided_at), policies, if(deviation = 0, 0, ceil(log(abs(deviation)) * 20))
		ORDER BY at DESC, min(kafka_offset) DESC LIMIT 4000`, []any{d.Key}, func(rows store.Rows) error {
		var at int64
		var one contract.Decided
		if err := rows.Scan(&at, &one.Deviation, &one.Violated); err != nil {
			return err
		}
		one.At = nanos(at)
		if one.Violated == nil {
			one.Violated = []string{}
		}
		if n := len(d.History); n > 0 && slices.Equal(d.History[n-1].Violated, one.Violated) && closeTo(d.History[n-1].Deviation, one.Deviation) {
			d.History[n-1].At = one.At // the earlier of the two
			return nil
		}
		d.History = append(d.History, one)
		return nil
	})
	slices.Reverse(d.History)
	return err
}

func closeTo(a, b float64) bool { return a == b || (a-b)*(a-b) < 0.0001*a*b }

func (r *Reader) hours(ctx context.Context, d *contract.CredentialDetail) error {
	from := r.now().Add(-14 * 24 * time.Hour)
	known, err := r.useByHour(ctx, []string{d.Key}, from)
	for _, h := range known[d.Key] {
		if at := time.UnixMilli(h[0]).UTC(); at.Add(time.Hour).After(from) {
			d.UsesByHour = append(d.UsesByHour, contract.HourOfUse{At: at, Uses: uint64(h[1]), Denied: uint64(h[2])})
		}
	}
	return err
}

// writtenFor is when the first row of what happened since a time can have been written: not before, but for clocks that
// differ. Rows are kept by the week in which they were written.
func writtenFor(from time.Time) time.Time { return from.Add(-24 * time.Hour) }

// Events of a credential, newest first.
func (r *Reader) Events(ctx context.Context, key, cursor string, limit int) (contract.Page[contract.Event], error) {
	page := contract.Page[contract.Event]{Items: []contract.Event{}}
	after, err := ParseCursor(cursor, "events", 2)
	if err != nil {
		return page, err
	}
	where, args := "", []any{key}
	if after != nil {
		at, err := strconv.ParseInt(after[0], 10, 64)
		if err != nil {
			return page, ErrCursor
		}
		where = " AND (toUnixTimestamp64Nano(occurred_at), hex(id)) < (?, ?)"
		args = append(args, at, after[1])
	}
	// Some credentials have very many: first which they are, then all that is told of them, in the weeks that hold them.
	var ids []string
	var first, last int64
	var written [2]time.Time
	err = r.each(ctx, "events", `SELECT hex(id) AS name, toUnixTimestamp64Nano(occurred_at) AS at, written_at FROM events
		WHERE credential = ?`+where+` ORDER BY occurred_at DESC, id DESC LIMIT 1 BY id LIMIT ?`, append(args, limit+1), func(rows store.Rows) error {
		var id string
		var at int64
		var when time.Time
		if err := rows.Scan(&id, &at, &when); err != nil {
			return err
		}
		if len(ids) == limit {
			page.Next = next("events", strconv.FormatInt(first, 10), ids[limit-1])
			return nil
		}
		if ids = append(ids, id); len(ids) == 1 {
			last, written = at, [2]time.Time{when, when}
		}
		first = at
		if when.Before(written[0]) {
			written[0] = when
		}
		if when.After(written[1]) {
			written[1] = when
		}
		return nil
	})
	if err != nil || len(ids) == 0 {
		return page, err
	}
	err = r.each(ctx, "events", `SELECT lower(hex(id)), kind, toUnixTimestamp64Nano(occurred_at), toUnixTimestamp64Nano(observed_at), source, instance, action,
			permission, resource, outcome, error, record_id, position, actor, remote_address, labels, flag
		FROM events WHERE credential = ? AND occurred_at >= fromUnixTimestamp64Nano(toInt64(?)) AND occurred_at <= fromUnixTimestamp64Nano(toInt64(?))
			AND written_at >= ? AND written_at <= ? AND id IN (SELECT toFixedString(unhex(arrayJoin(?)), 16))
		ORDER BY occurred_at DESC, id DESC LIMIT 1 BY id`, []any{key, first, last, written[0], written[1], ids}, func(rows store.Rows) error {
		var e contract.Event
		var at, observed int64
		var outcome, actor string
		if err := rows.Scan(&e.ID, &e.Kind, &at, &observed, &e.Source, &e.Instance, &e.Action, &e.Permission, &e.Resource, &outcome, &e.Error,
			&e.RecordID, &e.Position, &actor, &e.RemoteAddress, &e.Labels, &e.Flag); err != nil {
			return err
		}
		e.At, e.ObservedAt, e.Actor = nanos(at), nanos(observed), text(actor)
		e.Kind = strings.ToLower(e.Kind)
		e.Flag = strings.ToLower(e.Flag)
		if outcome != "" {
			e.Outcome = text(strings.ToLower(outcome))
		}
		if e.Labels == nil {
			e.Labels = map[string]string{}
		}
		page.Items = append(page.Items, e)
		return nil
	})
	return page, err
}

// Facts are what decides, beside its row in the fleet, which policies apply to a credential.
type Facts struct {
	Labels   map[string]string
	Policies []string
}

// Facts of all credentials that live. They are read once a minute.
func (r *Reader) Facts(ctx context.Context) (map[string]Facts, error) {
	return r.facts.get(r.now(), time.Minute, func() (map[string]Facts, error) { return r.readFacts(ctx) })
}

func (r *Reader) readFacts(ctx context.Context) (map[string]Facts, error) {
	out := map[string]Facts{}
	err := r.sweep(ctx, "labels", `SELECT credential, labels, policies FROM credentials FINAL
		WHERE isNull(revoked_at) AND (isNull(expires_at) OR expires_at > now())`, nil, func(rows store.Rows) error {
		var key string
		var f Facts
		if err := rows.Scan(&key, &f.Labels, &f.Policies); err != nil {
			return err
		}
		out[key] = f
		return nil
	})
	return out, err
}

// FactsOf one credential.
func (r *Reader) FactsOf(ctx context.Context, key string) (f Facts, err error) {
	err = r.each(ctx, "labels", `SELECT labels, policies FROM credentials FINAL WHERE credential = ?`, []any{key}, func(rows store.Rows) error {
		return rows.Scan(&f.Labels, &f.Policies)
	})
	return f, err
}

// weights of Vault's capabilities, and the levels of access that they are.
var capabilities = map[string]struct {
	level  string
	weight float64
}{
	"list": {"list", 1}, "read": {"read", 2}, "subscribe": {"read", 2}, "create": {"write", 4}, "update": {"write", 4},
	"patch": {"write", 4}, "recover": {"write", 4}, "delete": {"write", 5}, "sudo": {"sudo", 10},
}

const manyPermissions = 2000

// Scope is what a credential may do, and what it did.
func (r *Reader) Scope(ctx context.Context, key string, clouds rules.Clouds) (contract.Scope, error) {
	out := contract.Scope{Permissions: []contract.Permission{}, Denied: []contract.Refused{}}
	state := &pb.CredentialState{}
	var source, instance, principal string
	var policies []string
	var labels map[string]string
	found := false
	err := r.each(ctx, "scope", `SELECT scope_known, blob, source, instance, policies, principal, labels FROM credentials FINAL WHERE credential = ?`, []any{key}, func(rows store.Rows) error {
		var blob string
		if err := rows.Scan(&out.Known, &blob, &source, &instance, &policies, &principal, &labels); err != nil {
			return err
		}
		found = true
		return state.UnmarshalVT([]byte(blob))
	})
	if err != nil || !found {
		return out, err
	}
	switch {
	case out.Known:
	case len(policies) == 0:
		out.WhyUnknown = text("No log or inventory tells what it is granted.")
	default:
		out.WhyUnknown = text("The text of one or more of its policies was not read: " + strings.Join(policies, ", ") + ".")
	}
	if source == "vault" {
		err = r.vaultScope(ctx, instance, policies, state, &out)
	} else {
		err = r.cloudScope(ctx, key, principal, policies, labels, state, clouds, &out)
	}
	if err != nil {
		return out, err
	}
	err = r.each(ctx, "refused calls", `SELECT permission, uniqExact(id) AS times, toUnixTimestamp64Nano(max(occurred_at)) FROM events
		WHERE credential = ? AND kind = 'DENIED' GROUP BY permission ORDER BY times DESC, permission LIMIT 200`, []any{key}, func(rows store.Rows) error {
		var d contract.Refused
		var at int64
		if err := rows.Scan(&d.Permission, &d.Times, &at); err != nil {
			return err
		}
		d.LastAt = nanos(at)
		out.Denied = append(out.Denied, d)
		return nil
	})
	return out, err
}

// vaultScope: a permission is a capability on a path; what was used is in the credential's state.
func (r *Reader) vaultScope(ctx context.Context, instance string, policies []string, state *pb.CredentialState, out *contract.Scope) error {
	if len(policies) == 0 {
		return nil
	}
	type permission struct{ resource, capability string }
	by := map[permission][]string{}
	prefix := "vault/" + instance + "/policy/"
	ids := make([]string, len(policies))
	for i, p := range policies {
		ids[i] = prefix + p
	}
	err := r.each(ctx, "permissions", `SELECT rule_resource, arrayJoin(rule_capabilities), id FROM (SELECT id, resource, capabilities FROM grants FINAL WHERE id IN (?) AND NOT deleted)
		ARRAY JOIN resource AS rule_resource, capabilities AS rule_capabilities LIMIT 20000`, []any{ids}, func(rows store.Rows) error {
		var p permission
		var id string
		if err := rows.Scan(&p.resource, &p.capability, &id); err != nil {
			return err
		}
		by[p] = append(by[p], strings.TrimPrefix(id, prefix))
		return nil
	})
	for p, granted := range by {
		what := capabilities[p.capability]
		if what.level == "" {
			if p.capability == "deny" {
				continue
			}
			what.level = "unknown"
		}
		slices.Sort(granted)
		one := contract.Permission{Permission: p.capability + " " + p.resource, Level: what.level, Weight: what.weight, GrantedBy: strings.Join(slices.Compact(granted), ", ")}
		var last int64
		for _, use := range state.Used {
			operation, folder, _ := strings.Cut(use.Permission, " ")
			if operation == p.capability && uses(p.resource, folder, use) {
				one.Uses, last = one.Uses+use.Count, max(last, use.LastAt)
			}
		}
		used := one.Uses > 0
		if used || !state.UsedTruncated {
			one.Used = &used
		}
		one.LastUsedAt = maybe(last)
		out.Permissions = append(out.Permissions, one)
	}
	slices.SortFunc(out.Permissions, func(a, b contract.Permission) int {
		if c := int(b.Weight - a.Weight); c != 0 {
			return c
		}
		return strings.Compare(a.Permission, b.Permission)
	})
	if len(out.Permissions) > manyPermissions {
		out.Permissions, out.Truncated = out.Permissions[:manyPermissions], true
	}
	return err
}

// uses tells whether some remembered path of a use is one of a rule's.
func uses(pattern, folder string, use *pb.PermissionUse) bool {
	if use.Many || len(use.Leaves) == 0 {
		return matches(pattern, folder) || matches(pattern, folder+"x")
	}
	return slices.ContainsFunc(use.Leaves, func(leaf string) bool { return matches(pattern, folder+leaf) })
}

// matches is Vault's: + stands for one segment, * at the end for any rest.
func matches(pattern, path string) bool {
	prefix, open := strings.CutSuffix(pattern, "*")
	want, have := strings.Split(prefix, "/"), strings.Split(path, "/")
	for i, segment := range want {
		if i >= len(have) {
			return false
		}
		if last := i == len(want)-1; last && open {
			return strings.HasPrefix(have[i], segment)
		}
		if segment != "+" && segment != have[i] {
			return false
		}
	}
	return len(want) == len(have)
}

// cloudScope expands what a cloud's policies grant, as its measure does.
func (r *Reader) cloudScope(ctx context.Context, key, principal string, policies []string, labels map[string]string, state *pb.CredentialState,
	clouds rules.Clouds, out *contract.Scope) error {
	of, err := schemas.ParseKey(key)
	if err != nil || clouds == nil {
		return nil // nothing is granted to what has no issuer
	}
	var grants []*pb.Grant
	err = r.each(ctx, "grants", `SELECT body FROM grants FINAL WHERE startsWith(id, ?)`, []any{of.System + "/" + of.Instance + "/"}, func(rows store.Rows) error {
		var body string
		if err := rows.Scan(&body); err != nil {
			return err
		}
		g := &pb.Grant{}
		if err := g.UnmarshalVT([]byte(body)); err != nil {
			return err
		}
		grants = append(grants, g)
		return nil
	})
	if err != nil {
		return err
	}
	granted, missing := clouds.Granted(grants, rules.Holder{Credential: key, Principal: principal, Policies: policies, Labels: labels, Used: state.Used, UsedComplete: !state.UsedTruncated})
	if !out.Known && missing != "" {
		out.WhyUnknown = text(missing + ".")
	}
	for _, p := range granted {
		one := contract.Permission{Permission: p.Name, Level: p.Level, Weight: p.Weight, Conditional: p.Conditional, GrantedBy: strings.Join(p.By, ", "),
			Uses: p.Uses, LastUsedAt: maybe(p.LastAt)}
		if used := p.Uses > 0; used || !state.UsedTruncated {
			one.Used = &used
		}
		out.Permissions = append(out.Permissions, one)
	}
	slices.SortFunc(out.Permissions, func(a, b contract.Permission) int {
		if c := cmp.Compare(b.Weight, a.Weight); c != 0 {
			return c
		}
		return strings.Compare(a.Permission, b.Permission)
	})
	if len(out.Permissions) > manyPermissions {
		out.Permissions, out.Truncated = out.Permissions[:manyPermissions], true
	}
	return nil
}
