package motoserver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/leastwise/leastwise/simulator/child"
)

// BinaryEnv names the environment variable that points at moto_server and overrides every other place.
const BinaryEnv = "LEASTWISE_MOTO"

// ErrNotFound says that moto is not on this machine. The error that wraps it says what to run.
var ErrNotFound = errors.New("no moto_server")

// Find returns the program: what LEASTWISE_MOTO names, else the one on PATH, else the one that `make moto` has installed
// into the user's cache. A LEASTWISE_MOTO that points nowhere is an error and not a reason to look elsewhere.
func Find() (string, error) {
	if path := os.Getenv(BinaryEnv); path != "" {
		if err := child.Executable(path); err != nil {
			return "", fmt.Errorf("%w: %s: %w; correct it, or unset it and run `make moto`", ErrNotFound, BinaryEnv, err)
		}
		return path, nil
	}
	if path, err := exec.LookPath("moto_server"); err == nil {
		return path, nil
	}
	cached, err := child.Cache("moto", "bin", "moto_server")
	if err != nil {
		return "", fmt.Errorf("%w on PATH, and %w", ErrNotFound, err)
	}
	if child.Executable(cached) == nil {
		return cached, nil
	}
	return "", fmt.Errorf("%w on PATH nor at %s: run `make moto` (needs python3), or set %s", ErrNotFound, cached, BinaryEnv)
}
