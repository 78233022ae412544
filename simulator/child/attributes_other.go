//go:build unix && !linux

package child

import "syscall"

// Attributes put a program into a process group of its own. Without the parent-death signal of Linux, a killed demo
// leaves its programs behind.
func Attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
