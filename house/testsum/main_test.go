package main

import (
	"strings"
	"testing"
)

func summarise(t *testing.T, lines ...string) (string, int) {
	t.Helper()
	var out strings.Builder
	s := summary{out: &out, output: map[test][]string{}, build: map[string][]string{}}
	if err := s.read(strings.NewReader(strings.Join(lines, "\n"))); err != nil {
		t.Fatal(err)
	}
	code := s.end()
	return out.String(), code
}

func TestPassedTestsAreCountedAndTheirOutputIsNotShown(t *testing.T) {
	got, code := summarise(t,
		`{"Action":"output","Package":"p","Test":"TestA","Output":"chatter\n"}`,
		`{"Action":"pass","Package":"p","Test":"TestA/sub"}`,
		`{"Action":"pass","Package":"p","Test":"TestA"}`,
		`{"Action":"pass","Package":"p","Elapsed":1.5}`)
	if got != "ok   p 1.5s\n2 passed, 0 failed, 0 skipped\n" || code != 0 {
		t.Errorf("exit %d, %q", code, got)
	}
}

func TestAFailureShowsItsOutputAndEndsWithOne(t *testing.T) {
	got, code := summarise(t,
		`{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:1: wrong\n"}`,
		`{"Action":"fail","Package":"p","Test":"TestA"}`,
		`{"Action":"fail","Package":"p"}`)
	if !strings.Contains(got, "a_test.go:1: wrong") || !strings.HasSuffix(got, "0 passed, 1 failed, 0 skipped\n") || code != 1 {
		t.Errorf("exit %d, %q", code, got)
	}
}

func TestASkipSaysWhy(t *testing.T) {
	got, code := summarise(t,
		`{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}`,
		`{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:1: run make vault\n"}`,
		`{"Action":"output","Package":"p","Test":"TestA","Output":"--- SKIP: TestA (0.00s)\n"}`,
		`{"Action":"skip","Package":"p","Test":"TestA"}`)
	if !strings.HasPrefix(got, "skip TestA: a_test.go:1: run make vault\n") || code != 0 {
		t.Errorf("exit %d, %q", code, got)
	}
}

func TestAPackageThatDoesNotBuildOrDiesFails(t *testing.T) {
	got, code := summarise(t,
		`{"Action":"build-output","ImportPath":"p","Output":"p.go:1: undefined: x\n"}`,
		`{"Action":"build-fail","ImportPath":"p"}`,
		`{"Action":"fail","Package":"p"}`)
	if !strings.Contains(got, "undefined: x") || code != 1 {
		t.Errorf("build: exit %d, %q", code, got)
	}
	got, code = summarise(t,
		`{"Action":"output","Package":"p","Test":"TestA","Output":"panic: test timed out\n"}`,
		`{"Action":"fail","Package":"p"}`)
	if !strings.Contains(got, "panic: test timed out") || code != 1 {
		t.Errorf("died: exit %d, %q", code, got)
	}
}

func TestNothingToReadIsNoSuccess(t *testing.T) {
	if _, code := summarise(t); code != 1 {
		t.Errorf("exit %d", code)
	}
	if got, code := summarise(t, "go: cannot find main module"); code != 1 || !strings.Contains(got, "main module") {
		t.Errorf("exit %d, %q", code, got)
	}
}
