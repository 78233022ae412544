package view

import "testing"

func TestLengthsAreSaidAsPeopleSayThem(t *testing.T) {
	for text, want := range map[string]string{"4500ms": "4.5 seconds", "90d": "90 days", "1h": "1 hour", "168h": "7 days", "36h": "1 day 12 hours", "1h30m": "1 hour 30 minutes",
		"1d12h": "1 day 12 hours", "61s": "1 minute 1 second", "80%": "80%", "12": "12", "never ends": "never ends", "": "", "5 d": "5 d", "9999999999d": "9999999999d"} {
		if got := plain(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestGuardsAreSaidInWords(t *testing.T) {
	for text, want := range map[string]string{
		"":                                  "",
		"kill_switch: switched on by guard": "everything is stopped by the kill switch (guard switched it on)",
		"approval: waiting for two people to approve ladder l-1":                  "two people have to approve it",
		"approval: ann approved ladder l-1, waiting for one more person":          "ann approved it, and one more person has to",
		"budget: 20 of 20 this hour (20/h 5%); told: the owner could not be told": "as much as may be revoked within the hour was revoked (20 of 20 this hour (20/h 5%)); its owner could not be told",
		"target: timeout; twice":     "the issuer can not be asked now (timeout; twice)",
		"something nobody knows yet": "something nobody knows yet",
	} {
		if got := waiting(text); got != want {
			t.Errorf("%q:\n %q, want\n %q", text, got, want)
		}
	}
}
