package filewatch

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

func TestOnlyChangesOfThePathsConcern(t *testing.T) {
	paths := []string{"/etc/leastwise/policies", "/etc/leastwise/catalog.yaml"}
	for name, want := range map[string]bool{
		"/etc/leastwise/policies": true, "/etc/leastwise/policies/a.yaml": true, "/etc/leastwise/policies/sub/a.yaml": true,
		"/etc/leastwise/catalog.yaml": true, "/etc/leastwise/..data": true,
		"/etc/leastwise/policies.bak": false, "/etc/leastwise/other.yaml": false, "/etc/leastwise": false,
	} {
		if concerns(name, paths) != want {
			t.Errorf("%s: %v; expected %v", name, !want, want)
		}
	}
}

func TestFreshlyWrittenFilesAreNotResting(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		modified time.Time
		want     bool
	}{{now, false}, {now.Add(-Rest - time.Second), true}, {now.Add(time.Hour), true}, {time.Time{}, true}} {
		if Resting(c.modified) != c.want {
			t.Errorf("%v: %v", c.modified, !c.want)
		}
	}
}

// A log that is written all the time beside the watched file must neither wake the listener nor keep it from being told.
func TestBusyNeighboursDoNotHideAChange(t *testing.T) {
	dir := t.TempDir()
	watched, noise := filepath.Join(dir, "catalog.yaml"), filepath.Join(dir, "noise.log")
	put := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Error(err)
		}
	}
	put(watched, "one")
	ctx, stop := context.WithCancel(context.Background())
	var calls atomic.Int64
	saw := make(chan string, 1000)
	done := make(chan error, 1)
	go func() {
		done <- Watch(ctx, []string{watched}, func() bool {
			calls.Add(1)
			data, _ := os.ReadFile(watched)
			saw <- string(data)
			return true
		})
	}()
	quiet := make(chan struct{})
	go func() {
		defer close(quiet)
		for i := 0; ctx.Err() == nil; i++ {
			put(noise, fmt.Sprint(i))
		}
	}()
	<-saw // the first, unconditional call
	put(watched, "two")
	deadline := time.After(20 * time.Second)
	for got := ""; got != "two"; {
		select {
		case got = <-saw:
		case <-deadline:
			t.Fatal("the change was not told")
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	<-quiet
	if n := calls.Load(); n > 50 {
		t.Errorf("called %d times for one change", n)
	}
}

func TestRefusedCallIsRepeated(t *testing.T) {
	ctx, stop := context.WithTimeout(context.Background(), poll/2)
	defer stop()
	n := 0
	err := Watch(ctx, []string{t.TempDir()}, func() bool {
		n++
		if n == 3 {
			stop()
		}
		return n == 3
	})
	if err != nil || n != 3 {
		t.Errorf("%d calls, %v", n, err)
	}
}
