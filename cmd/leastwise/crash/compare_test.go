package crash

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
	"github.com/leastwise/leastwise/simulator/fleet"
)

func TestRowsThatAreMissingRepeatedOrStrangeAreDifferences(t *testing.T) {
	want := map[string]int{"a": 1, "b": 2}
	for name, c := range map[string]struct {
		got  map[string]int
		text string
	}{
		"equal":    {map[string]int{"a": 1, "b": 2}, ""},
		"missing":  {map[string]int{"a": 1, "b": 1}, "of 3 1 are missing, 0 are there once more, and 0 others"},
		"repeated": {map[string]int{"a": 3, "b": 2}, "of 3 0 are missing, 2 are there once more, and 0 others"},
		"strange":  {map[string]int{"a": 1, "b": 2, "c": 4}, "of 3 0 are missing, 0 are there once more, and 4 others"},
	} {
		var d differences
		counts(&d, "rows", want, c.got)
		if got := strings.Join(d.list, "\n"); (c.text == "") != (got == "") || !strings.Contains(got, c.text) {
			t.Errorf("%s: %q, want %q", name, got, c.text)
		}
	}
}

func TestOnlyTimesOfACallsTwoLinesMayDiffer(t *testing.T) {
	base := &pb.CredentialState{Uses: 3, LastUsedAt: 1e15, AppliedOffset: 4, DecidedAt: 5, DecidedRevision: "x", DecidedPolicies: []string{"p"},
		UsedWindow: &pb.Window{Hours: []*pb.Bucket{{Index: 1, Count: 3}}}}
	for name, c := range map[string]struct {
		change func(s *pb.CredentialState)
		same   bool
	}{
		"offset and time of decision": {func(s *pb.CredentialState) { s.AppliedOffset, s.DecidedAt, s.DecidedRevision = 9, 9, "y" }, true},
		"the other line's time":       {func(s *pb.CredentialState) { s.LastUsedAt += int64(180 * time.Microsecond) }, true},
		"another call's time":         {func(s *pb.CredentialState) { s.LastUsedAt += int64(2 * time.Millisecond) }, false},
		"a use":                       {func(s *pb.CredentialState) { s.Uses++ }, false},
		"a window":                    {func(s *pb.CredentialState) { s.UsedWindow.Hours[0].Count++ }, false},
		"a policy":                    {func(s *pb.CredentialState) { s.DecidedPolicies = nil }, false},
	} {
		other := proto.CloneOf(base)
		c.change(other)
		if a, b := alike(other, base); proto.Equal(a, b) != c.same {
			t.Errorf("%s: equal %t, want %t", name, !c.same, c.same)
		}
	}
}

// One credential that has to be revoked, one that violates and was ended by its holder, one that violates nothing.
func ladderWorld(t *testing.T) (*history, *issuer, *snapshot) {
	t.Helper()
	h := &history{tokens: map[string]*fleet.AuditCredential{"bad": {DeniedPermissions: threshold}, "ended": {DeniedPermissions: threshold, Ended: "revoked"},
		"good": {}}, keys: []string{"bad", "ended", "good"}}
	at := &issuer{tokens: map[string]*holding{"bad": {}, "ended": {}, "good": {}}, reissued: map[string]int{}, heard: map[int]time.Time{}, faults: map[string]int{}}
	at.take(opTell, ask{Credential: "bad", RevokeAt: time.Now().Add(-time.Second)})
	at.take(opRevoke, ask{Credential: "bad"})
	entry := func(key string, state pb.LadderState_State, step uint64) *pb.LadderState {
		return &pb.LadderState{Credential: key, LadderId: "l-" + key, State: state, Step: step}
	}
	s := &snapshot{recorded: 6, entries: 6, journal: map[string][]*pb.LadderState{
		"bad": {entry("bad", pb.LadderState_NOTIFIED, 1), entry("bad", pb.LadderState_REVOKE_INTENDED, 2), entry("bad", pb.LadderState_REVOKED, 3),
			entry("bad", pb.LadderState_CLOSED, 4)},
		"ended": {entry("ended", pb.LadderState_VIOLATED, 1), entry("ended", pb.LadderState_RESOLVED, 2)},
	}}
	return h, at, s
}

func TestLaddersThatAreLostRepeatedOrTooEarlyAreDifferences(t *testing.T) {
	for name, c := range map[string]struct {
		harm func(at *issuer, s *snapshot)
		text string // empty: no difference
	}{
		"as it should be": {func(*issuer, *snapshot) {}, ""},
		"revoked twice":   {func(at *issuer, _ *snapshot) { at.take(opRevoke, ask{Credential: "bad"}) }, "was revoked 2 times"},
		"forgotten":       {func(at *issuer, _ *snapshot) { at.tokens["bad"].revokes = 0 }, "had to be revoked and was not"},
		"innocent":        {func(at *issuer, _ *snapshot) { at.tokens["good"].revokes = 1 }, "violates nothing"},
		"untold":          {func(at *issuer, _ *snapshot) { at.take(opRevoke, ask{Credential: "ended"}) }, "its owner was not told"},
		"early": {func(at *issuer, _ *snapshot) {
			at.take(opTell, ask{Credential: "ended", RevokeAt: time.Now().Add(time.Hour)})
			at.take(opRevoke, ask{Credential: "ended"})
		}, "before the time its owner was told"},
		"no result":  {func(_ *issuer, s *snapshot) { s.journal["bad"] = s.journal["bad"][:2]; s.entries, s.recorded = 4, 4 }, "an intent without a result"},
		"no intent":  {func(_ *issuer, s *snapshot) { s.journal["bad"][1].State = pb.LadderState_REMINDED }, "REVOKED without an intent"},
		"two owners": {func(_ *issuer, s *snapshot) { s.journal["bad"][3].Step = 3 }, "entry 4 of the journal has step 3"},
		"stuck":      {func(_ *issuer, s *snapshot) { s.journal["ended"][1].State = pb.LadderState_HELD }, "has not come to its end"},
		"unrecorded": {func(_ *issuer, s *snapshot) { s.recorded-- }, "the journal has 6 entries and ClickHouse 5"},
		"not given back": {func(_ *issuer, s *snapshot) { s.journal["bad"][3].Reissue = &pb.Reissue{PolicyName: "p"} },
			"the journal says re-issued, the issuer does not"},
	} {
		t.Run(name, func(t *testing.T) {
			h, at, s := ladderWorld(t)
			c.harm(at, s)
			var d differences
			h.checkLadders(&d, "run", s, at)
			if got := strings.Join(d.list, "\n"); (c.text == "") != (got == "") || !strings.Contains(got, c.text) {
				t.Errorf("%q, want %q", got, c.text)
			}
		})
	}
}
