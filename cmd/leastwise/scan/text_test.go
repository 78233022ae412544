package scan

import (
	"strings"
	"testing"
	"time"
)

// The recorded attack is of 2020: all that it tells of has ended, and is told all the same.
func TestTextTellsOfUsedCredentialsThatHaveEnded(t *testing.T) {
	report, err := Run(t.Context(), Options{Paths: []string{recorded + "cloudtrail/testdata/stolen-instance-credential.jsonl"},
		AsOf: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Warn: func(string, ...any) {}})
	if err != nil {
		t.Fatal(err)
	}
	defer report.Close()
	var text strings.Builder
	if err := report.Text(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"FINDINGS: no policies were given",
		"USED, ENDED OR OF UNKNOWN LIFETIME: 2, most used first",
		"session/ASIA5FLZVX4OI4ZDQJOL  lifetime unknown, 87 uses",
		"session/ASIA5FLZVX4OPVKKVBMX  expired, 11 uses",
		"role/MordorNginxStack-BankingWAFRole",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the report does not say %q:\n%s", want, text.String())
		}
	}
	if unused := "ASIA5FLZVX4OK6HMTKWY"; strings.Contains(text.String(), unused) {
		t.Errorf("the report lists %s, which ended unused:\n%s", unused, text.String())
	}
}
