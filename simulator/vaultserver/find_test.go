package vaultserver

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func touch(t *testing.T, path string, mode os.FileMode) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFindPrefersTheEnvironmentThenPathThenTheCache(t *testing.T) {
	root := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", filepath.Join(root, "cache"))
	t.Setenv("PATH", filepath.Join(root, "bin"))
	t.Setenv(BinaryEnv, "")

	want := touch(t, filepath.Join(root, "cache", "leastwise", "vault", Version, "vault"), 0o755)
	for _, step := range []struct {
		name string
		add  func() string
	}{
		{"cache", func() string { return want }},
		{"PATH", func() string { return touch(t, filepath.Join(root, "bin", "vault"), 0o755) }},
		{"environment", func() string {
			path := touch(t, filepath.Join(root, "elsewhere"), 0o755)
			t.Setenv(BinaryEnv, path)
			return path
		}},
	} {
		want := step.add()
		if got, err := Find(); err != nil || got != want {
			t.Errorf("%s: Find() = %q, %v; want %q", step.name, got, err, want)
		}
	}
}

func TestFindSaysInOneLineWhatToRun(t *testing.T) {
	root := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", root)
	t.Setenv("PATH", root)
	plain := touch(t, filepath.Join(root, "plain"), 0o644)
	for _, env := range []string{"", filepath.Join(root, "missing"), plain} {
		t.Setenv(BinaryEnv, env)
		_, err := Find()
		if !errors.Is(err, ErrNotFound) {
			t.Fatalf("%s=%q: Find() error = %v, want ErrNotFound", BinaryEnv, env, err)
		}
		if text := err.Error(); strings.Contains(text, "\n") || !strings.Contains(text, "make vault") {
			t.Errorf("%s=%q: error does not say in one line what to run: %q", BinaryEnv, env, text)
		}
	}
}
