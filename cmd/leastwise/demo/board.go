package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/leastwise/leastwise/enforcer/notify"
	"github.com/leastwise/leastwise/internal/daemon"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
	site "github.com/leastwise/leastwise/simulator/demo"
	"github.com/leastwise/leastwise/simulator/fleet"
	"github.com/leastwise/leastwise/simulator/sources"
)

// board is what the reader sees: JSON lines with Once, otherwise a table that is drawn anew with the latest steps
// below it, or plain lines where there is no terminal.
type board struct {
	once, live bool

	mu    sync.Mutex
	out   io.Writer
	head  []string // what was said at the start; guarded by mu
	lines []string // the latest steps; guarded by mu
	foot  []string // what was found in the end; guarded by mu
}

// How many of the latest steps are shown: fewer once there is something below them.
const shownSteps, shownStepsAtTheEnd = 14, 3

func newBoard(opts Options) *board {
	live := false
	if file, ok := opts.Out.(*os.File); ok {
		live = !opts.Once && term.IsTerminal(int(file.Fd()))
	}
	return &board{once: opts.Once, live: live, out: opts.Out}
}

// say tells of the start-up: not with Once, whose output is JSON alone.
func (b *board) say(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.once {
		return
	}
	if b.live && len(b.head) == 0 {
		fmt.Fprint(b.out, "\x1b[2J\x1b[H")
	}
	fmt.Fprintf(b.out, format+"\n", args...)
	b.head = append(b.head, fmt.Sprintf(format, args...))
}

// block tells what was found: not with Once, which has a step for it.
func (b *board) block(lines ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.once:
	case b.live:
		b.foot = append(append(b.foot, ""), lines...)
	default:
		fmt.Fprintf(b.out, "\n%s\n", strings.Join(lines, "\n"))
	}
}

func (b *board) intro(opts Options, listen string, s *sources.Sources) {
	b.tellSources(s)
	b.say("Six agents work on a real Vault. Time is scaled: a day of the policies passes in %s.", site.Day)
	b.say("Two of them hold too much for too long: their owners are told, and %s later the tokens are revoked.", 6*time.Second)
	b.say("One, %q, also lives in %s, and keeps a log of its own (OTLP): in the end you see", fleet.Steady, inWords(s))
	b.say("that all of it is one identity, whose it is and why, and how the gate judges two manifests.")
	if s.Key != nil {
		b.say("A backup job works with one access key of AWS: that is taken, too, and given back when somebody breaks the glass.")
	}
	for _, l := range s.LeftOut {
		b.say("  left out              %s: %s", l.Source, l.Why)
	}
	b.say("  policies and catalog  %s", filepath.Join(opts.Dir, "site"))
	b.say("  audit log of Vault    %s", filepath.Join(opts.Dir, "vault"))
	b.say("  log of Leastwise      %s", filepath.Join(opts.Dir, "leastwise.log"))
	config := filepath.Join(opts.Dir, ConfigFile)
	b.say("  try beside it         leastwise plan --config %s", config)
	b.say("                        leastwise rightsize KEY --config …   leastwise compromise KEY --config …   (KEY: as in the lines below)")
	if listen != daemon.NoListen {
		b.say("  health and metrics    http://%s/readyz  http://%s/metrics", listen, listen)
	}
	if opts.ClickHouseListen != "" {
		b.say("  ClickHouse, by HTTP   http://%s/?query=SELECT+*+FROM+leastwise.v_ladder+FORMAT+Vertical", opts.ClickHouseListen)
	}
	b.say("")
}

// step tells that something happened. fields are name, value, name, value …
func (b *board) step(step, agent string, fields ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now().UTC()
	if b.once {
		line := map[string]any{"at": now.Format(time.RFC3339Nano), "step": step}
		if agent != "" {
			line["agent"] = agent
		}
		for i := 0; i+1 < len(fields); i += 2 {
			line[fields[i].(string)] = fields[i+1]
		}
		text, err := json.Marshal(line)
		if err != nil {
			text = fmt.Appendf(nil, `{"step":%q,"error":%q}`, step, err)
		}
		fmt.Fprintf(b.out, "%s\n", text)
		return
	}
	if step == "who" || step == "gate" {
		return // shown as a block
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s  %-11s %s", now.Format("15:04:05.0"), agent, strings.ReplaceAll(step, "_", " "))
	for i := 0; i+1 < len(fields); i += 2 {
		if name := fields[i].(string); name != "credential" && name != "ladder" {
			fmt.Fprintf(&text, "  %s %v", strings.ReplaceAll(name, "_", " "), fields[i+1])
		}
	}
	if !b.live {
		fmt.Fprintln(b.out, text.String())
		return
	}
	b.lines = append(b.lines, text.String())
	shown := shownSteps
	if len(b.foot) > 0 {
		shown = shownStepsAtTheEnd
	}
	b.lines = b.lines[max(0, len(b.lines)-shown):]
}

// row is one agent on the board.
type row struct{ agent, what, where, detail string }

func rowOf(a *seen) row {
	r := row{agent: a.agent.Name, what: a.agent.Story, where: "no policy violated"}
	calls := a.report.Calls
	r.detail = fmt.Sprintf("%d calls, %d denied", calls.OK, calls.Denied)
	l := a.ladder
	if l == nil {
		return r
	}
	r.where = strings.ToLower(strings.ReplaceAll(l.State.String(), "_", " "))
	switch l.State {
	case pb.LadderState_NOTIFIED, pb.LadderState_REMINDED:
		if l.RevokeAt != nil && l.GetDecision().GetLadder().GetRevoke() {
			r.where += fmt.Sprintf(", revoked in %.0f s", max(0, time.Until(l.RevokeAt.AsTime()).Seconds()))
		}
	case pb.LadderState_HELD:
		r.where += " by " + l.Waiting
	case pb.LadderState_ESCALATED:
		r.where += ": nobody is known who could be told"
	case pb.LadderState_EXEMPTED:
		r.where += " by an approved exception"
	}
	if a.restored != nil {
		r.where = "revoked, given back to " + a.restored.GetRestoration().GetAskedBy() + ": now " + r.where
	}
	if a.closed != nil {
		r.where = fmt.Sprintf("revoked, given back with %d of %d permissions", a.closed.Reissue.GetGrantedAfter(), a.closed.Reissue.GetGrantedBefore())
	}
	return r
}

func (b *board) draw(rows []row) {
	b.mu.Lock()
	defer b.mu.Unlock()
	width, height := 120, 40
	if file, ok := b.out.(*os.File); ok {
		if w, h, err := term.GetSize(int(file.Fd())); err == nil && w > 20 && h > 10 {
			width, height = w, h
		}
	}
	lines := append(make([]string, 0, len(b.head)+len(rows)+len(b.lines)+4), b.head...)
	lines = append(lines, fmt.Sprintf("%-12s %-62s %s", "AGENT", "ON THE LADDER", "CALLS WITH ITS CREDENTIAL"))
	for _, r := range rows {
		lines = append(lines, fmt.Sprintf("%-12s %-62s %s", r.agent, r.where, r.detail))
	}
	lines = append(append(append(lines, ""), b.lines...), b.foot...)
	lines = append(lines, "", "Ctrl-C ends the demo.")
	lines = lines[max(0, len(lines)-height+1):]
	var text strings.Builder
	text.WriteString("\x1b[H") // home; each line then clears the rest of its row
	for _, line := range lines {
		if runes := []rune(line); len(runes) > width-1 {
			line = string(runes[:width-2]) + "…"
		}
		text.WriteString(line + "\x1b[K\n")
	}
	text.WriteString("\x1b[J")
	fmt.Fprint(b.out, text.String())
}

// screen is the demo's channel: owners are told on the board.
type screen struct {
	board   *board
	channel string
}

func (s *screen) Kind() string { return "demo" }

func (s *screen) Send(_ context.Context, m notify.Message) error {
	fields := []any{"channel", s.channel, "owner", m.Owner, "title", m.Title}
	if m.RevokeAt != nil {
		fields = append(fields, "revoke_at", m.RevokeAt.UTC().Format("2006-01-02T15:04:05.000Z"))
	}
	s.board.step("told_"+string(m.Kind), m.Agent, fields...)
	return nil
}

func deliveryDir(opts Options) string { return filepath.Join(opts.Dir, "delivery") }
