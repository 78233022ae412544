package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/leastwise/leastwise/cmd/leastwise/gate"
	"github.com/leastwise/leastwise/cmd/leastwise/spirepolicy"
	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/rego"
)

type spireCommand struct {
	Policies    string        `help:"Directory of YAML policies." required:"" type:"existingdir"`
	Catalog     string        `help:"Catalog of agents and owners, a file or a directory." required:"" placeholder:"FILE"`
	Exceptions  string        `help:"File of exceptions, as the gate reads it." placeholder:"FILE"`
	Instance    string        `help:"The SPIRE server's name in keys." default:"default"`
	DefaultX509 time.Duration `name:"default-x509-svid-ttl" help:"The server's own default_x509_svid_ttl." default:"1h"`
	DefaultJWT  time.Duration `name:"default-jwt-svid-ttl" help:"The server's own default_jwt_svid_ttl." default:"5m"`
	Trust       []string      `help:"SPIFFE ID of a caller that is not judged: the enforcer's. May be repeated." placeholder:"SPIFFE-ID"`
	PolicyData  string        `help:"SPIRE's own policy_data.json of the server's release (default: that of 1.13.3)." placeholder:"FILE"`
	Out         string        `help:"Directory to write to." default:"." type:"path"`
}

func (c *spireCommand) Run(ctx context.Context) error {
	engine, err := rego.New(ctx, rego.Options{PolicyDir: c.Policies})
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	o := spirepolicy.Options{Rules: engine.Current(), Instance: c.Instance, DefaultX509: c.DefaultX509, DefaultJWT: c.DefaultJWT,
		Trusted: c.Trust, Now: time.Now()}
	if o.Catalog, err = catalog.Load(c.Catalog); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if c.Exceptions != "" {
		exceptions, err := gate.LoadExceptions(c.Exceptions)
		if err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		o.Exceptions = exceptions.InForce()
	}
	if c.PolicyData != "" {
		if o.APIs, err = os.ReadFile(c.PolicyData); err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
	}
	data, limits, err := spirepolicy.Generate(ctx, o)
	if err != nil {
		return err
	}
	rules, facts := filepath.Join(c.Out, "leastwise.rego"), filepath.Join(c.Out, "leastwise.json")
	for name, text := range map[string][]byte{rules: spirepolicy.Rego, facts: data} {
		if err := os.WriteFile(name, text, 0o644); err != nil { //nolint:gosec // SPIRE's user reads it; it holds no secret
			return err
		}
	}
	c.tell(limits, rules, facts)
	return nil
}

func (c *spireCommand) tell(limits spirepolicy.Limits, rules, facts string) {
	ttl := func(seconds int64) string {
		if seconds < 0 {
			return "any TTL"
		}
		return (time.Duration(seconds) * time.Second).String()
	}
	var ids []string
	for id := range limits.Identities {
		ids = append(ids, id)
	}
	for id := range limits.Grants {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		known, ok := limits.Identities[id]
		switch {
		case ok && known.Owner != "":
			fmt.Printf("%s (%s): X.509 %s, JWT %s\n", id, known.Owner, ttl(known.X509), ttl(known.JWT))
		case ok:
			fmt.Printf("%s: refused, since more than one owner claims it, or another condition of the catalog is not known at SPIRE\n", id)
		default:
			fmt.Printf("%s: not in the catalog\n", id)
		}
		for _, g := range limits.Grants[id] {
			lets := fmt.Sprintf("X.509 %s, JWT %s", ttl(g.X509), ttl(g.JWT))
			for _, beside := range []struct {
				what string
				set  bool
			}{{"admin", g.Admin}, {"downstream", g.Downstream}, {"no owner", g.Owner}} {
				if beside.set {
					lets += ", " + beside.what
				}
			}
			fmt.Printf("    until %s by exception %v: %s\n", g.Until, g.Exceptions, lets)
		}
	}
	fmt.Printf("Every other SPIFFE ID is refused: nobody answers for it. Updates that name no SPIFFE ID: X.509 %s, JWT %s.\n",
		ttl(limits.Strictest["x509"]), ttl(limits.Strictest["jwt"]))
	fmt.Printf("\nIn the server's configuration, then restart it:\n\n  experimental {\n    auth_opa_policy_engine {\n      local {\n        rego_path = %q\n        policy_data_path = %q\n      }\n    }\n  }\n", rules, facts)
}
