package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/leastwise/leastwise/cmd/leastwise/scan"
	"github.com/leastwise/leastwise/internal/daemon"
)

type scanCommand struct {
	Paths    []string `arg:"" name:"path" help:"Log files or directories; gzip, tar and zip are unpacked."`
	Source   string   `help:"Source of all files; each file's is guessed by content if not given." placeholder:"NAME"`
	Policies string   `help:"Directory of YAML policies to hold the credentials against." placeholder:"DIR"`
	Catalog  string   `help:"Catalog of agents and owners, a file or a directory." placeholder:"FILE"`
	AsOf     string   `help:"Report as of this time (RFC 3339); the newest event's if not given." placeholder:"TIME"`
	Format   string   `help:"text, json, html (one page with pictures, to be mailed or printed) or sarif (for code-scanning UIs)." enum:"text,json,html,sarif" default:"text"`
	Events   string   `help:"Write every normalised event as a JSON line to this file, or to standard output (-)." placeholder:"FILE"`
	FailOn   string   `help:"Exit with 1 if there is a finding of this severity or worse." enum:",critical,high,medium,low,info" default:"" placeholder:"SEVERITY"`
}

// maxWarnings on the terminal; the rest is counted.
const maxWarnings = 20

func (c *scanCommand) Run(ctx context.Context) (err error) {
	opts := scan.Options{Source: c.Source, Policies: c.Policies, Catalog: c.Catalog, Paths: c.Paths, Alone: true,
		Places: c.Format == "html" || c.Format == "sarif"}
	if c.AsOf != "" {
		if opts.AsOf, err = time.Parse(time.RFC3339Nano, c.AsOf); err != nil {
			return fmt.Errorf("%w: --as-of %q: not a time such as 2026-11-21T06:12:00Z", errUsage, c.AsOf)
		}
	}
	switch c.Events {
	case "":
	case "-":
		if c.Format != "text" {
			return fmt.Errorf("%w: --events - and --format %s would both write to standard output; give --events a file", errUsage, c.Format)
		}
		opts.Events = os.Stdout
	default:
		file, err := os.OpenFile(c.Events, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
		if err != nil {
			return fmt.Errorf("%w: --events: %w", errUsage, err)
		}
		defer func() {
			if closing := file.Close(); err == nil && closing != nil {
				err = fmt.Errorf("write events: %w", closing)
			}
		}()
		opts.Events = file
	}
	warnings := 0
	opts.Warn = func(format string, args ...any) {
		if warnings++; warnings <= maxWarnings {
			fmt.Fprintf(os.Stderr, format+"\n", args...)
		}
	}
	finish := c.progress(&opts)
	report, err := scan.Run(ctx, opts)
	finish()
	if err != nil {
		return err
	}
	defer report.Close()
	if warnings > maxWarnings {
		fmt.Fprintf(os.Stderr, "… and %d warnings more\n", warnings-maxWarnings)
	}
	if err := c.print(report); err != nil {
		return err
	}
	if c.FailOn != "" && report.AtLeast(c.FailOn) {
		return exit(exitFailed)
	}
	return nil
}

func (c *scanCommand) print(report *scan.Report) error {
	if c.Format == "text" && c.Events == "-" {
		return nil // the events are the output
	}
	out := bufio.NewWriter(os.Stdout)
	var err error
	switch c.Format {
	case "json":
		err = report.JSON(out)
	case "html":
		err = report.HTML(out)
	case "sarif":
		err = report.SARIF(out, daemon.Version)
	default:
		err = report.Text(out)
	}
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// progress shows how much was read, on a terminal only.
func (c *scanCommand) progress(opts *scan.Options) (finish func()) {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return func() {}
	}
	bar := progressbar.NewOptions64(-1, progressbar.OptionSetWriter(os.Stderr), progressbar.OptionShowBytes(true),
		progressbar.OptionSetDescription("reading"), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish())
	opts.Progress = func(read int64) { _ = bar.Set64(read) }
	return func() { _ = bar.Finish() }
}
