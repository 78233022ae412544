package child

import "syscall"

// Attributes put a program into a process group of its own, and ask the kernel to end it when the process that started
// it is killed.
func Attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
