//go:build !linux

package storetest

import "os"

// Exit ends the test process; call it from TestMain with the result of m.Run.
func Exit(code int) { os.Exit(code) }
