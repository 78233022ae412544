// Package figures measures what the project promises to reach, in one run, and holds each figure against its budget.
package figures

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"github.com/leastwise/leastwise/simulator/fleet"
)

// Options of a run. Scale 1 is what the budgets are for; a smaller one makes a quick look of it.
type Options struct {
	Dir         string // scratch space; removed by the caller
	Credentials int
	Calls       int
	Only        []string // parts to measure; all without
	Progress    func(format string, args ...any)
}

// figure is one measured value with its budget.
type figure struct {
	name   string
	value  float64
	unit   string
	budget float64
	atMost bool // the value may not exceed the budget; otherwise it may not fall short of it
	told   bool // it has no budget
	note   string
}

func (f figure) holds() bool {
	if f.atMost {
		return f.value <= f.budget
	}
	return f.value >= f.budget
}

// part is a group of figures that are measured together.
type part struct {
	name    string
	measure func(context.Context, Options, string, fleet.AuditTruth) ([]figure, error)
}

var parts = []part{
	{"normalise", normalising}, {"graph", graph}, {"decide", decisions}, {"memory", memory}, {"scan", scanning}, {"pipeline", pipeline},
}

// Run measures everything that is asked for and prints name, value, budget, and ok or short. ok tells whether all budgets hold.
func Run(ctx context.Context, opts Options, w io.Writer) (ok bool, err error) {
	logFile := filepath.Join(opts.Dir, "audit.log")
	opts.Progress("writing an audit log of %d credentials and %d calls", opts.Credentials, opts.Calls)
	truth, err := writeLog(logFile, fleet.AuditOptions{Seed: 1, Credentials: opts.Credentials, Calls: opts.Calls,
		DeniedShare: 0.01, RenewShare: 0.01})
	if err != nil {
		return false, err
	}
	if err := writePolicies(filepath.Join(opts.Dir, "policies")); err != nil {
		return false, err
	}
	var figures []figure
	for _, part := range parts {
		if len(opts.Only) > 0 && !slices.Contains(opts.Only, part.name) {
			continue
		}
		measured, err := part.measure(ctx, opts, logFile, truth)
		if err != nil {
			return false, err
		}
		figures = append(figures, measured...)
	}
	return report(w, figures)
}

func writeLog(path string, opts fleet.AuditOptions) (fleet.AuditTruth, error) {
	file, err := os.Create(path)
	if err != nil {
		return fleet.AuditTruth{}, fmt.Errorf("write the audit log: %w", err)
	}
	truth, err := fleet.WriteAudit(file, opts)
	if closing := file.Close(); err == nil && closing != nil {
		err = closing
	}
	if err != nil {
		return truth, fmt.Errorf("write the audit log: %w", err)
	}
	return truth, nil
}

func report(w io.Writer, figures []figure) (ok bool, err error) {
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, "FIGURE\tVALUE\tBUDGET\t\tNOTE")
	ok = true
	for _, f := range figures {
		verdict, bound := "ok", "at least"
		if f.atMost {
			bound = "at most"
		}
		if f.told {
			fmt.Fprintf(table, "%s\t%s\t-\t\t%s\n", f.name, number(f.value, f.unit), f.note)
			continue
		}
		if !f.holds() {
			verdict, ok = "short", false
		}
		fmt.Fprintf(table, "%s\t%s\t%s %s\t%s\t%s\n", f.name, number(f.value, f.unit), bound, number(f.budget, f.unit), verdict, f.note)
	}
	if err := table.Flush(); err != nil {
		return false, fmt.Errorf("print the figures: %w", err)
	}
	return ok, nil
}

func number(value float64, unit string) string {
	if value >= 1000 {
		return fmt.Sprintf("%.0f %s", value, unit)
	}
	return fmt.Sprintf("%.3g %s", value, unit)
}
