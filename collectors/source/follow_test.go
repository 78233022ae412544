package source

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// site is a folder with a log, a writer and a follower of it.
type site struct {
	t     *testing.T
	dir   string
	log   string
	check string
	f     *Follower
	got   []string
	clock time.Time
}

func newSite(t *testing.T) *site {
	dir := t.TempDir()
	return &site{t: t, dir: dir, log: filepath.Join(dir, "audit.log"), check: filepath.Join(dir, "state", "cp.json"), clock: time.Now().Add(-time.Hour)}
}

func (s *site) start(backlog bool) {
	s.t.Helper()
	f, err := NewFollower(FollowConfig{Path: s.log, Checkpoint: s.check, Backlog: backlog, Poll: time.Millisecond})
	if err != nil {
		s.t.Fatal(err)
	}
	s.f = f
	s.t.Cleanup(func() { f.Close() })
}

// write appends, and gives the file a time after all before, as if time had passed.
func (s *site) write(text string) {
	s.t.Helper()
	file, err := os.OpenFile(s.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := file.WriteString(text); err != nil {
		s.t.Fatal(err)
	}
	file.Close()
	s.touch(s.log)
}

func (s *site) touch(path string) {
	s.clock = s.clock.Add(time.Second)
	if err := os.Chtimes(path, s.clock, s.clock); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) rename(to string) {
	s.t.Helper()
	if err := os.Rename(s.log, s.log+to); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) pack(name string) {
	s.t.Helper()
	text, err := os.ReadFile(s.log + name)
	if err != nil {
		s.t.Fatal(err)
	}
	info, _ := os.Stat(s.log + name)
	var packed bytes.Buffer
	for _, part := range [][]byte{text[:len(text)/2], text[len(text)/2:]} { // two members
		w := gzip.NewWriter(&packed)
		w.Write(part)
		w.Close()
	}
	if err := os.WriteFile(s.log+name+".gz", packed.Bytes(), 0o600); err != nil {
		s.t.Fatal(err)
	}
	os.Chtimes(s.log+name+".gz", info.ModTime(), info.ModTime())
	os.Remove(s.log + name)
}

// read takes what there is; commit after each batch of at most limit.
func (s *site) read(limit int) {
	s.t.Helper()
	for {
		n, err := s.f.Read(context.Background(), limit, 5*time.Millisecond, func(line Line, position string) {
			if !strings.HasPrefix(position, s.log) {
				s.t.Errorf("position %s", position)
			}
			s.got = append(s.got, string(line.Bytes))
		})
		if err != nil {
			s.t.Fatal(err)
		}
		if n == 0 {
			return
		}
		if err := s.f.Mark()(); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *site) want(lines ...string) {
	s.t.Helper()
	if !slices.Equal(s.got, lines) {
		s.t.Errorf("read %q\nwant %q", s.got, lines)
	}
	if s.f.Gaps() != 0 {
		s.t.Errorf("%d gaps", s.f.Gaps())
	}
}

func TestFollowWaitsForTheLogAndForTheEndOfALine(t *testing.T) {
	s := newSite(t)
	s.start(false)
	s.read(10)
	s.write("a\nb")
	s.read(10)
	s.want("a")
	s.write("c\n")
	s.read(10)
	s.want("a", "bc")
}

func TestFollowThroughRenameAndCreate(t *testing.T) {
	s := newSite(t)
	s.write("a\n")
	s.start(false)
	s.read(10)
	s.write("b\n")
	s.rename(".1")
	s.read(10) // nothing has the name: the writer may still hold the old file
	old, err := os.OpenFile(s.log+".1", os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	s.write("") // created, still empty
	s.read(10)
	old.WriteString("c\nunfinished")
	old.Close()
	s.touch(s.log + ".1")
	s.write("d\n")
	s.read(10)
	s.want("a", "b", "c", "unfinished", "d")
}

func TestFollowThroughCopyAndTruncate(t *testing.T) {
	s := newSite(t)
	s.write("a\nb\n")
	s.start(false)
	s.read(10)
	s.write("c\n")
	text, _ := os.ReadFile(s.log)
	os.WriteFile(s.log+".1", text, 0o600)
	s.touch(s.log + ".1")
	os.Truncate(s.log, 0)
	s.write("d\ne\nf\ng\nh\n") // already longer than what was read
	s.read(10)
	s.want("a", "b", "c", "d", "e", "f", "g", "h")
}

func TestRestartReadsOnWhereItWasCommitted(t *testing.T) {
	for name, rotate := range map[string]func(s *site){
		"same file":       func(s *site) {},
		"rotated":         func(s *site) { s.rename(".1"); s.write("d\n") },
		"rotated, no new": func(s *site) { s.rename(".1") },
		"rotated, packed": func(s *site) { s.rename(".1"); s.write("d\n"); s.pack(".1") },
		"rotated twice":   func(s *site) { s.rename(".2"); s.write("d\n"); s.rename(".1"); s.write("e\n") },
		"three, two packs": func(s *site) {
			s.rename("-20260101")
			s.pack("-20260101")
			s.write("d\n")
			s.rename("-20260102")
			s.pack("-20260102")
			s.write("e\n")
		},
		"copy, truncate": func(s *site) {
			text, _ := os.ReadFile(s.log)
			os.WriteFile(s.log+".1", text, 0o600)
			s.touch(s.log + ".1")
			os.Truncate(s.log, 0)
			s.write("d\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.write("before the beginning\n")
			s.rename(".9")
			s.write("a\nb\n")
			s.start(false)
			s.read(1)
			s.want("a", "b")
			s.write("c\n")
			// Read but not committed: a crash.
			s.f.Read(context.Background(), 10, 0, func(Line, string) {})
			s.f.Close()
			rotate(s)
			s.start(false)
			s.read(2)
			want := []string{"a", "b", "c"}
			for _, file := range []string{"d", "e"} {
				for _, entry := range must(os.ReadDir(s.dir)) {
					if text := s.unpacked(entry.Name()); strings.Contains(text, file+"\n") {
						want = append(want, file)
						break
					}
				}
			}
			s.want(want...)
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (s *site) unpacked(name string) string {
	file, err := Open(filepath.Join(s.dir, name))
	if err != nil {
		return ""
	}
	defer file.Close()
	var text bytes.Buffer
	text.ReadFrom(file)
	return text.String()
}

func TestBacklogReadsRotatedFilesOldestFirst(t *testing.T) {
	s := newSite(t)
	s.write("a\n")
	s.rename(".2")
	s.pack(".2")
	s.write("b\n")
	s.rename(".1")
	s.write("c\n")
	os.WriteFile(s.log+".bak", []byte("no rotation\n"), 0o600)
	s.start(true)
	s.read(10)
	s.want("a", "b", "c")
}

func TestRemovedLogIsAGapAndReadingGoesOn(t *testing.T) {
	s := newSite(t)
	s.write("a\n")
	s.start(false)
	s.read(10)
	s.f.Close()
	os.Remove(s.log)
	s.write("something longer than before\n")
	s.start(false)
	s.read(10)
	if !slices.Equal(s.got, []string{"a", "something longer than before"}) || s.f.Gaps() != 1 {
		t.Errorf("read %q, %d gaps", s.got, s.f.Gaps())
	}
}

func TestDamagedCheckpointIsRefusedWithAdvice(t *testing.T) {
	s := newSite(t)
	os.MkdirAll(filepath.Dir(s.check), 0o700)
	os.WriteFile(s.check, []byte("{"), 0o600)
	if _, err := NewFollower(FollowConfig{Path: s.log, Checkpoint: s.check}); err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("error %v", err)
	}
}

// TestNothingIsLostWhateverHappens plays random histories of writing, rotating, packing, committing and crashing.
func TestNothingIsLostWhateverHappens(t *testing.T) {
	for seed := range int64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { playHistory(t, seed) })
	}
}

func playHistory(t *testing.T, seed int64) {
	s := newSite(t)
	next := rngFrom(seed)
	s.start(false)
	seen := map[string]bool{}
	written, rotations := 0, 0
	for range 60 {
		switch next(7) {
		case 0, 1, 2:
			for range 1 + next(5) {
				s.write(fmt.Sprintf("line %d of %d%s\n", written, seed, strings.Repeat(".", next(2000))))
				written++
			}
		case 3: // rename and create
			if info, err := os.Stat(s.log); err == nil && info.Size() > 0 {
				rotations++
				s.rename(fmt.Sprintf("-%04d", rotations))
				if next(2) == 0 {
					s.pack(fmt.Sprintf("-%04d", rotations))
				}
			}
		case 4: // a crash: what was not committed comes again
			s.f.Close()
			s.start(false)
		default:
			_, err := s.f.Read(context.Background(), 1+next(6), 0, func(line Line, _ string) { seen[strings.TrimRight(string(line.Bytes), ".")] = true })
			if err != nil {
				t.Fatal(err)
			}
			if next(3) > 0 {
				if err := s.f.Mark()(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	s.write("the end\n")
	for range 100 {
		if n, err := s.f.Read(context.Background(), 50, 5*time.Millisecond, func(line Line, _ string) { seen[strings.TrimRight(string(line.Bytes), ".")] = true }); err != nil {
			t.Fatal(err)
		} else if n == 0 {
			break
		}
	}
	for i := range written {
		if !seen[fmt.Sprintf("line %d of %d", i, seed)] {
			t.Fatalf("line %d of %d lost after %d rotations", i, written, rotations)
		}
	}
}

func rngFrom(seed int64) func(int) int {
	state := uint64(seed)*2862933555777941757 + 3037000493
	return func(n int) int {
		state = state*6364136223846793005 + 1442695040888963407
		return int(state>>33) % n
	}
}
