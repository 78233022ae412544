package source

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand"
	"strings"
	"testing"
	"testing/iotest"
)

func readAll(t *testing.T, r io.Reader, limit int) []Line {
	t.Helper()
	var out []Line
	for lines := NewLines(r, limit); ; {
		line, err := lines.Next()
		line.Bytes = bytes.Clone(line.Bytes)
		if errors.Is(err, io.EOF) {
			if line.Partial {
				out = append(out, line)
			}
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, line)
	}
}

func TestLinesKnowTheirOffsets(t *testing.T) {
	const text = "one\r\n\nthree\nfour"
	for name, r := range map[string]io.Reader{"whole": strings.NewReader(text), "bytewise": iotest.OneByteReader(strings.NewReader(text))} {
		got := readAll(t, r, 0)
		want := []Line{{Bytes: []byte("one"), Offset: 0, End: 5}, {Bytes: []byte("three"), Offset: 6, End: 12}, {Bytes: []byte("four"), Offset: 12, End: 16, Partial: true}}
		if len(got) != len(want) {
			t.Fatalf("%s: %d lines, want %d", name, len(got), len(want))
		}
		for i, w := range want {
			if g := got[i]; string(g.Bytes) != string(w.Bytes) || g.Offset != w.Offset || g.End != w.End || g.Partial != w.Partial {
				t.Errorf("%s: line %d is %q %d..%d partial %t", name, i, g.Bytes, g.Offset, g.End, g.Partial)
			}
		}
	}
}

func TestTooLongLineIsHashedAndSkippedInBoundedMemory(t *testing.T) {
	long := strings.Repeat("x", 3<<20)
	text := "before\n" + long + "\nafter\n" + long
	lines := NewLines(strings.NewReader(text), 1000)
	var got []Line
	for {
		line, err := lines.Next()
		if err != nil {
			if line.Partial {
				got = append(got, line)
			}
			break
		}
		line.Bytes = bytes.Clone(line.Bytes)
		got = append(got, line)
	}
	if cap(lines.buf) > 128<<10 {
		t.Errorf("the buffer grew to %d bytes", cap(lines.buf))
	}
	if len(got) != 4 || !got[1].TooLong || got[1].Length != int64(len(long)) || got[1].SHA256 != sha256.Sum256([]byte(long)) ||
		string(got[2].Bytes) != "after" || !got[3].TooLong || !got[3].Partial || got[3].SHA256 != sha256.Sum256([]byte(long)) {
		t.Errorf("got %d lines: %+v", len(got), got)
	}
	if m := got[1].Malformed(); m == nil || m.Reason != ReasonTooLong || m.Length != int64(len(long)) {
		t.Errorf("malformed: %v", m)
	}
}

// growing is a file that is appended to between reads.
type growing struct{ parts []string }

func (g *growing) Read(p []byte) (int, error) {
	if len(g.parts) == 0 || g.parts[0] == "" {
		if len(g.parts) > 0 {
			g.parts = g.parts[1:]
		}
		return 0, io.EOF
	}
	n := copy(p, g.parts[0])
	g.parts[0] = g.parts[0][n:]
	return n, nil
}

func TestHalfWrittenLineIsReadOnWhenItGrows(t *testing.T) {
	lines := NewLines(&growing{[]string{"a\nhal", "f\nb\n", ""}}, 0)
	var got []string
	for range 6 {
		line, err := lines.Next()
		if err == nil {
			got = append(got, string(line.Bytes))
		} else if line.Partial {
			got = append(got, "partial "+string(line.Bytes))
		}
	}
	if text := strings.Join(got, "|"); text != "a|partial hal|half|b" {
		t.Errorf("got %s", text)
	}
}

func TestLinesDoNotDependOnHowTheyAreRead(t *testing.T) {
	rng := rand.New(rand.NewSource(3))
	for range 200 {
		var text []byte
		for range rng.Intn(30) {
			text = append(append(text, bytes.Repeat([]byte{'a' + byte(rng.Intn(26))}, rng.Intn(50))...), '\n')
		}
		limit := 1 + rng.Intn(40)
		one, two := readAll(t, bytes.NewReader(text), limit), readAll(t, iotest.HalfReader(bytes.NewReader(text)), limit)
		if len(one) != len(two) {
			t.Fatalf("%d and %d lines", len(one), len(two))
		}
		for i := range one {
			if !bytes.Equal(one[i].Bytes, two[i].Bytes) || one[i].Offset != two[i].Offset || one[i].End != two[i].End ||
				one[i].TooLong != two[i].TooLong || one[i].SHA256 != two[i].SHA256 {
				t.Fatalf("line %d: %+v and %+v", i, one[i], two[i])
			}
		}
	}
}

func TestDeadLetterShowsTheShapeAndNoText(t *testing.T) {
	text := []byte(`{"auth":{"client_token":"hvs.CANARY","CANARY":12345},"request":{"data":["CANARY\"CANARY"]},CANARY "CANARY`)
	letter := DeadLetter("vault", "default", Record{Bytes: text, Position: "a.log:7"}, &Malformed{Reason: ReasonMalformed, Detail: "why"})
	if want := `{"auth":{"":"","":0},"request":{"data":[""]},?""`; letter.Excerpt != want {
		t.Errorf("excerpt %s\nwant    %s", letter.Excerpt, want)
	}
	sum := sha256.Sum256(text)
	if !bytes.Equal(letter.Sha256, sum[:]) || letter.Length != uint64(len(text)) || letter.Reason != "malformed" || letter.Position != "a.log:7" || len(letter.Id) != 16 {
		t.Errorf("letter %v", letter)
	}
	again := DeadLetter("vault", "default", Record{Bytes: text, Position: "a.log:7"}, &Malformed{Reason: ReasonMalformed})
	other := DeadLetter("vault", "default", Record{Bytes: text, Position: "a.log:9"}, &Malformed{Reason: ReasonMalformed})
	if !bytes.Equal(letter.Id, again.Id) || bytes.Equal(letter.Id, other.Id) {
		t.Error("the id must be made of record and position")
	}
}

func FuzzOutlineHoldsNoText(f *testing.F) {
	f.Add([]byte(`{"time":"x","a":[1,{"b":true}]}`))
	f.Add([]byte("not json \"at all"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if got := outline(text); len(got) > maxExcerpt {
			t.Fatalf("%d bytes", len(got))
		}
		marked := append(append([]byte{}, text...), []byte(`QZX7CANARY"QZX7CANARY`)...)
		if bytes.Contains([]byte(outline(marked)), []byte("QZX7")) {
			t.Fatalf("text of the record in %s", outline(marked))
		}
	})
}
