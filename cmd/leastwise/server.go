package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/leastwise/leastwise/cmd/leastwise/remote"
	"github.com/leastwise/leastwise/console/contract"
)

// serverFlag points a command at a running console. With it the command needs neither configuration, Kafka nor ClickHouse.
type serverFlag struct {
	Server  string `help:"Ask the console at this address, by its API; no configuration file is needed then." env:"LEASTWISE_SERVER" placeholder:"URL"`
	Session string `help:"With --server: a file that holds a session's token, or a link that 'leastwise link' printed." env:"LEASTWISE_SESSION" type:"path" placeholder:"FILE"`
	Cert    string `help:"With --server: a client certificate with a SPIFFE ID (PEM)." type:"path" placeholder:"FILE"`
	Key     string `help:"With --server: its key (PEM)." type:"path" placeholder:"FILE"`
	CA      string `name:"ca" help:"With --server: who signed the server's certificate (PEM); the system's roots if not given." type:"path" placeholder:"FILE"`
}

// client is nil if no server is named.
func (s *serverFlag) client(ctx context.Context) (*remote.Client, error) {
	if s.Server == "" {
		if s.Cert != "" || s.Key != "" || s.CA != "" {
			return nil, fmt.Errorf("%w: --cert, --key and --ca go with --server", errUsage)
		}
		return nil, nil
	}
	c, err := remote.New(ctx, remote.Options{URL: s.Server, Session: s.Session, Cert: s.Cert, Key: s.Key, CA: s.CA})
	return c, usageIf(err, remote.ErrUsage)
}

// signed refuses --by: at a server one is who signed in.
func signed(b by) error {
	if b.By != "" {
		return fmt.Errorf("%w: with --server, who does this is who signed in; leave out --by", errUsage)
	}
	return nil
}

func post[T any](ctx context.Context, c *remote.Client, path string, body any) (T, error) {
	var out T
	err := c.Post(ctx, path, body, &out)
	return out, err
}

func exceptionPath(id, act string) string { return "/v1/exceptions/" + url.PathEscape(id) + "/" + act }

func listRemoteExceptions(ctx context.Context, c *remote.Client) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSTATE\tPOLICY\tFOR\tUNTIL\tASKED BY\tAPPROVED BY\tREASON")
	query := url.Values{"limit": {"500"}}
	for {
		var page contract.Page[contract.Exception]
		if err := c.Get(ctx, "/v1/exceptions", query, &page); err != nil {
			return err
		}
		for _, e := range page.Items {
			until := "-"
			if e.Until != nil {
				until = e.Until.UTC().Format(time.RFC3339)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%q\n", e.ID, e.State, printable(e.Policy), printable(given(e.Credential)+given(e.Identity)), until,
				printable(e.RequestedBy), printable(orDash(given(e.ApprovedBy))), e.Reason)
		}
		if page.Next == nil {
			return w.Flush()
		}
		query.Set("cursor", *page.Next)
	}
}

func given(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// findRemote gives the one credential whose key is name or ends in it.
func findRemote(ctx context.Context, c *remote.Client, name string) (*contract.CredentialDetail, error) {
	var found contract.CredentialDetail
	err := c.Get(ctx, "/v1/credential", url.Values{"key": {name}}, &found)
	var refused *remote.Error
	if err == nil || !errors.As(err, &refused) || refused.Status != http.StatusNotFound {
		return &found, err
	}
	var page contract.Page[contract.Credential]
	if err := c.Get(ctx, "/v1/credentials", url.Values{"q": {name}, "owner": {"*"}, "limit": {"500"}}, &page); err != nil {
		return nil, err
	}
	var keys []string
	for _, one := range page.Items {
		if strings.HasSuffix(one.Key, name) {
			keys = append(keys, one.Key)
		}
	}
	switch len(keys) {
	case 0:
		return nil, fmt.Errorf("%w: no credential %q", errUsage, name)
	case 1:
		err := c.Get(ctx, "/v1/credential", url.Values{"key": keys}, &found)
		return &found, err
	}
	return nil, fmt.Errorf("%w: %q ends the keys of %d credentials, such as %s and %s; give more of it", errUsage, name, len(keys), printable(keys[0]), printable(keys[1]))
}

// whoRemote prints one identity as the console knows it.
func whoRemote(ctx context.Context, c *remote.Client, name, asOf string) error {
	var id contract.Identity
	ask := func(name string) error {
		query := url.Values{"name": {name}}
		if asOf != "" {
			query.Set("as_of", asOf)
		}
		return c.Get(ctx, "/v1/identity", query, &id)
	}
	err := ask(name)
	var refused *remote.Error
	if errors.As(err, &refused) && refused.Status == http.StatusNotFound {
		cred, missing := findRemote(ctx, c, name)
		if missing != nil {
			return missing
		}
		err = ask(cmp.Or(given(cred.Principal), cred.Key))
	}
	if err != nil {
		return err
	}
	fmt.Printf("%s\n", printable(id.Name))
	for _, list := range []struct {
		title string
		names []string
	}{{"names", id.Names}, {"agents", id.Agents}, {"owners", id.Owners}, {"systems of record", id.Systems}} {
		for _, one := range list.names {
			fmt.Printf("  %-18s%s\n", list.title, printable(one))
			list.title = ""
		}
		if len(list.names) == 0 {
			fmt.Printf("  %-18snot known\n", list.title)
		}
	}
	for _, l := range id.Links {
		taken := ""
		if l.Retracted {
			taken = ", taken back"
		}
		fmt.Printf("  %s %s %s (%s%s): %s\n", printable(l.From), strings.ReplaceAll(l.Kind, "_", " "), printable(l.To), l.Confidence, taken, printable(l.Evidence))
	}
	for _, conflict := range id.Conflicts {
		fmt.Printf("  CONFLICT  %s\n", printable(conflict.Detail))
	}
	fmt.Printf("  holds %d credentials\n", id.HeldTotal)
	for _, held := range id.Held {
		fmt.Printf("    %s  %s\n", printable(held.Key), held.State)
	}
	return nil
}

// explainRemote prints how a credential stands, as the policies in force decided last.
func explainRemote(ctx context.Context, c *remote.Client, name string) error {
	cred, err := findRemote(ctx, c, name)
	if err != nil {
		return err
	}
	fmt.Printf("credential %s (%s of %s), %s\n", printable(cred.Key), cred.Type, cred.Source, cred.State)
	fmt.Printf("owner      %s\n", printable(cmp.Or(given(cred.Owner), "not known")))
	if len(cred.Violations) == 0 {
		fmt.Println("\nIt stands past no policy in force.")
	}
	for _, v := range cred.Violations {
		fmt.Printf("\n%s  VIOLATED  (%s)\n  %s is %s, %s %s\n  %s\n", printable(v.Policy), printable(v.Severity), v.Metric, printable(v.Value),
			strings.ReplaceAll(v.Condition, "_", " "), printable(v.Threshold), printable(v.Title))
		if v.Evidence != "" {
			fmt.Printf("  %s\n", printable(v.Evidence))
		}
		if v.Hint != "" {
			fmt.Printf("  what to do: %s\n", printable(v.Hint))
		}
	}
	if l := cred.Ladder; l != nil {
		fmt.Printf("\nladder     %s since %s", printable(l.Label), l.Since.UTC().Format(time.RFC3339))
		if l.Next != nil && l.NextAt != nil {
			fmt.Printf("; next: %s at %s", printable(*l.Next), l.NextAt.UTC().Format(time.RFC3339))
		}
		if l.Waiting != nil {
			fmt.Printf("; waits: %s", printable(*l.Waiting))
		}
		fmt.Println()
	}
	if e := cred.Exception; e != nil {
		fmt.Printf("exception  %s from %s, %s\n", e.ID, printable(e.Policy), e.State)
	}
	return nil
}

// doctorRemote tells how the whole stands; it exits with 1 if something is amiss.
func doctorRemote(ctx context.Context, c *remote.Client) error {
	var status contract.Status
	if err := c.Get(ctx, "/v1/status", nil, &status); err != nil {
		return err
	}
	well := true
	for _, s := range status.Stores {
		fmt.Printf("%-12s %s\n", s.Name, printable(cmp.Or(given(s.Error), "well")))
		well = well && s.Error == nil
	}
	fmt.Printf("%-12s %s\n", "mode", status.Mode)
	if status.Killed {
		fmt.Printf("%-12s on, by %s: %s\n", "kill switch", printable(given(status.KilledBy)), printable(given(status.KilledWhy)))
	}
	if status.Old {
		newest := "there is none yet"
		if !status.AsOf.IsZero() {
			newest = "old: nothing newer than " + status.AsOf.UTC().Format(time.RFC3339)
		}
		fmt.Printf("%-12s %s\n", "data", newest)
		well = false
	}
	var sources contract.List[contract.Source]
	if err := c.Get(ctx, "/v1/sources", nil, &sources); err != nil {
		return err
	}
	for _, s := range sources.Items {
		fmt.Printf("%-12s %s/%s: %s %s\n", "source", printable(s.Source), printable(s.Instance), s.State, printable(given(s.Trouble)))
		well = well && s.State == "well"
	}
	if !well {
		return exit(exitFailed)
	}
	return nil
}
