package narrower

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/leastwise/leastwise/internal/terminal"
	"github.com/leastwise/leastwise/processor/rightsize"
)

// listed bounds each list of the text; --json has all.
const listed = 25

// Write prints the report for a reader.
func (r *Report) Write(to io.Writer) error {
	w := bufio.NewWriter(to)
	fmt.Fprintf(w, "%s\n\n", terminal.Safe(r.Name))
	if len(r.Credentials) > 1 {
		fmt.Fprintf(w, "  credentials   %d that were alive, the newest %s\n", len(r.Credentials), terminal.Safe(r.Credentials[0]))
	}
	fmt.Fprintf(w, "  observed      %s to %s\n", r.From.Format("2006-01-02"), r.Until.Format("2006-01-02 15:04 UTC"))
	for _, gap := range r.Gaps {
		fmt.Fprintf(w, "  gap           %s\n", terminal.Safe(gap))
	}
	if r.Granted == nil {
		fmt.Fprintln(w, "  granted       unknown")
	} else {
		fmt.Fprintf(w, "  granted       %s\n", r.counted(*r.Granted))
	}
	if r.Refused != "" {
		fmt.Fprintf(w, "\nNo proposal: %s\n", terminal.Safe(r.Refused))
		return w.Flush()
	}
	each := ", each on its own resource"
	if r.scopes() {
		each = ""
	}
	fmt.Fprintf(w, "  used          %s%s\n", r.counted(r.Used), each)
	fmt.Fprintf(w, "  proposed      %s\n", r.counted(r.Proposed))
	if n := len(r.Proposal.Unjustified); n > 0 {
		fmt.Fprintf(w, "\nUsed and not granted any more, so not proposed:\n")
		list(w, r.Proposal.Unjustified)
	}
	calls := counted(int(r.Replayed), "call", "calls")
	fmt.Fprintf(w, "\nTried against the %s of the last %s it would have refused", calls, counted(r.ReplayDays, "day", "days"))
	if len(r.Refusals) == 0 {
		fmt.Fprintln(w, " none.")
	} else {
		fmt.Fprintln(w, ":")
		list(w, r.Refusals)
	}
	fmt.Fprintf(w, "\nTo apply (%s):\n\n", terminal.Safe(r.Artifact.Apply))
	for line := range strings.Lines(r.Artifact.Text) {
		fmt.Fprintf(w, "  %s\n", terminal.Safe(strings.TrimSuffix(line, "\n")))
	}
	if r.Artifact.Loses != "" {
		fmt.Fprintf(w, "\nMind: %s\n", terminal.Safe(r.Artifact.Loses))
	}
	return w.Flush()
}

// scopes tells that what is granted are those of OAuth.
func (r *Report) scopes() bool {
	return len(r.Credentials) > 0 && rightsize.IsOAuth(r.Credentials[0][:strings.IndexByte(r.Credentials[0]+"/", '/')])
}

func (r *Report) counted(n int) string {
	if r.scopes() {
		return counted(n, "scope", "scopes")
	}
	return counted(n, "permission", "permissions")
}

func list(w io.Writer, uses []rightsize.Use) {
	for i, use := range uses {
		if i == listed {
			fmt.Fprintf(w, "  and %d more (--json lists them)\n", len(uses)-listed)
			return
		}
		on := use.Resource
		if on == "" {
			on = "(no record tells on what)"
		}
		fmt.Fprintf(w, "  %6d ×  %s %s, last %s\n", use.Count, terminal.Safe(use.Permission), terminal.Safe(on), use.LastAt.UTC().Format("2006-01-02 15:04 UTC"))
	}
}
