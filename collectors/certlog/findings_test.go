package certlog

import (
	"slices"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/collectors/sourcetest"
	"github.com/leastwise/leastwise/schemas"
	"github.com/leastwise/leastwise/schemas/leastwisev1"
)

// finding is the newest word on one of the log.
func (s *site) finding(kind string) *leastwisev1.Finding {
	return s.broker.Facts()["finding/certlog/default/"+kind+"/dynamic"].GetFinding()
}

func TestAnAlarmIsAFindingUntilTheLogAnswersAsItShould(t *testing.T) {
	ca := newAuthority(t, "CA")
	l := newDynamicLog(t)
	first := workloads(ca, 1, 5)
	l.add(first...)
	s := newSite(t, VerifySampled, l.config())
	stop := s.start()
	s.waitPosition("dynamic", 4)
	stop()
	if f := s.finding(schemas.FindingLogRewrittenHistory); f != nil {
		t.Fatalf("a log that is well: %v", f)
	}
	l.rewrite(workloads(ca, 50, 60)...)
	var since string
	for range 2 { // the second collector knows of it by its own file alone
		stop = s.start()
		s.waitAlarm(AlarmRewrittenHistory)
		sourcetest.Eventually(t, "the finding stands", func() bool { return s.finding(schemas.FindingLogRewrittenHistory).GetStanding() })
		stop()
		f := s.finding(schemas.FindingLogRewrittenHistory)
		text := f.Detail + strings.Join(f.Evidence, "\n")
		for _, want := range []string{"log dynamic", "does not continue", "Keep both tree heads", "10 entries, root ", "proven before: 4 entries", "entry 4"} {
			if !strings.Contains(text, want) {
				t.Errorf("it does not tell %q:\n%s", want, text)
			}
		}
		if since != "" && since != f.Since.String() {
			t.Errorf("it began at %s, and after a restart at %s", since, f.Since)
		}
		since = f.Since.String()
	}
	l.rewrite(first...) // while no collector looks
	l.add(workloads(ca, 5, 9)...)
	stop = s.start()
	s.wait(serials(1, 9)...)
	sourcetest.Eventually(t, "the finding stands no more", func() bool { return !s.finding(schemas.FindingLogRewrittenHistory).GetStanding() })
	stop()
}

func TestEveryAlarmHasAFindingOfAKnownKindAndAdvice(t *testing.T) {
	for _, kind := range alarms {
		f := (&Alarm{Kind: kind, Detail: "because"}).found("argon")
		if !slices.Contains(schemas.FindingKinds(), f.Kind) || f.Subject != "argon" || len(findings[kind].advice) < 20 {
			t.Errorf("%s: %+v", kind, f)
		}
	}
}
