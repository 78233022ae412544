package certlog

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	ct "github.com/google/certificate-transparency-go"
	"github.com/leastwise/leastwise/collectors/sourcetest"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// faults that a log with the RFC 6962 API may have once 20 entries were read and there are 30, and what is noticed.
var faults = map[string]struct {
	verify string
	fault  func(ca *authority, l *dynamicLog)
	alarm  string
	heals  func(l *dynamicLog)
}{
	"a head that is not signed": {VerifySampled, func(ca *authority, l *dynamicLog) {
		l.change = func(answer any) {
			if sth, ok := answer.(*ct.GetSTHResponse); ok {
				sth.TreeHeadSignature[len(sth.TreeHeadSignature)-1] ^= 1
			}
		}
	}, AlarmBadSignature, (*dynamicLog).honest},
	"a head of another tree size than was signed": {VerifySampled, func(ca *authority, l *dynamicLog) {
		l.change = func(answer any) {
			if sth, ok := answer.(*ct.GetSTHResponse); ok {
				sth.TreeSize--
			}
		}
	}, AlarmBadSignature, (*dynamicLog).honest},
	"another history of more entries": {VerifySampled, func(ca *authority, l *dynamicLog) { l.replace(workloads(ca, 500, 530)) }, AlarmRewrittenHistory, nil},
	"another history of as many":      {VerifySampled, func(ca *authority, l *dynamicLog) { l.replace(workloads(ca, 500, 520)) }, AlarmRewrittenHistory, nil},
	"a shrunk tree":                   {VerifySampled, func(ca *authority, l *dynamicLog) { l.show = 15; l.clock += 10 }, AlarmShrunkTree, (*dynamicLog).honest},
	"a stale head of another history": {VerifySampled, func(ca *authority, l *dynamicLog) {
		l.replace(workloads(ca, 500, 530))
		l.show, l.clock = 10, l.clock-1000
	}, AlarmRewrittenHistory, nil},
	"another entry in the last batch": {VerifySampled, func(ca *authority, l *dynamicLog) {
		l.entries[25] = workloads(ca, 999, 1000)[0]
	}, AlarmWrongInclusion, nil},
	"another entry before the last batch, sampled": {VerifySampled, func(ca *authority, l *dynamicLog) {
		l.most, l.entries[20] = 1, workloads(ca, 999, 1000)[0]
		l.fault = proofOf(25) // whichever leaf is asked for
	}, AlarmWrongInclusion, nil},
	"another entry before the last batch, full": {VerifyFull, func(ca *authority, l *dynamicLog) {
		l.most, l.entries[20] = 1, workloads(ca, 999, 1000)[0]
	}, AlarmWrongInclusion, nil},
	"a proof of the wrong hashes": {VerifySampled, func(ca *authority, l *dynamicLog) {
		l.most = 1
		l.change = func(answer any) {
			if proof, ok := answer.(*ct.GetProofByHashResponse); ok {
				proof.AuditPath[0] = bytes.Repeat([]byte{1}, 32)
			}
		}
	}, AlarmWrongInclusion, (*dynamicLog).honest},
	"entries that are withheld": {VerifySampled, func(ca *authority, l *dynamicLog) {
		l.fault = func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "get-entries") {
				http.Error(w, "no", http.StatusNotFound)
			}
			return strings.HasSuffix(r.URL.Path, "get-entries")
		}
	}, AlarmGap, (*dynamicLog).honest},
	"empty answers": {VerifySampled, func(ca *authority, l *dynamicLog) {
		l.change = func(answer any) {
			if entries, ok := answer.(*ct.GetEntriesResponse); ok {
				entries.Entries = nil
			}
		}
	}, AlarmGap, (*dynamicLog).honest},
	"a hole in the entries": {VerifySampled, func(ca *authority, l *dynamicLog) {
		l.change = func(answer any) {
			if entries, ok := answer.(*ct.GetEntriesResponse); ok {
				entries.Entries = entries.Entries[1:]
			}
		}
	}, AlarmWrongInclusion, (*dynamicLog).honest},
	"answers that are no JSON": {VerifySampled, func(ca *authority, l *dynamicLog) {
		l.fault = func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "get-entries") {
				fmt.Fprint(w, `{"entries":[{"leaf_input":"CANARY`)
			}
			return strings.HasSuffix(r.URL.Path, "get-entries")
		}
	}, AlarmGap, (*dynamicLog).honest},
	"proofs that are withheld": {VerifySampled, func(ca *authority, l *dynamicLog) {
		l.fault = func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "get-sth-consistency") {
				http.Error(w, "no", http.StatusBadRequest)
			}
			return strings.HasSuffix(r.URL.Path, "get-sth-consistency")
		}
	}, AlarmUnproven, (*dynamicLog).honest},
}

func (l *dynamicLog) honest() { l.fault, l.change, l.show, l.most = nil, nil, 0, 0 }

// replace is rewrite for who holds the lock.
func (l *dynamicLog) replace(entries []*logged) {
	l.tree, l.entries = newTree(l.t, entries), entries
	l.clock++
}

func TestFaultsOfALogRaiseAnAlarmAndStopReading(t *testing.T) {
	ca := newAuthority(t, "CA")
	for name, c := range faults {
		t.Run(name, func(t *testing.T) {
			l := newDynamicLog(t)
			l.add(workloads(ca, 1, 21)...)
			s := newSite(t, c.verify, l.config())
			stop := s.drive()
			s.waitPosition("dynamic", 20)
			stop()
			if !slices.Equal(s.serials(), serials(1, 21)) || s.trouble() != "" {
				t.Fatalf("before the fault: %v, %s", s.serials(), s.trouble())
			}
			trusted := s.state("dynamic").Root
			l.add(workloads(ca, 21, 31)...)
			l.set(func(l *dynamicLog) { c.fault(ca, l) })
			stop = s.drive()
			s.waitAlarm(c.alarm)
			if !slices.Equal(s.serials(), serials(1, 21)) {
				t.Errorf("entries that are not proven were published: %v", s.serials())
			}
			if at := s.state("dynamic"); at.Position != 20 {
				t.Errorf("the position moved to %d", at.Position)
			}
			for _, ev := range s.events() {
				if ev.Labels["alarm"] != "" && (ev.Kind != leastwisev1.Event_NOTED || ev.Resource != "dynamic" || ev.Labels["trusted_tree_size"] == "" ||
					c.alarm == AlarmRewrittenHistory && ev.Labels["trusted_root_hash"] != b64(trusted)) {
					t.Errorf("event %v", ev)
				}
			}
			if strings.Contains(s.trouble(), "CANARY") {
				t.Errorf("the log's text in %s", s.trouble())
			}
			if c.heals == nil {
				stop()
				return
			}
			l.set(c.heals)
			s.wait(serials(1, 31)...)
			sourcetest.Eventually(t, "trouble is taken back", func() bool { return s.trouble() == "" })
			if len(s.alarms()) != 1 {
				t.Errorf("alarms %v", s.alarms())
			}
			stop()
		})
	}
}
