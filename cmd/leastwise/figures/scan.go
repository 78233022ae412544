package figures

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/leastwise/leastwise/cmd/leastwise/figures/amplify"
	"github.com/leastwise/leastwise/simulator/fleet"
)

// trailBytes are scanned for each credential of the run's scale: two gigabytes for the default of 100,000.
const trailBytes = 20_000

// scanning holds `leastwise scan` of gzipped CloudTrail against unpacking the same files, and looks at its memory: this
// program itself, as a process of its own.
func scanning(ctx context.Context, opts Options, _ string, _ fleet.AuditTruth) ([]figure, error) {
	dir := filepath.Join(opts.Dir, "trail")
	defer os.RemoveAll(dir)
	size := int64(opts.Credentials) * trailBytes
	opts.Progress("writing %.2g GB of CloudTrail", float64(size)/1e9)
	trail, err := amplify.Write(amplify.Options{Dir: dir, Seed: 1, Bytes: size})
	if err != nil {
		return nil, fmt.Errorf("amplify CloudTrail: %w", err)
	}
	opts.Progress("scanning %d records of %d access keys, and unpacking them", trail.Records, trail.Keys)
	quarter, err := scanOf(ctx, trail.Files[:(len(trail.Files)+3)/4])
	if err != nil {
		return nil, err
	}
	half, err := scanOf(ctx, trail.Files[:(len(trail.Files)+1)/2])
	if err != nil {
		return nil, err
	}
	before, err := unpack(ctx, trail.Files)
	if err != nil {
		return nil, err
	}
	whole, err := scanOf(ctx, trail.Files)
	if err != nil {
		return nil, err
	}
	after, err := unpack(ctx, trail.Files)
	if err != nil {
		return nil, err
	}
	unpacking := (before + after) / 2 // whatever else the machine does meanwhile, it does to both
	return []figure{
		{name: fmt.Sprintf("scan of %.2g GB of CloudTrail", float64(trail.Bytes)/1e9), value: whole.took.Seconds() / unpacking.Seconds(), unit: "×",
			budget: 3, atMost: true, note: fmt.Sprintf("gzip -dc | wc -l takes %.1fs before and %.1fs after; scan %.1fs, %.1fs of processor; %d records, packed to 1/%.1f",
				before.Seconds(), after.Seconds(), whole.took.Seconds(), whole.processor.Seconds(), trail.Records, float64(trail.Bytes)/float64(trail.Packed))},
		{name: "… peak memory", value: whole.memory / 1e6, unit: "MB", budget: 1000, atMost: true,
			note: fmt.Sprintf("the process, %d access keys; JSON report", trail.Keys)},
		{name: "… peak against half the input's", value: whole.memory / half.memory, unit: "×", budget: 1.15, atMost: true,
			note: fmt.Sprintf("%.0f MB of half, %.0f MB of a quarter", half.memory/1e6, quarter.memory/1e6)},
	}, nil
}

// scanned is what a scan took.
type scanned struct {
	took, processor time.Duration
	memory          float64 // bytes at the peak
}

func scanOf(ctx context.Context, files []string) (s scanned, err error) {
	self, err := os.Executable()
	if err != nil {
		return s, fmt.Errorf("scan: %w", err)
	}
	command := exec.CommandContext(ctx, self, append([]string{"scan", "--format", "json"}, files...)...)
	var said bytes.Buffer // which file was taken for what: of no interest unless it fails
	command.Stderr = &said
	began := time.Now()
	if err := command.Start(); err != nil {
		return s, fmt.Errorf("scan: %w", err)
	}
	done, peak := make(chan struct{}), make(chan float64)
	go func() { peak <- highWater(command.Process.Pid, done) }()
	err = command.Wait()
	close(done)
	s.memory = <-peak
	if err != nil {
		return s, fmt.Errorf("scan: %w\n%s", err, said.Bytes())
	}
	if s.memory == 0 {
		return s, errors.New("scan: the system does not tell how much memory a process held")
	}
	s.took = time.Since(began)
	s.processor = command.ProcessState.UserTime() + command.ProcessState.SystemTime()
	return s, nil
}

// highWater is the most memory that a process held at once, in bytes, as far as it was seen before done; 0 is unknown. What
// the system tells of a child that has ended will not do: it counts its parent's memory, which the child shares until it
// is a program of its own.
func highWater(pid int, done <-chan struct{}) (most float64) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if _, rest, found := bytes.Cut(status, []byte("VmHWM:")); err == nil && found {
			var kib float64
			if n, _ := fmt.Sscan(string(rest[:min(len(rest), 64)]), &kib); n == 1 {
				most = kib * 1024
			}
		}
		select {
		case <-done:
			return most
		case <-tick.C:
		}
	}
}

// unpack runs gzip -dc FILES | wc -l.
func unpack(ctx context.Context, files []string) (time.Duration, error) {
	unzip := exec.CommandContext(ctx, "gzip", append([]string{"-dc"}, files...)...)
	count := exec.CommandContext(ctx, "wc", "-l")
	count.Stdout = io.Discard
	pipe, err := unzip.StdoutPipe()
	if err != nil {
		return 0, fmt.Errorf("gzip: %w", err)
	}
	count.Stdin = pipe
	began := time.Now()
	if err := count.Start(); err != nil {
		return 0, fmt.Errorf("wc: %w", err)
	}
	if err := unzip.Run(); err != nil {
		_ = count.Wait()
		return 0, fmt.Errorf("gzip: %w", err)
	}
	if err := count.Wait(); err != nil {
		return 0, fmt.Errorf("wc: %w", err)
	}
	return time.Since(began), nil
}
