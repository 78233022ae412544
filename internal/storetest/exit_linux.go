package storetest

import "syscall"

// Exit ends the test process at once; call it from TestMain with the result of m.Run. Under the race detector os.Exit
// runs C's exit handlers, and the engine's destructors then pull the ground from under its threads.
func Exit(code int) {
	_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT_GROUP, uintptr(code), 0, 0) // does not return
}
