// Package house tests the repository itself: which room may import which, that
// every module builds alone, that generated code, compose file, alert rules
// and documents agree with the code. It is outside the product; nothing
// imports it.
//
// By hand run it with -count=1: the go command does not know that its results
// depend on files of other modules. `make test` sees to that.
package house
