package motoserver

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFindLooksInItsPlacesInOrderAndSaysWhatToRun(t *testing.T) {
	t.Setenv(BinaryEnv, "")
	t.Setenv("PATH", t.TempDir())
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	if _, err := Find(); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "make moto") {
		t.Errorf("error %v", err)
	}
	place := func(path string) string {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cached := place(filepath.Join(cache, "leastwise", "moto", "bin", "moto_server"))
	if found, err := Find(); err != nil || found != cached {
		t.Errorf("%s, %v", found, err)
	}
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	onPath := place(filepath.Join(dir, "moto_server"))
	if found, err := Find(); err != nil || found != onPath {
		t.Errorf("%s, %v", found, err)
	}
	t.Setenv(BinaryEnv, filepath.Join(dir, "none"))
	if _, err := Find(); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), BinaryEnv) {
		t.Errorf("error %v", err)
	}
}
