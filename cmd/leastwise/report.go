package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
	"github.com/leastwise/leastwise/cmd/leastwise/digest"
	"github.com/leastwise/leastwise/enforcer/notify"
	"github.com/leastwise/leastwise/processor/catalog"
)

type reportCommand struct {
	configFlag
	Week   bool   `help:"Of the last seven days and the next: the one report there is."`
	Owner  string `help:"Of this owner alone." placeholder:"ID"`
	DryRun bool   `help:"Print the digests, and send nothing."`
}

// Run sends each owner a digest, over the channels that the catalog names for them. Run twice it sends twice. It exits with
// 1 if somebody could not be told.
func (c *reportCommand) Run(ctx context.Context) error {
	if !c.Week {
		return fmt.Errorf("%w: say of which time: --week", errUsage)
	}
	return c.attached(ctx, func(engines *allinone.Engines, cfg *allinone.Config) error {
		var cat *catalog.Catalog
		if cfg.Catalog.Path != "" {
			var err error
			if cat, err = catalog.Load(cfg.Catalog.Path); err != nil {
				return fmt.Errorf("%w: %w", errUsage, err)
			}
		}
		channels, err := notify.Open(cfg.Channels, os.Stdout)
		if err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		owners, err := digest.Owners(ctx, engines.Reader)
		if err != nil {
			return err
		}
		if c.Owner != "" {
			known := slices.Contains(owners, c.Owner)
			if cat != nil && !known {
				_, known = cat.Owner(c.Owner)
			}
			if !known {
				return fmt.Errorf("%w: no owner %q in the catalog, nor of any credential", errUsage, c.Owner)
			}
			owners = []string{c.Owner}
		}
		return c.tell(ctx, engines, cat, channels, owners)
	})
}

func (c *reportCommand) tell(ctx context.Context, engines *allinone.Engines, cat *catalog.Catalog, channels map[string]notify.Channel, owners []string) error {
	failed, sent, now := 0, 0, time.Now()
	for _, id := range owners {
		d, err := digest.Of(ctx, engines.Reader, id, now)
		if err != nil {
			return err
		}
		if d.Empty() && c.Owner == "" {
			continue
		}
		name, over := id, []string(nil)
		if cat != nil {
			if owner, ok := cat.Owner(id); ok {
				over = owner.Channels
				if owner.Name != "" {
					name = owner.Name
				}
			}
		}
		m := d.Message(name)
		if c.DryRun {
			fmt.Printf("To %s, over %s\n%s\n\n%s\n\n", printable(name), printable(fmt.Sprint(over)), m.Title, m.Text)
			continue
		}
		told, err := send(ctx, channels, over, m)
		if told > 0 {
			sent++
		}
		if err != nil {
			failed++
			fmt.Fprintf(os.Stderr, "%s was not told, or not over all channels: %v\n", printable(id), err)
		}
	}
	if !c.DryRun {
		fmt.Fprintf(os.Stderr, "%d owners told, %d with trouble\n", sent, failed)
	}
	if failed > 0 {
		return exit(exitFailed)
	}
	return nil
}

// send over every channel; how many took it. An Alertmanager is passed over: a digest is no alert.
func send(ctx context.Context, channels map[string]notify.Channel, over []string, m notify.Message) (told int, err error) {
	for _, name := range over {
		channel, ok := channels[name]
		switch {
		case !ok:
			err = errors.Join(err, fmt.Errorf("channel %q is not in the configuration", name))
		case channel.Kind() == "alertmanager":
		default:
			if failed := channel.Send(ctx, m); failed != nil {
				err = errors.Join(err, fmt.Errorf("channel %q: %w", name, failed))
			} else {
				told++
			}
		}
	}
	if told == 0 && err == nil {
		err = errors.New("the catalog names no channel for them that takes a digest (Slack, mail, webhook, stdout)")
	}
	return told, err
}
