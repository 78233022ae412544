package demo

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"syscall"
)

// divertStderr lets what is written to standard error go to a file until restore is called: on a terminal the ClickHouse
// engine's library writes lines of its own there, in the middle of the board. A crash is told on the terminal all the same.
func divertStderr(path string) (restore func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("divert standard error: %w", err)
	}
	defer file.Close()
	saved, err := syscall.Dup(syscall.Stderr)
	if err != nil {
		return nil, fmt.Errorf("divert standard error: %w", err)
	}
	terminal := os.NewFile(uintptr(saved), "stderr")
	if err := errors.Join(debug.SetCrashOutput(terminal, debug.CrashOptions{}), syscall.Dup3(int(file.Fd()), syscall.Stderr, 0)); err != nil {
		return nil, errors.Join(fmt.Errorf("divert standard error: %w", err), terminal.Close())
	}
	return func() {
		_ = syscall.Dup3(saved, syscall.Stderr, 0) // both are open
		_ = debug.SetCrashOutput(nil, debug.CrashOptions{})
		_ = terminal.Close()
	}, nil
}
