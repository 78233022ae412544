package figures

import (
	"context"
	"io"

	"github.com/leastwise/leastwise/cmd/leastwise/figures/page"
)

// RunPage measures the page and its API and prints what Run prints. ok tells whether all budgets hold.
func RunPage(ctx context.Context, opts page.Options, w io.Writer) (ok bool, err error) {
	measured, err := page.Measure(ctx, opts)
	if err != nil || opts.Serve {
		return false, err
	}
	figures := make([]figure, len(measured))
	for i, m := range measured {
		figures[i] = figure{name: m.Name, value: m.Value, unit: m.Unit, budget: m.Budget, atMost: true, told: m.Budget == 0, note: m.Note}
	}
	return report(w, figures)
}
