package scan

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func packed(t *testing.T, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestArchivesAreReadThrough(t *testing.T) {
	files := map[string][]byte{"a.log": []byte("one"), "deep/b.log.gz": packed(t, "two"), ".hidden": []byte("no")}
	var tarred, zipped bytes.Buffer
	tw, zw := tar.NewWriter(&tarred), zip.NewWriter(&zipped)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := tw.WriteHeader(&tar.Header{Name: name, Size: int64(len(files[name])), Mode: 0o600, Format: tar.FormatUSTAR}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write(files[name]); err != nil {
			t.Fatal(err)
		}
		w, err := zw.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(files[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tw.Close(), zw.Close()); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"/a.log": "one", "/deep/b.log.gz": "two"}
	for name, content := range map[string][]byte{"x.tar": tarred.Bytes(), "x.tar.gz": packed(t, tarred.String()), "x.zip": zipped.Bytes(),
		"plain": []byte("one"), "packed": packed(t, "one")} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		err := each(path, func(name string, r io.Reader) error {
			text, err := io.ReadAll(r)
			got[strings.TrimPrefix(name, path)] = string(text)
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !strings.HasPrefix(name, "x.") {
			want := map[string]string{"": "one"}
			if !maps.Equal(got, want) {
				t.Errorf("%s: %v", name, got)
			}
		} else if !maps.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestReadingAheadGivesTheSameBytesAndTheError(t *testing.T) {
	text := strings.Repeat("0123456789", 200_000)
	broken := errors.New("disk")
	a := readAhead(io.MultiReader(strings.NewReader(text), iotest.ErrReader(broken)))
	got, err := io.ReadAll(iotest.OneByteReader(io.LimitReader(a, 1000)))
	if err != nil || string(got) != text[:1000] {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(a)
	if !errors.Is(err, broken) || string(rest) != text[1000:] {
		t.Errorf("%d bytes, error %v", len(rest), err)
	}
	a.Close()
	half := readAhead(strings.NewReader(text)) // closed before its end: nothing hangs
	if _, err := half.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	half.Close()
}

func TestADamagedFileIsToldAndTheOthersAreRead(t *testing.T) {
	dir := t.TempDir()
	record := `{"time":"2026-05-01T10:00:00Z","type":"request","auth":{"accessor":"a1","policy_results":{"allowed":true}},` +
		`"request":{"id":"r1","operation":"read","path":"secret/data/x","client_token_accessor":"a1"}}` + "\n"
	whole := packed(t, strings.Repeat(record, 10_000))
	for name, content := range map[string][]byte{"a.gz": whole[:len(whole)/2], "b.log": []byte(strings.ReplaceAll(record, "r1", "r2"))} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	warned := 0
	report, err := Run(t.Context(), Options{Paths: []string{dir}, Warn: func(string, ...any) { warned++ }})
	if err != nil {
		t.Fatal(err)
	}
	if report.DeadLetters != 1 || report.Events != 2 || warned == 0 {
		t.Errorf("%d dead letters, %d events, %d warnings", report.DeadLetters, report.Events, warned)
	}
}

func TestAFileCutBetweenTwoRecordsIsTold(t *testing.T) {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	line := `{"time":"2026-05-01T10:00:00Z","type":"request","auth":{"accessor":"a1","policy_results":{"allowed":true}},` +
		`"request":{"id":"r1","operation":"read","path":"secret/data/x","client_token_accessor":"a1"}}` + "\n"
	if _, err := io.WriteString(w, line); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil { // all of the record is there, and the end of the stream is not
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "cut.gz")
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	report, err := Run(t.Context(), Options{Paths: []string{path}, Warn: func(string, ...any) {}})
	if err != nil {
		t.Fatal(err)
	}
	if report.Events != 1 || report.DeadLetters != 1 || report.Records != 2 {
		t.Errorf("%d events, %d dead letters of %d records", report.Events, report.DeadLetters, report.Records)
	}
}
