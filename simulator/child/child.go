// Package child runs the programs that the simulator needs as processes of its own: each in a process group of its own,
// so that Ctrl-C in a terminal reaches it only through End, with nothing of the caller's environment, and ended by its
// pid; on Linux the kernel ends it when the process that started it is killed.
//
// End blocks until the program has ended, by force after a few seconds. What a program prints is lost but for its end,
// which says why it did not come up.
package child

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

const (
	endWithin   = 5 * time.Second
	readyWithin = 30 * time.Second
)

// Process is one program that was started here.
type Process struct {
	name    string
	os      *os.Process
	exited  chan struct{}
	exitErr error // valid once exited is closed
	last    tail
	end     sync.Once
}

// Launch starts a program with dir as its home and working directory, and env beside PATH, HOME and TMPDIR.
func Launch(name, binary, dir string, env []string, args ...string) (*Process, error) {
	p := &Process{name: name, exited: make(chan struct{})}
	cmd := exec.Command(binary, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + os.TempDir()}, env...)
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = &p.last, &p.last
	cmd.SysProcAttr = Attributes()
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
func (p *Process) Alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Exited is closed when the process has ended, for whatever reason.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// End ends the process and waits until it has ended. A second call does nothing.
func (p *Process) End() {
	p.end.Do(func() {
		if !p.Alive() {
			return
		}
		_ = p.os.Signal(syscall.SIGTERM) // an error means that it ended meanwhile
		timer := time.NewTimer(endWithin)
		defer timer.Stop()
		select {
		case <-p.exited:
		case <-timer.C:
			_ = p.os.Kill()
			<-p.exited
		}
	})
}

// WaitReady polls until the program is ready, has ended, or too much time has passed.
func (p *Process) WaitReady(ctx context.Context, ready func(context.Context) bool) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	for {
		if p.Alive() && ready(ctx) {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("%s ended before it was ready (%w): %s", p.name, p.how(), &p.last)
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w: %s", p.name, ctx.Err(), &p.last)
		case <-poll.C:
		}
	}
}

// how it ended.
func (p *Process) how() error {
	if p.exitErr == nil {
		return fmt.Errorf("exit status 0")
	}
	return p.exitErr
}

// FreePort finds a loopback address, HOST:PORT. It may be taken before the program binds it; whoever needs certainty tries
// again.
func FreePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a loopback port: %w", err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		return "", fmt.Errorf("free the loopback port %s: %w", addr, err)
	}
	return addr, nil
}

// TailBytes is how much of what a program printed is kept.
const TailBytes = 2048

// tail keeps the end of what a program writes.
type tail struct {
	mu   sync.Mutex
	last []byte // under mu; at most TailBytes
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = append(t.last, b...)
	if over := len(t.last) - TailBytes; over > 0 {
		t.last = append(t.last[:0], t.last[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.last)
}
