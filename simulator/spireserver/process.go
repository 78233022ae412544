package spireserver

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

const stopWithin = 5 * time.Second

// process is one program that was started here, and ends with Stop or with the process that started it.
type process struct {
	name    string
	os      *os.Process
	exited  chan struct{}
	exitErr error // valid once exited is closed
	last    tail
	stop    sync.Once
}

func launch(name, binary, dir string, args ...string) (*process, error) {
	p := &process{name: name, exited: make(chan struct{})}
	cmd := exec.Command(binary, args...)
	// Only what SPIRE needs: none of the caller's SPIRE_* and SPIFFE_* settings.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + os.TempDir()}
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = &p.last, &p.last
	cmd.SysProcAttr = childAttributes()
	started := make(chan error, 1)
	go func() {
		// The parent-death signal is tied to the thread that forks, so that thread is kept until the child is gone.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.exitErr = cmd.Wait()
			close(p.exited)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p.os = cmd.Process
	return p, nil
}

// Alive reports whether the process still runs.
func (p *process) Alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Exited is closed when the process has ended, for whatever reason.
func (p *process) Exited() <-chan struct{} { return p.exited }

// end ends the process and waits until it has ended, by force after a few seconds.
func (p *process) end() {
	p.stop.Do(func() {
		if !p.Alive() {
			return
		}
		_ = p.os.Signal(syscall.SIGTERM) // an error means that it ended meanwhile
		timer := time.NewTimer(stopWithin)
		defer timer.Stop()
		select {
		case <-p.exited:
		case <-timer.C:
			_ = p.os.Kill()
			<-p.exited
		}
	})
}

// why a process ended before it was ready.
func (p *process) why() error {
	return fmt.Errorf("%s ended before it was ready (%w): %s", p.name, p.exitErr, p.last.String())
}

const tailBytes = 2048

// tail keeps the end of what a program writes, which says why it did not come up.
type tail struct {
	mu   sync.Mutex
	last []byte // under mu; at most tailBytes
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = append(t.last, b...)
	if over := len(t.last) - tailBytes; over > 0 {
		t.last = append(t.last[:0], t.last[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.last)
}
