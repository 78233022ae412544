package motoserver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// BinaryEnv names the environment variable that points at moto_server and overrides every other place.
const BinaryEnv = "LEASTWISE_MOTO"

// ErrNotFound says that moto is not on this machine. The error that wraps it says what to run.
var ErrNotFound = errors.New("no moto_server")

// Find returns the program: what LEASTWISE_MOTO names, else the one on PATH, else the one that `make moto` has installed
// into the user's cache. A LEASTWISE_MOTO that points nowhere is an error and not a reason to look elsewhere.
func Find() (string, error) {
	if path := os.Getenv(BinaryEnv); path != "" {
		if err := executable(path); err != nil {
			return "", fmt.Errorf("%w: %s=%s: %w; correct it, or unset it and run `make moto`", ErrNotFound, BinaryEnv, path, err)
		}
		return path, nil
	}
	if path, err := exec.LookPath("moto_server"); err == nil {
		return path, nil
	}
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("%w on PATH, and no cache directory to look in: %w", ErrNotFound, err)
		}
		cache = filepath.Join(home, ".cache")
	}
	path := filepath.Join(cache, "leastwise", "moto", "bin", "moto_server")
	if executable(path) == nil {
		return path, nil
	}
	return "", fmt.Errorf("%w on PATH nor at %s: run `make moto` (needs python3), or set %s", ErrNotFound, path, BinaryEnv)
}

func executable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return errors.New("no such file")
	}
	if info.IsDir() || info.Mode().Perm()&0o111 == 0 {
		return errors.New("not an executable file")
	}
	return nil
}
