package vaultserver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/leastwise/leastwise/simulator/child"
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
		if err := child.Executable(path); err != nil {
			return "", fmt.Errorf("%w: %s: %w; correct it, or unset it and run `make vault`", ErrNotFound, BinaryEnv, err)
		}
		return path, nil
	}
	if path, err := exec.LookPath("vault"); err == nil {
		return path, nil
	}
	cached, err := child.Cache("vault", Version, "vault")
	if err != nil {
		return "", fmt.Errorf("%w on PATH, and %w", ErrNotFound, err)
	}
	if child.Executable(cached) == nil {
		return cached, nil
	}
	return "", fmt.Errorf("%w on PATH nor at %s: run `make vault` (about 5 minutes, once), or set %s", ErrNotFound, cached, BinaryEnv)
}
