//go:build unix && !linux

package spireserver

import "syscall"

// childAttributes puts SPIRE into a process group of its own, so that Ctrl-C in a terminal reaches it only through
// Stop. Without the parent-death signal of Linux, a killed demo leaves its SPIRE behind.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
