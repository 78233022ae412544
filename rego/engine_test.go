package rego

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// watched runs an engine's Watch over a directory and tells what it calls.
type watched struct {
	engine  *Engine
	changed chan *Set
	failed  chan error
}

func watch(t *testing.T, opts Options) *watched {
	t.Helper()
	engine, err := New(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	w := &watched{engine, make(chan *Set, 16), make(chan error, 16)}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- engine.Watch(ctx, func(s *Set) { w.changed <- s }, func(err error) { w.failed <- err })
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return w
}

func await[T any](t *testing.T, ch chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: nothing came", what)
		panic("unreachable")
	}
}

func TestChangedPoliciesReplaceTheSetAndBadOnesDoNot(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a.yaml": example})
	w := watch(t, Options{PolicyDir: dir})
	first := w.engine.Current()

	write(t, dir, map[string]string{"a.yaml": strings.Replace(example, "1h", "2h", 1)})
	second := await(t, w.changed, "a changed threshold")
	if second.Revision() == first.Revision() || w.engine.Current() != second {
		t.Fatal("the set in force is not the new one")
	}

	write(t, dir, map[string]string{"b.yaml": strings.Replace(example, "1h", "soon", 1)})
	if err := await(t, w.failed, "a bad file"); err == nil || !strings.Contains(err.Error(), "b.yaml:7:") {
		t.Fatalf("%v", err)
	}
	if w.engine.Current() != second {
		t.Fatal("a bad file changed the set in force")
	}

	write(t, dir, map[string]string{"sub/b.yaml": strings.Replace(example, "ephemeral", "other", 1)})
	if err := os.Remove(filepath.Join(dir, "b.yaml")); err != nil {
		t.Fatal(err)
	}
	third := await(t, w.changed, "a file in a new folder")
	for len(third.Policies()) != 2 {
		third = await(t, w.changed, "both files")
	}
	recovered := false
	for len(w.failed) > 0 {
		recovered = <-w.failed == nil
	}
	if !recovered {
		t.Error("nobody was told that the policies are good again")
	}
}

func TestKubernetesMountIsFollowed(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"..v1/a.yaml": example, "..v2/a.yaml": strings.Replace(example, "1h", "2h", 1)})
	link := func(to, name string) {
		tmp := filepath.Join(dir, "..tmp")
		if err := os.Symlink(to, tmp); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("..v1", "..data")
	link("..data/a.yaml", "a.yaml")
	w := watch(t, Options{PolicyDir: dir})
	if n := len(w.engine.Current().Policies()); n != 1 {
		t.Fatalf("%d policies; expected the linked file once", n)
	}
	link("..v2", "..data")
	if s := await(t, w.changed, "a swapped mount"); s.Policies()[0].Metrics[0].Text != "2h" {
		t.Errorf("%+v", s.Policies()[0].Metrics[0])
	}
}

func TestVanishedDirectoryKeepsTheSetAndItsReturnIsSeen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "policies")
	write(t, dir, map[string]string{"a.yaml": example})
	w := watch(t, Options{PolicyDir: dir})
	first := w.engine.Current()
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	if err := await(t, w.failed, "a vanished directory"); err == nil {
		t.Fatal("told that all is well")
	}
	if w.engine.Current() != first {
		t.Fatal("the set in force changed")
	}
	write(t, dir, map[string]string{"a.yaml": strings.Replace(example, "1h", "3h", 1)})
	for s := await(t, w.changed, "a directory that came back"); s.Policies()[0].Metrics[0].Text != "3h"; {
		s = await(t, w.changed, "the new file")
	}
}

func TestChangedBundleReplacesTheSet(t *testing.T) {
	dir := t.TempDir()
	if err := WriteBundle(dir); err != nil {
		t.Fatal(err)
	}
	w := watch(t, Options{BundleDir: dir})
	data, err := os.ReadFile(filepath.Join(dir, "decision.rego"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, map[string]string{"decision.rego": string(data) + "\n# changed\n"})
	await(t, w.changed, "a changed bundle")
	write(t, dir, map[string]string{"decision.rego": "package leastwise.decision\n\ndecision := {"})
	if err := await(t, w.failed, "a broken bundle"); err == nil || !strings.Contains(err.Error(), "decision.rego:3:") {
		t.Errorf("%v", err)
	}
}

func TestMissingDirectoriesAreNamedAtStart(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"file": "x"})
	for name, opts := range map[string]Options{
		"no such policies": {PolicyDir: dir + "/nowhere"}, "no such bundle": {BundleDir: dir + "/nowhere"},
		"policies are a file": {PolicyDir: dir + "/file"}, "bundle is a file": {BundleDir: dir + "/file"},
		"empty bundle": {BundleDir: t.TempDir()},
	} {
		_, err := New(context.Background(), opts)
		t.Logf("%s: %v", name, err)
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestNoPoliciesDecideNothing(t *testing.T) {
	engine, err := New(context.Background(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	var v Values
	v.Set(CredentialAge, 1e9)
	r := evaluate(t, engine.Current(), &Subject{Source: "vault"}, &v)
	if r.Asked || len(r.Violations) > 0 || r.Ladder == nil {
		t.Errorf("%+v", r)
	}
}

func TestEachBadStateIsToldOnce(t *testing.T) {
	dir := t.TempDir()
	long := time.Now().Add(-time.Hour)
	put := func(text string) {
		write(t, dir, map[string]string{"a.yaml": text})
		if err := os.Chtimes(filepath.Join(dir, "a.yaml"), long, long); err != nil {
			t.Fatal(err)
		}
	}
	put(example)
	engine, err := New(context.Background(), Options{PolicyDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	r := reloader{engine: engine, changed: func(*Set) { told = append(told, "changed") }, failed: func(err error) {
		if err == nil {
			told = append(told, "well")
		} else {
			told = append(told, "bad")
		}
	}}
	for _, text := range []string{example, "x", "x", "y", example, example, strings.Replace(example, "1h", "2h", 1), "# note\n" + strings.Replace(example, "1h", "2h", 1)} {
		put(text)
		if !r.reload(context.Background()) {
			t.Fatal("files an hour old are not taken for written")
		}
	}
	if got := strings.Join(told, " "); got != "bad bad well changed" {
		t.Errorf("told %q", got)
	}
	write(t, dir, map[string]string{"a.yaml": example})
	if r.reload(context.Background()) {
		t.Error("a file written this moment was read as if it were complete")
	}
}
