package hostile

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/leastwise/leastwise/processor/record"
)

func TestNoCellOfATableIsAFormula(t *testing.T) {
	s := running(t)
	cookie, _ := s.signedIn(t, texts[5])
	paths := []string{"/v1/credentials?owner=*", "/v1/identities", "/v1/duties?owner=*", "/v1/exceptions", "/v1/policies", "/v1/sources", "/v1/dead-letters", "/v1/audit"}
	for _, text := range texts {
		paths = append(paths, "/v1/credential/events?key="+url.QueryEscape(keyOf(text)))
	}
	apostrophes := 0
	for _, path := range paths {
		rows, err := csv.NewReader(strings.NewReader(s.get(t, cookie, path, "text/csv"))).ReadAll()
		if err != nil || len(rows) < 2 {
			t.Errorf("%.80s: %d rows, %v", path, len(rows), err)
		}
		for _, row := range rows {
			for _, cell := range row {
				if strings.HasPrefix(cell, "'") {
					apostrophes++
				}
				// What a spreadsheet begins a formula with, also after what it skips.
				if begin := strings.TrimLeft(cell, " \t\r\n\x00\u00a0\ufeff\u200b\u202e\u202c\u2066"); begin != "" && strings.ContainsRune("=+-@＝＋－＠|%", rune(begin[0])) && !number(begin) {
					t.Errorf("%.80s: cell %.100q", path, cell)
				}
			}
		}
	}
	if apostrophes < 4 {
		t.Errorf("%d cells were made harmless: the fleet's formulas are not among them", apostrophes)
	}
}

func number(text string) bool { return strings.Trim(text, "-0123456789.eE+") == "" }

func TestATerminalIsSentNoControlCharacters(t *testing.T) {
	s := running(t)
	for _, text := range texts {
		graph, subject, err := record.Who(t.Context(), s.db, keyOf(text))
		if err != nil {
			t.Errorf("%.60q: %v", text, err)
			continue
		}
		var out bytes.Buffer
		if err := graph.Describe(&out, subject); err != nil {
			t.Errorf("%.60q: %v", text, err)
		}
		if r := acting(out.String()); r != "" {
			t.Errorf("%.60q: who prints %s in %.300q", text, r, out.String())
		}
	}
}

// acting names the first rune that a terminal obeys, or that turns the text around it.
func acting(text string) string {
	for _, r := range text {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp)) {
			return fmt.Sprintf("the rune %U", r)
		}
	}
	return ""
}

func TestNoMessageMentionsLinksOrTurnsAround(t *testing.T) {
	s := running(t)
	for name, want := range map[string]int{"/webhook": owned, "/chat": owned} {
		deadline := time.Now().Add(patience)
		for len(s.messages(name)) < want && time.Now().Before(deadline) {
			time.Sleep(50 * time.Millisecond)
		}
		got := s.messages(name)
		if len(got) < want {
			t.Fatalf("%s was told %d times, expected %d", name, len(got), want)
		}
		for _, message := range got {
			// In JSON a control character would be escaped.
			for _, bad := range []string{"<", ">", "](", "`", "@everyone", "\\u001b", "\\u0000", "\\u202e", "\\u003c", "\\u0007"} {
				if strings.Contains(message, bad) {
					t.Errorf("%s: %q in %.600q", name, bad, message)
				}
			}
			if r := acting(message); r != "" {
				t.Errorf("%s: %s in %.600q", name, r, message)
			}
			if len(message) > 20_000 {
				t.Errorf("%s: a message of %d bytes", name, len(message))
			}
		}
	}
}

func (s *site) messages(channel string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.told[channel]...)
}
