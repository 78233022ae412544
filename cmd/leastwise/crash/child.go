package crash

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// site is one data directory with its configuration, and the issuer that its enforcer acts at.
type site struct {
	dir, config string
	issuer      *issuer
}

// child is a process that is there to be killed.
type child struct {
	part  string
	began time.Time
	cmd   *exec.Cmd
	ended chan struct{} // closed when the process has ended
}

// start runs a part of the product in a process of its own. What it logs goes to DIR/PART.log.
func (s *site) start(part string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the own binary: %w", err)
	}
	logFile, err := os.OpenFile(filepath.Join(s.dir, part+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the child's log: %w", err)
	}
	defer logFile.Close()
	cmd := exec.Command(self, "crash", "part", part, "--config", s.config, "--issuer", s.issuer.url)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	if _, err := cmd.StdinPipe(); err != nil { // held open until the child has ended: see RunPart
		return nil, fmt.Errorf("start %s: %w", part, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", part, err)
	}
	c := &child{part: part, began: time.Now(), cmd: cmd, ended: make(chan struct{})}
	go func() {
		defer close(c.ended)
		_ = cmd.Wait()
	}()
	return c, nil
}

// kill ends the process with SIGKILL. It fails if the process had ended by itself: a component must outlast everything
// that is done to the others.
func (c *child) kill() error {
	select {
	case <-c.ended:
		return c.gone()
	default:
	}
	if err := c.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill %s: %w", c.part, err)
	}
	<-c.ended
	return nil
}

func (c *child) gone() error {
	return fmt.Errorf("%s ended by itself after %s (%s): its log tells why", c.part, time.Since(c.began).Round(time.Millisecond), c.cmd.ProcessState)
}

func (c *child) pid() int { return c.cmd.Process.Pid }
