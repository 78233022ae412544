// Package house tests the repository itself: which room may import which, that
// every module builds alone, that generated code, compose file, alert rules
// and documents agree with the code. It is outside the product; nothing
// imports it.
package house
