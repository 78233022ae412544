package crash

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// differences collects what is not as promised.
type differences struct{ list []string }

func (d *differences) add(format string, args ...any) {
	d.list = append(d.list, fmt.Sprintf(format, args...))
}

// counts holds rows by id against how many there must be of each.
func counts[K comparable](d *differences, what string, want, got map[K]int) {
	missing, repeated, strange, total := 0, 0, 0, 0
	for id, n := range want {
		total += n
		missing += max(0, n-got[id])
	}
	for id, n := range got {
		if want[id] == 0 {
			strange += n
		} else {
			repeated += max(0, n-want[id])
		}
	}
	if missing+repeated+strange > 0 {
		d.add("%s: of %d %d are missing, %d are there once more, and %d others are there", what, total, missing, repeated, strange)
	}
}

// checkTruth holds one run against the log that it read.
func (h *history) checkTruth(d *differences, run string, s *snapshot) {
	counts(d, run+": events", h.events, s.events)
	counts(d, run+": malformed lines in the dead letters", h.letters, s.letters)
	for _, key := range h.keys {
		want, got := h.tokens[key], s.states[key]
		if got == nil {
			d.add("%s: %s is not in credentials", run, key)
			continue
		}
		parent := ""
		if want.Parent >= 0 {
			parent = h.keys[want.Parent]
		}
		st := got.state
		if st.Uses != want.Uses || st.Denied != want.Denied || len(st.DeniedPermissions) != want.DeniedPermissions || st.Parent != parent ||
			(st.RevokedAt != 0) != (want.Ended != "") || len(st.Children) != len(h.children[key]) {
			d.add("%s: %s: %d uses, %d denied on %d permissions, revoked %t, %d children, parent %q; the log says %d, %d, %d, %t, %d, %q", run, key,
				st.Uses, st.Denied, len(st.DeniedPermissions), st.RevokedAt != 0, len(st.Children), st.Parent,
				want.Uses, want.Denied, want.DeniedPermissions, want.Ended != "", len(h.children[key]), parent)
		}
	}
}

// checkSame holds the run that was killed against the one that was not.
func checkSame(d *differences, killed, whole *snapshot) {
	counts(d, "events that follow from others", whole.derived, killed.derived)
	if len(killed.states) != len(whole.states) {
		d.add("%d credentials, uninterrupted %d", len(killed.states), len(whole.states))
	}
	for _, key := range slices.Sorted(maps.Keys(whole.states)) {
		want, got := whole.states[key], killed.states[key]
		if got == nil {
			d.add("%s is not in credentials", key)
			continue
		}
		for i, column := range columns {
			if got.columns[i] != want.columns[i] {
				d.add("%s: %s is %s, uninterrupted %s", key, column, got.columns[i], want.columns[i])
			}
		}
		if a, b := alike(got.state, want.state); !proto.Equal(a, b) {
			d.add("%s: state\n    killed        %v\n    uninterrupted %v", key, a, b)
		}
	}
}

// apart is how far a call's two lines may stand apart in this log.
const apart = int64(time.Millisecond)

// alike gives copies of both states without what differs by right: offsets, what was decided when, and which of a
// call's two lines a time is of.
func alike(a, b *pb.CredentialState) (x, y *pb.CredentialState) {
	x, y = proto.CloneOf(a), proto.CloneOf(b)
	for _, s := range []*pb.CredentialState{x, y} {
		s.AppliedOffset, s.DecidedAt, s.DecidedRevision = 0, 0, ""
	}
	times := [][2]*int64{{&x.FirstSeenAt, &y.FirstSeenAt}, {&x.LastSeenAt, &y.LastSeenAt}, {&x.FirstUsedAt, &y.FirstUsedAt},
		{&x.LastUsedAt, &y.LastUsedAt}, {&x.LastDeniedAt, &y.LastDeniedAt}, {&x.AliveAt, &y.AliveAt}, {&x.PoliciesToldAt, &y.PoliciesToldAt},
		{&x.LifetimeToldAt, &y.LifetimeToldAt}, {&x.RevokedAt, &y.RevokedAt}}
	for i := range min(len(x.Used), len(y.Used)) {
		times = append(times, [2]*int64{&x.Used[i].FirstAt, &y.Used[i].FirstAt}, [2]*int64{&x.Used[i].LastAt, &y.Used[i].LastAt})
	}
	for _, t := range times {
		if gap := *t[0] - *t[1]; gap <= apart && gap >= -apart {
			*t[1] = *t[0]
		}
	}
	return x, y
}

// checkLadders holds journal and issuer against what the policies ask for.
func (h *history) checkLadders(d *differences, run string, s *snapshot, at *issuer) (ladders int) {
	revoked, revokable := at.revocations(), h.revokable()
	for _, key := range h.keys {
		violates, alive := h.violates(key)
		switch n := revoked[key]; {
		case n > 1:
			d.add("%s: %s was revoked %d times", run, key, n)
		case n == 1 && !violates:
			d.add("%s: %s was revoked and violates nothing", run, key)
		case n == 0 && revokable[key]:
			d.add("%s: %s had to be revoked and was not; its ladder: %s", run, key, way(s.journal[key]))
		}
		entries := s.journal[key]
		if len(entries) == 0 {
			if violates && alive {
				d.add("%s: %s violates a policy and has no ladder", run, key)
			}
			continue
		}
		ladders++
		h.checkJournal(d, run, key, entries, revoked[key] > 0, at)
	}
	at.mu.Lock()
	for _, wrong := range at.wrong {
		d.add("%s: issuer: %s", run, wrong)
	}
	at.mu.Unlock()
	if s.chain != nil {
		d.add("%s: %v", run, s.chain)
	}
	if s.recorded != uint64(s.entries) {
		d.add("%s: the journal has %d entries and ClickHouse %d of them", run, s.entries, s.recorded)
	}
	return ladders
}

// checkJournal follows one credential's entries: steps without a gap or a repeat, a result for each intent, and an end.
func (h *history) checkJournal(d *differences, run, key string, entries []*pb.LadderState, revoked bool, at *issuer) {
	for i, e := range entries {
		if e.Step != uint64(i+1) {
			d.add("%s: %s: entry %d of the journal has step %d: %s", run, key, i+1, e.Step, way(entries))
			return
		}
		if e.State == pb.LadderState_REVOKED && !intended(entries[:i]) {
			d.add("%s: %s: REVOKED without an intent: %s", run, key, way(entries))
		}
	}
	switch last := entries[len(entries)-1]; {
	case last.State == pb.LadderState_REVOKE_INTENDED:
		d.add("%s: %s: an intent without a result: %s", run, key, way(entries))
	case last.State != pb.LadderState_CLOSED && last.State != pb.LadderState_RESOLVED:
		d.add("%s: %s: the ladder has not come to its end: %s", run, key, way(entries))
	case revoked && last.State != pb.LadderState_CLOSED:
		d.add("%s: %s was revoked at the issuer and its journal does not know: %s", run, key, way(entries))
	case last.State == pb.LadderState_CLOSED && last.Reissue != nil && last.Reissue.PolicyName != "" && at.reissues(last.LadderId) == 0:
		d.add("%s: %s: the journal says re-issued, the issuer does not: %s", run, key, way(entries))
	}
}

func intended(entries []*pb.LadderState) bool {
	return slices.ContainsFunc(entries, func(e *pb.LadderState) bool { return e.State == pb.LadderState_REVOKE_INTENDED })
}

// way names the states of a ladder, one after another.
func way(entries []*pb.LadderState) string {
	if len(entries) == 0 {
		return "none"
	}
	var names []string
	for _, e := range entries {
		name := strings.ToLower(e.State.String())
		if e.Waiting != "" {
			name += " (" + e.Waiting + ")"
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}
