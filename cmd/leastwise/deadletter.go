package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
	"github.com/leastwise/leastwise/cmd/leastwise/deadletter"
)

type deadLetterCommand struct {
	List   deadLetterList   `cmd:"" help:"List records that could not be read, newest first."`
	Show   deadLetterShow   `cmd:"" help:"Show what is known of one. The record itself is not kept: it may hold secrets."`
	Replay deadLetterReplay `cmd:"" help:"Read records again, and publish what they tell. Nothing counts twice."`
}

// which dead letters are meant.
type which struct {
	Source string `help:"Only of this source." placeholder:"NAME"`
	Reason string `help:"Only of this reason: malformed, truncated, too_long, too_deep, encoding, rejected; replayed for those that were read after all." placeholder:"REASON"`
	Limit  int    `help:"At most so many, the newest." default:"10000"`
}

type deadLetterList struct {
	configFlag
	which
}

func (c *deadLetterList) Run(ctx context.Context) error {
	return c.attached(ctx, func(engines *allinone.Engines, _ *allinone.Config) error {
		letters, all, err := deadletter.List(ctx, engines.Store, deadletter.Filter{Source: c.Source, Reason: c.Reason, Limit: c.Limit})
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tREAD AT\tSOURCE\tREASON\tPOSITION\tWHY")
		for _, l := range letters {
			fmt.Fprintf(w, "%s\t%s\t%s/%s\t%s\t%s\t%s\n", l.ID[:12], l.ObservedAt.Format(time.RFC3339), printable(l.Source), printable(l.Instance),
				printable(l.Reason), printable(l.Position), printable(l.Detail))
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if more := all - uint64(len(letters)); more > 0 {
			fmt.Printf("… and %d more (--limit)\n", more)
		}
		return nil
	})
}

type deadLetterShow struct {
	configFlag
	ID string `arg:"" help:"Id of the dead letter, or how it begins."`
}

func (c *deadLetterShow) Run(ctx context.Context) error {
	return c.attached(ctx, func(engines *allinone.Engines, _ *allinone.Config) error {
		letters, _, err := deadletter.List(ctx, engines.Store, deadletter.Filter{IDs: []string{c.ID}, Limit: 2})
		if err != nil {
			return usageIf(err, deadletter.ErrNone)
		}
		l := letters[0]
		fmt.Printf("id        %s\nsource    %s/%s\nposition  %s\nread at   %s\nreason    %s\nwhy       %s\nlength    %d bytes\nsha256    %x\noutline   %s\n",
			l.ID, printable(l.Source), printable(l.Instance), printable(l.Position), l.ObservedAt.Format(time.RFC3339), printable(l.Reason),
			printable(l.Detail), l.Length, l.SHA256, printable(l.Excerpt))
		return nil
	})
}

type deadLetterReplay struct {
	configFlag
	which
	IDs    []string `arg:"" optional:"" name:"id" help:"Ids of dead letters, or how they begin."`
	All    bool     `help:"All that --source and --reason leave."`
	From   []string `help:"Look in this file or directory for the records, in place of where they stood; may be given again." placeholder:"PATH"`
	DryRun bool     `help:"Say what would come of it, and publish nothing."`
}

// Run exits with 1 if something could not be read again.
func (c *deadLetterReplay) Run(ctx context.Context) error {
	if c.All == (len(c.IDs) > 0) {
		return fmt.Errorf("%w: give ids of dead letters, or --all (with --source and --reason for some of them)", errUsage)
	}
	cfg, env, err := c.load("leastwise", "error")
	if err != nil {
		return err
	}
	engines, err := allinone.Attach(ctx, &cfg, env)
	if err != nil {
		return err
	}
	defer engines.Close()
	letters, all, err := deadletter.List(ctx, engines.Store, deadletter.Filter{IDs: c.IDs, Source: c.Source, Reason: c.Reason, Limit: c.Limit})
	if err != nil {
		return usageIf(err, deadletter.ErrNone)
	}
	read, failed, events := 0, 0, 0
	err = deadletter.Run(ctx, &cfg, engines.Stream, letters, deadletter.Options{From: c.From, DryRun: c.DryRun}, func(o deadletter.Outcome) {
		if o.Failed != "" {
			failed++
			place := o.Where
			if place == "" {
				place = o.Letter.Position
			}
			fmt.Printf("%s  %s  failed: %s\n", o.Letter.ID[:12], printable(place), printable(o.Failed))
			return
		}
		read++
		events += o.Events
		fmt.Printf("%s  %s  read, tells %s\n", o.Letter.ID[:12], printable(o.Where), eventsOf(o.Events))
	})
	if err != nil {
		return err
	}
	done := "published"
	if c.DryRun {
		done = "would be published"
	}
	fmt.Printf("%d read again (%s %s), %d failed\n", read, eventsOf(events), done, failed)
	if more := all - uint64(len(letters)); more > 0 {
		fmt.Printf("%d more are left: run it again, or give --limit\n", more)
	}
	if failed > 0 {
		return exit(exitFailed)
	}
	return nil
}

// printable makes text from logs harmless for a terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '·'
	}, text)
}

func eventsOf(n int) string {
	if n == 1 {
		return "1 event"
	}
	return fmt.Sprintf("%d events", n)
}
