package crash

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

func TestTheFedLogHasEveryByteOnceAndIsRotatedAtLineEnds(t *testing.T) {
	dir := t.TempDir()
	whole, path := filepath.Join(dir, "whole.log"), filepath.Join(dir, "audit.log")
	h, err := write(whole, 3)
	if err != nil {
		t.Fatal(err)
	}
	ended := map[string]bool{}
	f := &feeder{whole: whole, path: path, size: h.size, rand: rand.New(rand.NewPCG(1, 2)),
		ended: func(accessor []byte) { ended[keyOf(string(accessor))] = true }}
	f.goOn(1, 0)
	f.rotate()
	if err := f.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	var fed []byte
	old, err := filepath.Glob(path + ".*")
	if err != nil || len(old) == 0 {
		t.Fatalf("rotated files: %v %v", old, err)
	}
	for n := len(old); n >= 0; n-- {
		name := path
		if n > 0 {
			name = fmt.Sprintf("%s.%d", path, n)
		}
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(raw) > 0 && raw[len(raw)-1] != '\n' {
			t.Errorf("%s ends inside a line", name)
		}
		fed = append(fed, raw...)
	}
	want, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(fed, want) {
		t.Errorf("%d bytes were fed, the log has %d, and they differ", len(fed), len(want))
	}
	for key, c := range h.tokens {
		if (c.Ended == "revoked") != ended[key] {
			t.Errorf("%s: ended %q, and the issuer was told: %t", key, c.Ended, ended[key])
		}
	}
}
