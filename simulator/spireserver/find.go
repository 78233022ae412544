package spireserver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/leastwise/leastwise/simulator/child"
)

// Version is the SPIRE that `make spire` builds and that the simulator is written against.
const Version = "1.13.3"

// DirEnv names the environment variable that points at a directory with spire-server and spire-agent, and overrides
// every other place.
const DirEnv = "LEASTWISE_SPIRE"

// ErrNotFound says that SPIRE is not on this machine. The error that wraps it says what to run.
var ErrNotFound = errors.New("no spire-server and spire-agent")

// Binaries are the two programs.
type Binaries struct{ Server, Agent string }

// Find returns the programs: in the directory that LEASTWISE_SPIRE names, else both on PATH, else those that `make spire`
// has built into the user's cache. A LEASTWISE_SPIRE that points nowhere is an error and not a reason to look elsewhere.
func Find() (Binaries, error) {
	if dir := os.Getenv(DirEnv); dir != "" {
		found, err := in(dir)
		if err != nil {
			return Binaries{}, fmt.Errorf("%w: %s: %w; correct it, or unset it and run `make spire`", ErrNotFound, DirEnv, err)
		}
		return found, nil
	}
	server, err := exec.LookPath("spire-server")
	if err == nil {
		if agent, err := exec.LookPath("spire-agent"); err == nil {
			return Binaries{server, agent}, nil
		}
	}
	dir, err := child.Cache("spire", Version)
	if err != nil {
		return Binaries{}, fmt.Errorf("%w on PATH, and %w", ErrNotFound, err)
	}
	if found, err := in(dir); err == nil {
		return found, nil
	}
	return Binaries{}, fmt.Errorf("%w on PATH nor in %s: run `make spire` (about 9 minutes, once), or set %s", ErrNotFound, dir, DirEnv)
}

func in(dir string) (Binaries, error) {
	b := Binaries{filepath.Join(dir, "spire-server"), filepath.Join(dir, "spire-agent")}
	return b, errors.Join(child.Executable(b.Server), child.Executable(b.Agent))
}
