package vaultserver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Version is the Vault that `make vault` builds and that the simulator is written against.
const Version = "1.19.0"

// BinaryEnv names the environment variable that points at a Vault binary and overrides every other place.
const BinaryEnv = "LEASTWISE_VAULT"

// ErrNotFound says that there is no Vault binary on this machine. The error that wraps it says what to run.
var ErrNotFound = errors.New("no vault binary")

// Find returns the path of the Vault binary: what LEASTWISE_VAULT names, else `vault` on PATH, else the one that
// `make vault` has built into the user's cache. A LEASTWISE_VAULT that points nowhere is an error and not a reason to
// look elsewhere: whoever sets it wants that binary.
func Find() (string, error) {
	if path := os.Getenv(BinaryEnv); path != "" {
		if err := executable(path); err != nil {
			return "", fmt.Errorf("%w: %s=%s: %w; correct it, or unset it and run `make vault`", ErrNotFound, BinaryEnv, path, err)
		}
		return path, nil
	}
	if path, err := exec.LookPath("vault"); err == nil {
		return path, nil
	}
	cached, err := cachePath()
	if err != nil {
		return "", err
	}
	if executable(cached) == nil {
		return cached, nil
	}
	return "", fmt.Errorf("%w on PATH nor at %s: run `make vault` (about 5 minutes, once), or set %s", ErrNotFound, cached, BinaryEnv)
}

// cachePath is where `make vault` puts the binary: by the same rule on every system, as its script has it.
func cachePath() (string, error) {
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("%w on PATH, and no cache directory to look in: %w", ErrNotFound, err)
		}
		cache = filepath.Join(home, ".cache")
	}
	return filepath.Join(cache, "leastwise", "vault", Version, "vault"), nil
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
