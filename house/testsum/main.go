// Testsum reads the output of `go test -json` on stdin and prints what a
// person wants to see of it: one line a package, the output of what failed,
// why tests were skipped, and at the end "N passed, N failed, N skipped". It
// ends with 1 if anything failed, or if there was nothing to read.
//
// It keeps the output of running tests in memory until they end.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

type event struct {
	Action, Package, Test, Output, ImportPath string
	Elapsed                                   float64
}

type test struct{ pkg, name string }

type summary struct {
	out                     io.Writer
	passed, failed, skipped int
	broken                  int // packages that failed
	output                  map[test][]string
	build                   map[string][]string
}

func main() {
	s := summary{out: os.Stdout, output: map[test][]string{}, build: map[string][]string{}}
	if err := s.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "testsum:", err)
		os.Exit(1)
	}
	os.Exit(s.end())
}

func (s *summary) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			var e event
			if json.Unmarshal([]byte(line), &e) != nil || e.Action == "" {
				s.print(line) // the go command itself
			} else {
				s.take(e)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read test events: %w", err)
		}
	}
}

func (s *summary) take(e event) {
	key := test{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		s.build[e.ImportPath] = append(s.build[e.ImportPath], e.Output)
	case "build-fail":
		s.print(s.build[e.ImportPath]...)
	case "output":
		s.output[key] = append(s.output[key], e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			s.endPackage(e)
		} else {
			s.endTest(e)
		}
		delete(s.output, key)
	}
}

func (s *summary) endTest(e event) {
	output := s.output[test{e.Package, e.Test}]
	switch e.Action {
	case "pass":
		s.passed++
	case "fail":
		s.failed++
		s.print(output...)
	case "skip":
		s.skipped++
		for _, line := range output {
			if text := strings.TrimSpace(line); text != "" && !strings.HasPrefix(text, "===") && !strings.HasPrefix(text, "---") {
				s.print(fmt.Sprintf("skip %s: %s\n", e.Test, text))
			}
		}
	}
}

func (s *summary) endPackage(e event) {
	switch e.Action {
	case "fail":
		s.broken++
		for key, output := range s.output { // tests that a panic or a deadline cut off
			if key.pkg == e.Package && key.name != "" {
				s.print(output...)
				delete(s.output, key)
			}
		}
		s.print(s.output[test{e.Package, ""}]...)
	case "pass":
		cached := ""
		for _, line := range s.output[test{e.Package, ""}] {
			if strings.Contains(line, "\t(cached)") {
				cached = " (cached)"
			}
		}
		s.print(fmt.Sprintf("ok   %s %.1fs%s\n", e.Package, e.Elapsed, cached))
	}
}

func (s *summary) end() int {
	s.print(fmt.Sprintf("%d passed, %d failed, %d skipped\n", s.passed, s.failed, s.skipped))
	if s.failed > 0 || s.broken > 0 {
		if s.failed == 0 {
			s.print(fmt.Sprintf("%d packages did not build or run\n", s.broken))
		}
		return 1
	}
	if s.passed+s.skipped == 0 {
		s.print("no test ran\n")
		return 1
	}
	return 0
}

func (s *summary) print(lines ...string) {
	for _, line := range lines {
		_, _ = io.WriteString(s.out, line)
	}
}
