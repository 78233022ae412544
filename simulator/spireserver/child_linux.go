package spireserver

import "syscall"

// childAttributes puts SPIRE into a process group of its own, so that Ctrl-C in a terminal reaches it only through
// Stop, and asks the kernel to end it when the process that started it is killed.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
