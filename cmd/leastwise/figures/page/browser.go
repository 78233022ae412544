package page

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// browserScript lies in console/web; it prints one line of JSON for each figure.
const browserScript = "tests/bench/run.mjs"

// browse measures pictures in headless Chromium, which Playwright drives.
func browse(ctx context.Context, opts Options, link string) ([]Figure, error) {
	if _, err := os.Stat(filepath.Join(opts.Web, "node_modules", "playwright-core")); err != nil {
		return nil, fmt.Errorf("no playwright-core in %s: call `make page` first, in the checkout", opts.Web)
	}
	opts.Progress("looking at it in Chromium")
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, "node", browserScript, link)
	command.Dir, command.Stderr = opts.Web, os.Stderr
	out, err := command.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", browserScript, err)
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("run %s: %w", browserScript, err)
	}
	var figures []Figure
	var failed error
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var f Figure
		if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
			failed = fmt.Errorf("%s printed %q: %w", browserScript, lines.Text(), err)
			continue
		}
		figures = append(figures, f)
	}
	if err := command.Wait(); err != nil {
		return nil, fmt.Errorf("run %s: %w", browserScript, errors.Join(err, failed))
	}
	return figures, failed
}
