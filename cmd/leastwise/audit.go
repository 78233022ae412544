package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
	"github.com/leastwise/leastwise/cmd/leastwise/attest"
)

type auditCommand struct {
	Verify     auditVerify     `cmd:"" help:"Prove that no row of the audit log was changed, or removed from its middle; with a checkpoint, nor from its end."`
	Key        auditKey        `cmd:"" help:"Make the site key that signs checkpoints."`
	Checkpoint auditCheckpoint `cmd:"" help:"Sign where the audit log ends now. Keep it where the log's keepers can not write."`
	Export     auditExport     `cmd:"" help:"Write the audit log so that a third party can verify it without this program."`
}

type auditVerify struct {
	configFlag
	Checkpoint string `help:"A checkpoint signed before: the log must go on from it." type:"existingfile" placeholder:"FILE"`
	PublicKey  string `help:"The site key's public half, for --checkpoint." type:"existingfile" placeholder:"FILE"`
}

func (c *auditVerify) Run(ctx context.Context) error {
	var old *attest.Checkpoint
	if (c.Checkpoint == "") != (c.PublicKey == "") {
		return fmt.Errorf("%w: --checkpoint and --public-key are given together", errUsage)
	}
	if c.Checkpoint != "" {
		signed, err := os.ReadFile(c.Checkpoint)
		if err != nil {
			return err
		}
		public, err := os.ReadFile(c.PublicKey)
		if err != nil {
			return err
		}
		if old, err = attest.Open(signed, string(public)); err != nil {
			return fmt.Errorf("%s: %w", c.Checkpoint, err)
		}
	}
	return c.attached(ctx, func(engines *allinone.Engines, _ *allinone.Config) error {
		var now *attest.Checkpoint
		var err error
		if old == nil {
			now, err = attest.Walk(ctx, engines.Store, nil)
		} else {
			now, err = attest.Holds(ctx, engines.Store, old)
		}
		if err != nil {
			return err
		}
		var rows uint64
		for _, head := range now.Heads {
			rows += head.Rows
		}
		fmt.Printf("%d rows in %d chains prove themselves\n", rows, len(now.Heads))
		if old != nil {
			fmt.Printf("they go on from the checkpoint of %s\n", old.At.Format("2006-01-02 15:04:05 UTC"))
		}
		return nil
	})
}

type auditKey struct {
	Name string `help:"Name of the site, as verifiers will see it." required:"" placeholder:"NAME"`
	Out  string `help:"File for the private half; the public half goes beside it with .pub." required:"" type:"path" placeholder:"FILE"`
}

func (c *auditKey) Run() error {
	private, public, err := attest.NewKey(c.Name)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	// Never over a key that is there: checkpoints signed by it could not be verified any more.
	for name, text := range map[string]string{c.Out: private, c.Out + ".pub": public} {
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = f.WriteString(text + "\n")
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	fmt.Printf("%s signs, keep it secret; give %s.pub to whoever verifies\n", c.Out, c.Out)
	return nil
}

type auditCheckpoint struct {
	configFlag
	Key string `help:"The site key." required:"" type:"existingfile" placeholder:"FILE"`
}

func (c *auditCheckpoint) Run(ctx context.Context) error {
	private, err := os.ReadFile(c.Key)
	if err != nil {
		return err
	}
	return c.attached(ctx, func(engines *allinone.Engines, _ *allinone.Config) error {
		now, err := attest.Walk(ctx, engines.Store, nil)
		if err != nil {
			return err
		}
		signed, err := now.Sign(string(private))
		if err != nil {
			return err
		}
		_, err = os.Stdout.Write(signed)
		return err
	})
}

type auditExport struct {
	configFlag
	Key string `help:"The site key." required:"" type:"existingfile" placeholder:"FILE"`
	Out string `help:"File to write; - for standard output." default:"-" placeholder:"FILE"`
}

func (c *auditExport) Run(ctx context.Context) error {
	private, err := os.ReadFile(c.Key)
	if err != nil {
		return err
	}
	return c.attached(ctx, func(engines *allinone.Engines, _ *allinone.Config) error {
		var to io.WriteCloser = os.Stdout
		if c.Out != "-" {
			if to, err = os.OpenFile(c.Out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
				return err
			}
		}
		rows, err := attest.Export(ctx, engines.Store, to, string(private))
		if err := errors.Join(err, to.Close()); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "%d rows and a signed checkpoint; verify with docs/verify-audit.py\n", rows)
		return nil
	})
}
