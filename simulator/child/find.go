package child

import (
	"fmt"
	"os"
	"path/filepath"
)

// Cache is a path below the folder that `make` puts programs into: $XDG_CACHE_HOME/leastwise, else ~/.cache/leastwise, by
// the same rule on every system, as the scripts have it.
func Cache(parts ...string) (string, error) {
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("no cache directory to look in: %w", err)
		}
		cache = filepath.Join(home, ".cache")
	}
	return filepath.Join(append([]string{cache, "leastwise"}, parts...)...), nil
}

// Executable says why a path is no program to run; nil if it is one.
func Executable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("no file %s", path)
	}
	if info.IsDir() || info.Mode().Perm()&0o111 == 0 {
		return fmt.Errorf("%s is not an executable file", path)
	}
	return nil
}
