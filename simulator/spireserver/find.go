package spireserver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
			return Binaries{}, fmt.Errorf("%w: %s=%s: %w; correct it, or unset it and run `make spire`", ErrNotFound, DirEnv, dir, err)
		}
		return found, nil
	}
	server, err := exec.LookPath("spire-server")
	if err == nil {
		if agent, err := exec.LookPath("spire-agent"); err == nil {
			return Binaries{server, agent}, nil
		}
	}
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return Binaries{}, fmt.Errorf("%w on PATH, and no cache directory to look in: %w", ErrNotFound, err)
		}
		cache = filepath.Join(home, ".cache")
	}
	dir := filepath.Join(cache, "leastwise", "spire", Version)
	if found, err := in(dir); err == nil {
		return found, nil
	}
	return Binaries{}, fmt.Errorf("%w on PATH nor in %s: run `make spire` (about 9 minutes, once), or set %s", ErrNotFound, dir, DirEnv)
}

func in(dir string) (Binaries, error) {
	b := Binaries{filepath.Join(dir, "spire-server"), filepath.Join(dir, "spire-agent")}
	for _, path := range []string{b.Server, b.Agent} {
		info, err := os.Stat(path)
		if err != nil {
			return Binaries{}, fmt.Errorf("no file %s", path)
		}
		if info.IsDir() || info.Mode().Perm()&0o111 == 0 {
			return Binaries{}, fmt.Errorf("%s is not an executable file", path)
		}
	}
	return b, nil
}
