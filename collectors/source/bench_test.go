package source

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func BenchmarkFollow(b *testing.B) {
	log := filepath.Join(b.TempDir(), "audit.log")
	const lines = 10_000
	if err := os.WriteFile(log, bytes.Repeat(append(bytes.Repeat([]byte{'x'}, 1500), '\n'), lines), 0o600); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(1501)
	b.ReportAllocs()
	for n := 0; n < b.N; n += lines {
		f, err := NewFollower(FollowConfig{Path: log})
		if err != nil {
			b.Fatal(err)
		}
		if got, err := f.Read(b.Context(), lines, time.Second, func(Line, string) {}); got != lines || err != nil {
			b.Fatal(got, err)
		}
		f.Close()
	}
}
