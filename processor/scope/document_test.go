package scope

import (
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/leastwise/leastwise/processor/scope/level"
)

func TestTheWeightsAreThoseOfTheDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/scope.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]float64{}
	for _, row := range regexp.MustCompile(`(?m)^\| ([a-z ]+) \| (\d+) \|$`).FindAllStringSubmatch(string(text), -1) {
		if told[row[1]], err = strconv.ParseFloat(row[2], 64); err != nil {
			t.Fatal(err)
		}
	}
	for l := range level.Levels {
		if told[l.String()] != l.Weight() {
			t.Errorf("%s weighs %v, the document says %v", l, l.Weight(), told[l.String()])
		}
		delete(told, l.String())
	}
	if len(told) != 0 {
		t.Errorf("the document weighs what is no level: %v", told)
	}
	if weights["delete"] != 5 || weights["sudo"] != level.Management.Weight() {
		t.Errorf("Vault's weights: %v", weights)
	}
}
