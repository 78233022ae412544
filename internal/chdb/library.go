package chdb

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Version of the library's npm package that `make libchdb` fetches.
const Version = "26.7.3-stable.1"

// DefaultLibrary is where `make libchdb` puts the library.
func DefaultLibrary() string {
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		cache = filepath.Join(os.Getenv("HOME"), ".cache")
	}
	name := "libchdb.so"
	if runtime.GOOS == "darwin" {
		name = "libchdb.dylib"
	}
	return filepath.Join(cache, "leastwise", "libchdb", Version, name)
}

// ErrNoLibrary is the reason in errors about a library that is not there or
// not what was fetched.
type ErrNoLibrary struct{ Path, Reason string }

func (e *ErrNoLibrary) Error() string {
	return fmt.Sprintf("libchdb %s at %s: run `make libchdb`", e.Reason, e.Path)
}

// checkLibrary compares the library with what the fetch verified. Hashing half
// a gigabyte at each start would be slow, so the fetch leaves the size and the
// SHA-256 it saw in a marker, and here the size is compared. A path that the
// user chose needs no marker.
func checkLibrary(path string, chosen bool) error {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return &ErrNoLibrary{path, "not found"}
	}
	if chosen {
		return nil
	}
	raw, err := os.ReadFile(path + ".verified") // "<sha256> <size>\n"
	if err != nil {
		return &ErrNoLibrary{path, "not verified"}
	}
	fields := strings.Fields(string(raw))
	if len(fields) != 2 || fields[1] != fmt.Sprint(info.Size()) {
		return &ErrNoLibrary{path, "damaged"}
	}
	return nil
}
