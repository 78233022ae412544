package scan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand"
	"slices"
	"testing"
)

func TestRowsComeSortedFromMemoryAndDisk(t *testing.T) {
	for name, most := range map[string]int{"memory": 1 << 20, "disk": 2000, "a run for each": 1} {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewSource(1))
			r := newRows[Link](most)
			defer r.close()
			var want []Link
			for range 1000 {
				l := Link{From: fmt.Sprint(rng.Intn(300)), To: fmt.Sprintf("<%d>", rng.Intn(5))}
				want = append(want, l)
				if err := r.add(l.From, &l); err != nil {
					t.Fatal(err)
				}
			}
			slices.SortFunc(want, func(a, b Link) int {
				if a.From == b.From {
					return bytes.Compare([]byte(a.To), []byte(b.To))
				}
				return bytes.Compare([]byte(a.From), []byte(b.From))
			})
			for range 2 { // it can be read again
				var got []Link
				for _, l := range r.all() {
					got = append(got, l)
				}
				if r.err != nil || !slices.Equal(got, want) {
					t.Fatalf("%d rows of %d, error %v", len(got), len(want), r.err)
				}
			}
			for n := range r.all() { // and left early
				if n == 3 {
					break
				}
			}
			var text bytes.Buffer
			if err := r.writeTo(&text); err != nil || r.err != nil {
				t.Fatal(err, r.err)
			}
			var printed []Link
			if err := json.Unmarshal(text.Bytes(), &printed); err != nil || !slices.Equal(printed, want) {
				t.Errorf("printed %d rows of %d, error %v", len(printed), len(want), err)
			}
			if name != "memory" && len(r.runs) < 10 {
				t.Errorf("%d runs on disk", len(r.runs))
			}
		})
	}
}

func TestAnEmptyListIsPrintedAsOne(t *testing.T) {
	var out bytes.Buffer
	if err := newRows[Link](10).writeTo(&out); err != nil || out.String() != "[]" {
		t.Errorf("%q %v", out.String(), err)
	}
}

func TestAListThatCanNotBeReadIsAnError(t *testing.T) {
	r := newRows[Link](1)
	for n := range 3 {
		if err := r.add(fmt.Sprint(n), &Link{}); err != nil {
			t.Fatal(err)
		}
	}
	r.runs[1].file.Close() // the disk is gone
	if err := r.writeTo(&bytes.Buffer{}); err == nil {
		t.Error("no error")
	}
	for range r.all() {
		t.Error("a row")
	}
	if r.err == nil {
		t.Error("no error")
	}
}
