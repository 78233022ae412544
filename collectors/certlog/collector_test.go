package certlog

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/leastwise/leastwise/collectors/collect"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/collectors/sourcetest"
)

func TestEveryEntryOfALogIsPublishedWhateverItsAnswersLength(t *testing.T) {
	ca := newAuthority(t, "CA")
	for _, verify := range []string{VerifySampled, VerifyFull} {
		for _, most := range []int{0, 1, 7} {
			t.Run(fmt.Sprintf("%s, %d at most", verify, most), func(t *testing.T) {
				l := newDynamicLog(t)
				l.add(workloads(ca, 1, 40)...)
				l.set(func(l *dynamicLog) { l.most = most })
				s := newSite(t, verify, l.config())
				s.start()
				s.wait(serials(1, 40)...)
				l.add(workloads(ca, 40, 45)...)
				s.wait(serials(1, 45)...)
				s.waitPosition("dynamic", 44)
				if at := s.state("dynamic"); at.Size != 44 || string(at.Root) != string(l.tree.Hash()) || at.Log != l.logID() {
					t.Errorf("checkpoint %+v", at)
				}
				if alarms := s.alarms(); len(alarms) > 0 {
					t.Errorf("alarms %v", alarms)
				}
				for _, ev := range s.broker.Events() {
					if ev.Labels["log"] != "dynamic" || !strings.HasPrefix(ev.RecordId, l.logID()+":") || !strings.HasPrefix(ev.Position, "dynamic:") {
						t.Errorf("event %v", ev)
					}
				}
			})
		}
	}
}

func TestBatchesBeforeTheEndOfTheTreeAreProvenBeforeTheyArePublished(t *testing.T) {
	ca := newAuthority(t, "CA")
	for verify, method := range map[string]string{VerifySampled: "get-proof-by-hash", VerifyFull: "get-sth-consistency"} {
		l := newDynamicLog(t)
		l.add(workloads(ca, 1, 30)...)
		l.set(func(l *dynamicLog) { l.most = 10 })
		s := newSite(t, verify, l.config())
		stop := s.start()
		s.wait(serials(1, 30)...)
		stop()
		var n int
		l.set(func(l *dynamicLog) { n = l.asked[method] })
		if verify == VerifyFull && n != 2 || verify == VerifySampled && n != 2*samples {
			t.Errorf("%s: %d times %s", verify, n, method)
		}
	}
}

func TestCollectorGoesOnWhereItStoppedAndRepeatsWithoutEffect(t *testing.T) {
	ca := newAuthority(t, "CA")
	l := newDynamicLog(t)
	s := newSite(t, VerifyFull, l.config())
	s.cfg.BatchRecords = 3
	for round := range 4 {
		l.add(workloads(ca, 1+round*10, 11+round*10)...)
		s.broker.Fail(round % 2)
		stop := s.start()
		if round%2 == 0 { // ended in the middle, whatever was committed
			before := len(s.broker.Events())
			sourcetest.Eventually(t, "something is published", func() bool { return len(s.broker.Events()) > before })
		} else {
			s.wait(serials(1, 11+round*10)...)
		}
		stop()
	}
	s.start()
	s.wait(serials(1, 41)...)
	s.waitPosition("dynamic", 40)
	if len(s.broker.Events()) != 40 {
		t.Errorf("%d events, want 40", len(s.broker.Events()))
	}
}

func TestPositionMovesOnlyWhenTheBatchIsCommitted(t *testing.T) {
	l := newDynamicLog(t)
	l.add(workloads(newAuthority(t, "CA"), 1, 10)...)
	s := newSite(t, VerifySampled, l.config())
	read := func(limit int) (records []string, commit func() error, closed func() error) {
		c, err := New(s.cfg, collect.Deps{Stream: s.broker, DataDir: s.dir})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.feed.resume(); err != nil {
			t.Fatal(err)
		}
		_, commit, err = c.feed.Read(t.Context(), limit, time.Minute, func(rec source.Record, _ *source.Malformed) {
			records = append(records, rec.Position)
		})
		if err != nil {
			t.Fatal(err)
		}
		return records, commit, c.feed.Close
	}
	// A batch that was given in part is not remembered, whatever is published of it.
	records, commit, closed := read(4)
	closed()
	if len(records) != 4 || commit != nil || s.state("dynamic") != nil {
		t.Fatalf("%d records, commit %t, state %+v", len(records), commit != nil, s.state("dynamic"))
	}
	records, commit, closed = read(9)
	closed()
	if len(records) != 9 || commit == nil || s.state("dynamic") != nil {
		t.Fatalf("%d records, commit %t, state %+v", len(records), commit != nil, s.state("dynamic"))
	}
	if err := commit(); err != nil || s.state("dynamic").Position != 9 {
		t.Errorf("%v, state %+v", err, s.state("dynamic"))
	}
}

func TestNothingIsLostWhenTheBrokerIsAway(t *testing.T) {
	l := newDynamicLog(t)
	l.add(workloads(newAuthority(t, "CA"), 1, 10)...)
	s := newSite(t, VerifySampled, l.config())
	s.broker.Fail(1 << 30)
	stop := s.start()
	sourcetest.Eventually(t, "entries are read", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.asked["get-entries"] > 0
	})
	stop()
	s.broker.Fail(0)
	s.start()
	s.wait(serials(1, 10)...)
}

func TestReadingFromNowPassesOverWhatIsThereAndProvesItAllTheSame(t *testing.T) {
	ca := newAuthority(t, "CA")
	for _, size := range []int{0, 1, 2, 7, 8, 21} {
		l := newDynamicLog(t)
		l.add(workloads(ca, 1, size+1)...)
		cfg := l.config()
		cfg.Start = StartNow
		s := newSite(t, VerifyFull, cfg)
		stop := s.drive()
		s.waitPosition("dynamic", uint64(size))
		l.add(workloads(ca, 100, 105)...)
		s.wait(serials(100, 105)...)
		s.waitPosition("dynamic", uint64(size)+5)
		stop()
		if alarms := s.alarms(); len(alarms) > 0 {
			t.Errorf("alarms %v", alarms)
		}
	}
}

func TestAlarmStandsAfterARestartAndIsOneEvent(t *testing.T) {
	ca := newAuthority(t, "CA")
	l := newDynamicLog(t)
	l.add(workloads(ca, 1, 5)...)
	s := newSite(t, VerifySampled, l.config())
	stop := s.start()
	s.waitPosition("dynamic", 4)
	stop()
	l.rewrite(workloads(ca, 50, 60)...)
	for range 2 {
		stop := s.start()
		s.waitAlarm(AlarmRewrittenHistory)
		stop()
	}
	if len(s.alarms()) != 1 || !slices.Equal(s.serials(), serials(1, 5)) {
		t.Errorf("alarms %v, certificates %v", s.alarms(), s.serials())
	}
}

func TestLaggingFrontEndIsNoAlarm(t *testing.T) {
	ca := newAuthority(t, "CA")
	l := newDynamicLog(t)
	l.add(workloads(ca, 1, 21)...)
	s := newSite(t, VerifySampled, l.config())
	s.drive()
	s.waitPosition("dynamic", 20)
	asked := 0
	l.set(func(l *dynamicLog) { l.show, l.clock, asked = 10, l.clock-5, l.asked["get-sth"] })
	sourcetest.Eventually(t, "the old head was seen", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.asked["get-sth"] > asked+2 })
	l.set(func(l *dynamicLog) { l.show, l.clock = 0, l.clock+5 })
	l.add(workloads(ca, 21, 25)...)
	s.wait(serials(1, 25)...)
	if len(s.alarms()) != 0 {
		t.Errorf("alarms %v", s.alarms())
	}
}

func TestBusyOrBrokenServerIsTroubleAndNoAlarm(t *testing.T) {
	ca := newAuthority(t, "CA")
	l := newDynamicLog(t)
	l.add(workloads(ca, 1, 5)...)
	code := http.StatusServiceUnavailable
	n := 0
	l.set(func(l *dynamicLog) {
		l.fault = func(w http.ResponseWriter, r *http.Request) bool { n++; http.Error(w, "CANARY", code); return true }
	})
	s := newSite(t, VerifySampled, l.config())
	s.drive()
	for _, now := range []int{http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusNotFound} {
		l.set(func(*dynamicLog) { code, n = now, 0 })
		sourcetest.Eventually(t, "it was asked often", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return n > 2*patience })
		sourcetest.Eventually(t, "the heartbeat says so", func() bool {
			return strings.Contains(s.trouble(), fmt.Sprintf("log dynamic: tree head: GET ct/v1/get-sth: the log answers %d", now))
		})
	}
	if len(s.alarms()) != 0 || strings.Contains(s.trouble(), "CANARY") {
		t.Errorf("alarms %v, trouble %s", s.alarms(), s.trouble())
	}
	l.set((*dynamicLog).honest)
	s.wait(serials(1, 5)...)
}

func TestOldTreeHeadIsTrouble(t *testing.T) {
	l := newDynamicLog(t)
	l.add(workloads(newAuthority(t, "CA"), 1, 5)...)
	l.set(func(l *dynamicLog) { l.clock -= 25 * 3600 * 1000 })
	s := newSite(t, VerifySampled, l.config())
	s.start()
	s.wait(serials(1, 5)...)
	sourcetest.Eventually(t, "the heartbeat says so", func() bool { return strings.Contains(s.trouble(), "its newest tree head is from") })
}

func TestOneLogInTroubleDoesNotStopTheOther(t *testing.T) {
	ca := newAuthority(t, "CA")
	bad, good := newDynamicLog(t), newDynamicLog(t)
	bad.set(func(l *dynamicLog) {
		l.fault = func(w http.ResponseWriter, r *http.Request) bool { http.Error(w, "no", 500); return true }
	})
	good.add(workloads(ca, 1, 40)...)
	good.set(func(l *dynamicLog) { l.most = 3 })
	first, second := bad.config(), good.config()
	second.Name = "good"
	s := newSite(t, VerifySampled, first, second)
	s.start()
	s.wait(serials(1, 40)...)
	sourcetest.Eventually(t, "the heartbeat tells of the other", func() bool { return strings.Contains(s.trouble(), "log dynamic") })
}

func TestRottenEntriesBecomeDeadLettersAndTheTreeIsStillProven(t *testing.T) {
	ca := newAuthority(t, "CA")
	l := newDynamicLog(t)
	rotten := ca.certificate(leafTemplate(77, "spiffe://example.org/x"), testBegin)
	rotten.leaf.TimestampedEntry.X509Entry = &ct.ASN1Cert{Data: []byte("CANARY")}
	l.add(workloads(ca, 1, 4)...)
	l.add(rotten)
	l.add(workloads(ca, 4, 8)...)
	s := newSite(t, VerifyFull, l.config())
	s.start()
	s.wait(serials(1, 8)...)
	letters := s.broker.DeadLetters()
	if len(letters) != 1 {
		t.Fatalf("%d dead letters", len(letters))
	}
	for _, letter := range letters {
		if letter.Position != "dynamic:3" || letter.Reason != "malformed" || strings.Contains(letter.String(), "CANARY") {
			t.Errorf("%v", letter)
		}
	}
	s.waitPosition("dynamic", 8)
}

func TestCheckpointOfAnotherLogOrADamagedOneIsRefused(t *testing.T) {
	l := newDynamicLog(t)
	l.add(workloads(newAuthority(t, "CA"), 1, 5)...)
	s := newSite(t, VerifySampled, l.config())
	stop := s.start()
	s.waitPosition("dynamic", 4)
	stop()
	path := filepath.Join(s.dir, "certlog-default-dynamic.checkpoint.json")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		strings.Replace(string(good), l.logID(), "b3RoZXI=", 1): "another public key",
		"{": "damaged",
		strings.Replace(string(good), `"position": 4`, `"position": 3`, 1):                    "damaged",
		strings.Replace(string(good), `"tree_size": 4`, `"tree_size": 3`, 1):                  "damaged",
		strings.Replace(string(good), `"hashes": [`, `"hashes": ["`+b64([]byte("x"))+`",`, 1): "damaged",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := New(s.cfg, collect.Deps{Stream: s.broker, DataDir: s.dir})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want …%s…", err, want)
		}
	}
}
