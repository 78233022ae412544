// Command leastwise is the whole of Leastwise in one process, and the tools around it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/leastwise/leastwise/cmd/leastwise/scan"
	"github.com/leastwise/leastwise/internal/daemon"
)

type cli struct {
	Scan       scanCommand       `cmd:"" help:"Report on credentials from log files at hand. No server is needed."`
	Up         upCommand         `cmd:"" help:"Run all components in this process, by one configuration file."`
	Console    consoleCommand    `cmd:"" help:"Run the page and its API alone, beside components that run elsewhere."`
	Link       linkCommand       `cmd:"" help:"Print a link that signs somebody in to the running page, once."`
	Policy     policyCommand     `cmd:"" help:"Test policies, and explain how a credential stands."`
	Who        whoCommand        `cmd:"" help:"Show an identity: all its names, its owner and system of record, and the evidence."`
	Scope      scopeCommand      `cmd:"" help:"Show what a policy document grants, permission by permission."`
	Rightsize  rightsizeCommand  `cmd:"" help:"Propose the scope that observed use justifies, and say what it would have refused."`
	Compromise compromiseCommand `cmd:"" help:"Say what the holder of a leaked credential could do, step by step, now and after it was narrowed or revoked."`
	Admit      admitCommand      `cmd:"" help:"Say whether a credential may be issued as somebody wants it, or who has to justify it first."`
	Gate       gateCommand       `cmd:"" help:"Refuse deployments whose identities nobody answers for."`
	Broker     brokerCommand     `cmd:"" help:"Issue credentials of Vault to agents: within policy at once, beyond it after approval."`
	SPIRE      spireCommand      `cmd:"" name:"spire-policy" help:"Write an authorization policy for SPIRE server that refuses entries nobody justified."`
	DeadLetter deadLetterCommand `cmd:"" name:"deadletter" help:"List records that could not be read, and read them again."`
	Report     reportCommand     `cmd:"" help:"Send each owner a digest: what stands past policy, what was done, what comes."`
	Exception  exceptionCommand  `cmd:"" help:"Ask for, approve, end and list exceptions."`
	Control    controlCommand    `cmd:"" help:"Change what the enforcer may do while it runs."`
	Plan       planCommand       `cmd:"" help:"Say what the enforcer would do, when, and what holds it back. Nothing is changed."`
	Resume     resumeCommand     `cmd:"" help:"Let revocations go on that a budget stopped; the budget begins anew."`
	Restore    restoreCommand    `cmd:"" help:"Give back what a ladder took, now, with a reason."`
	Rollback   rollbackCommand   `cmd:"" help:"Undo a re-issue: put back the policies that it replaced."`
	Audit      auditCommand      `cmd:"" help:"Prove the audit log."`
	Rotate     rotateCommand     `cmd:"" name:"spire-rotate" help:"Replace a SPIRE server's signing authority: the last resort, by two people."`
	Demo       demoCommand       `cmd:"" help:"Watch the whole loop on a real Vault with a fleet of agents."`
	Doctor     doctorCommand     `cmd:"" help:"Tell what the enforcer lacks at Vault, and print the Vault policy it needs."`
	Bench      benchCommand      `cmd:"" help:"Measure what this machine reaches, figure by figure, against the budgets."`
	BenchPage  benchPageCommand  `cmd:"" help:"Measure the page and its API on a fleet of 100,000 credentials."`
	Crash      crashCommand      `cmd:"" hidden:"" help:"Prove by killing every component that nothing is lost, doubled or revoked twice."`
	Version    kong.VersionFlag  `help:"Print the version and end."`
}

// exit is an error that sets the exit code and prints nothing more.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// Exit codes: 1, it ran and failed, or found what --fail-on names; 2, arguments or files given are wrong.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(150) // memory is held by few long-lived objects; more than this is spent again on touching fresh pages
	}
	os.Exit(run(ctx, os.Args[1:]))
}

func run(ctx context.Context, args []string) int {
	var commands cli
	parser, err := kong.New(&commands, kong.Name("leastwise"), kong.UsageOnError(),
		kong.Description("Least privilege, in time as well as in scope, for the credentials that agents and workloads hold."),
		kong.Vars{"version": "leastwise " + daemon.Version}, kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.BindTo(ctx, (*context.Context)(nil)))
	if err != nil {
		fmt.Fprintln(os.Stderr, "leastwise:", err)
		return exitFailed
	}
	command, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "leastwise: %v (see leastwise --help)\n", err)
		return exitUsage
	}
	return exitCode(command.Run())
}

func exitCode(err error) int {
	var code exit
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.Is(err, scan.ErrUsage), errors.Is(err, daemon.ErrConfig), errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "leastwise:", err)
		return exitUsage
	default:
		fmt.Fprintln(os.Stderr, "leastwise:", err)
		return exitFailed
	}
}

// errUsage marks errors that the caller mends by calling otherwise.
var errUsage = errors.New("usage")
