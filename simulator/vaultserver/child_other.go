//go:build unix && !linux

package vaultserver

import "syscall"

// childAttributes puts Vault into a process group of its own, so that Ctrl-C in a terminal reaches it only through
// Stop. Without the parent-death signal of Linux, a killed demo leaves its Vault behind.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
