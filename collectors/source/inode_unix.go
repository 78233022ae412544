//go:build unix

package source

import (
	"os"
	"syscall"
)

// identity of a file that its name does not change.
func identity(info os.FileInfo) (device, inode uint64) {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(stat.Dev), uint64(stat.Ino)
	}
	return 0, 0
}
