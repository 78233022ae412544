package enforcer

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/leastwise/leastwise/enforcer/control"
	"github.com/leastwise/leastwise/enforcer/ssf"
	"github.com/leastwise/leastwise/enforcer/target/aws"
	"github.com/leastwise/leastwise/enforcer/target/gcp"
	"github.com/leastwise/leastwise/enforcer/target/oauth"
	"github.com/leastwise/leastwise/enforcer/target/spire"
	"github.com/leastwise/leastwise/enforcer/target/vault"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// Config is the `enforcer` section. Zero values mean the defaults.
type Config struct {
	// Mode caps every policy's mode: observe (default), notify, enforce. A
	// control record wins over it while the enforcer runs.
	Mode string `yaml:"mode"`
	// Budget of revocations: a count an hour and a share of the live
	// credentials, whichever is less. Default "20/h 5%". A control record wins.
	Budget string `yaml:"budget"`
	// Budgets bound what is revoked at one target, or of one owner, besides.
	Budgets Budgets `yaml:"budgets"`
	// Freeze are times within which nothing is revoked, whatever policies say.
	Freeze []Freeze `yaml:"freeze"`
	// LiveCredentials is the number the share is taken of; 0 (default): asked
	// of all targets.
	LiveCredentials int `yaml:"live_credentials"`
	// MaxDecisionAge is how long ago the decision may have been confirmed on
	// which a credential is revoked. Default 5m.
	MaxDecisionAge time.Duration `yaml:"max_decision_age"`
	// NotifyDeadline is how long channels of an owner are tried before it is
	// escalated that nobody could be told. Default 1h.
	NotifyDeadline time.Duration `yaml:"notify_deadline"`
	// Escalation are the channels told when a ladder is stuck.
	Escalation []string `yaml:"escalation"`
	// Protect lists credentials that are never revoked.
	Protect []Protection `yaml:"protect"`
	// RetryMin and RetryMax bound the back-off of failed acts. Default 2s, 10m.
	RetryMin time.Duration `yaml:"retry_min"`
	RetryMax time.Duration `yaml:"retry_max"`
	// MaxAttempts of an act before it is escalated. Default 8.
	MaxAttempts int `yaml:"max_attempts"`
	// HoldEvery is how often a held ladder is looked at again. Default 1m.
	HoldEvery time.Duration `yaml:"hold_every"`
	// LogDeadline is how long the issuer's log may take to show a revocation
	// before the ladder closes without it. Default 10m.
	LogDeadline time.Duration `yaml:"log_deadline"`
	// ActTimeout bounds one call at a target or channel. Default 30s.
	ActTimeout time.Duration `yaml:"act_timeout"`
	// Writer names this instance in the journal. Default: host name and pid.
	Writer string `yaml:"writer"`
	// Vault are the Vaults at which credentials are revoked.
	Vault []vault.Config `yaml:"vault"`
	// AWS are the accounts at which access keys and sessions are revoked.
	AWS []aws.Config `yaml:"aws"`
	// GCP are the projects at which service-account keys are taken away.
	GCP []gcp.Config `yaml:"gcp"`
	// SPIRE are the servers at which the issuance of SVIDs is ended.
	SPIRE []spire.Config `yaml:"spire"`
	// OAuth are the authorization servers at which tokens are revoked.
	OAuth []oauth.Config `yaml:"oauth"`
	// SSF tells those who accept a credential that it was taken away.
	SSF ssf.Config `yaml:"ssf"`
}

// Budgets of parts of all credentials. Default: the overall one alone.
type Budgets struct {
	// Target is a count and a share, by system/instance: "vault/default".
	Target map[string]string `yaml:"target"`
	// Owner is a count an hour for each owner: "5/h". Credentials of which
	// nobody is known to be the owner count as one owner's.
	Owner string `yaml:"owner"`
}

func (b Budgets) parse() (targets map[string]control.Budget, owner *control.Budget, err error) {
	for name, text := range b.Target {
		limit, err := control.ParseBudget(text)
		if err != nil {
			return nil, nil, fmt.Errorf("enforcer: budgets: target %s: %w", name, err)
		}
		if targets == nil {
			targets = map[string]control.Budget{}
		}
		targets[name] = limit
	}
	if b.Owner != "" {
		limit, err := control.ParseCount(b.Owner)
		if err != nil {
			return nil, nil, fmt.Errorf("enforcer: budgets: owner: %w", err)
		}
		owner = &limit
	}
	return targets, owner, nil
}

// Freeze is a time within which nothing is revoked.
type Freeze struct {
	// From and Until are times as RFC 3339 writes them.
	From   string `yaml:"from"`
	Until  string `yaml:"until"`
	Reason string `yaml:"reason"`
}

func (f Freeze) window() (Window, error) {
	from, err := time.Parse(time.RFC3339, f.From)
	if err != nil {
		return Window{}, fmt.Errorf("from %q: give a time such as 2026-12-20T00:00:00Z", f.From)
	}
	until, err := time.Parse(time.RFC3339, f.Until)
	if err != nil || !until.After(from) {
		return Window{}, fmt.Errorf("until %q: give a time after from", f.Until)
	}
	return Window{From: from, Until: until, Reason: f.Reason}, nil
}

// Protection matches credentials by shell patterns (path.Match, but * crosses
// slashes); all given keys must match.
type Protection struct {
	Credential string            `yaml:"credential"`
	Principal  string            `yaml:"principal"`
	Labels     map[string]string `yaml:"labels"`
}

// Validate says which key is wrong.
func (c Config) Validate() error {
	if c.Mode != "" {
		if _, err := control.ParseMode(c.Mode); err != nil {
			return fmt.Errorf("enforcer: %w", err)
		}
	}
	if c.Budget != "" {
		if _, err := control.ParseBudget(c.Budget); err != nil {
			return fmt.Errorf("enforcer: %w", err)
		}
	}
	if _, _, err := c.Budgets.parse(); err != nil {
		return err
	}
	for i, f := range c.Freeze {
		if _, err := f.window(); err != nil {
			return fmt.Errorf("enforcer: freeze[%d]: %w", i, err)
		}
	}
	for name, d := range map[string]time.Duration{
		"max_decision_age": c.MaxDecisionAge, "notify_deadline": c.NotifyDeadline, "retry_min": c.RetryMin,
		"retry_max": c.RetryMax, "hold_every": c.HoldEvery, "log_deadline": c.LogDeadline, "act_timeout": c.ActTimeout,
	} {
		if d < 0 {
			return fmt.Errorf("enforcer: %s: %s is negative", name, d)
		}
	}
	if c.LiveCredentials < 0 || c.MaxAttempts < 0 {
		return errors.New("enforcer: live_credentials and max_attempts can not be negative")
	}
	if c.RetryMax != 0 && c.RetryMin > c.RetryMax {
		return errors.New("enforcer: retry_min is longer than retry_max")
	}
	for i, p := range c.Protect {
		if err := p.validate(); err != nil {
			return fmt.Errorf("enforcer: protect[%d]: %w", i, err)
		}
	}
	if err := c.SSF.Validate(); err != nil {
		return fmt.Errorf("enforcer: ssf: %w", err)
	}
	return errors.Join(each("vault", c.Vault), each("aws", c.AWS), each("gcp", c.GCP), each("spire", c.SPIRE), each("oauth", c.OAuth))
}

// issuerConfig is one entry of a list of issuers.
type issuerConfig interface {
	Validate() error
	InstanceName() string
}

func each[C issuerConfig](key string, list []C) error {
	seen := map[string]bool{}
	for i, c := range list {
		if err := c.Validate(); err != nil {
			return fmt.Errorf("enforcer: %s[%d]: %w", key, i, err)
		}
		if seen[c.InstanceName()] {
			return fmt.Errorf("enforcer: %s[%d]: instance %q is there twice", key, i, c.InstanceName())
		}
		seen[c.InstanceName()] = true
	}
	return nil
}

func (p Protection) validate() error {
	if p.Credential == "" && p.Principal == "" && len(p.Labels) == 0 {
		return errors.New("give credential, principal or labels: an empty rule would protect everything")
	}
	patterns := []string{p.Credential, p.Principal}
	for _, v := range p.Labels {
		patterns = append(patterns, v)
	}
	for _, pattern := range patterns {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("pattern %q: %w", pattern, err)
		}
	}
	return nil
}

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	if c.Mode == "" {
		c.Mode = "observe"
	}
	if c.Budget == "" {
		c.Budget = "20/h 5%"
	}
	if c.MaxAttempts == 0 {
		c.MaxAttempts = 8
	}
	set(&c.MaxDecisionAge, 5*time.Minute)
	set(&c.NotifyDeadline, time.Hour)
	set(&c.RetryMin, 2*time.Second)
	set(&c.RetryMax, max(10*time.Minute, c.RetryMin))
	set(&c.HoldEvery, time.Minute)
	set(&c.LogDeadline, 10*time.Minute)
	set(&c.ActTimeout, 30*time.Second)
	return c
}

func (c Config) ladder() *Ladder {
	var frozen []Window
	for _, f := range c.Freeze {
		if w, err := f.window(); err == nil { // Validate has refused the others
			frozen = append(frozen, w)
		}
	}
	return &Ladder{
		MaxDecisionAge: c.MaxDecisionAge, NotifyDeadline: c.NotifyDeadline, RetryMin: c.RetryMin, RetryMax: c.RetryMax,
		MaxAttempts: uint32(c.MaxAttempts), LogDeadline: c.LogDeadline, HoldEvery: c.HoldEvery,
		Freeze: frozen,
	}
}

// protects names the rule that protects the decision's credential, or nothing.
func (c Config) protects(d *pb.Decision) string {
	sub := d.GetSubject()
	if sub.GetLabels()["protected"] == "true" {
		return "the catalog protects it"
	}
	for i, p := range c.Protect {
		if p.matches(d.GetCredential(), sub) {
			return fmt.Sprintf("enforcer.protect[%d] protects it", i)
		}
	}
	return ""
}

func (p Protection) matches(credential string, sub *pb.Subject) bool {
	if p.Credential != "" && !glob(p.Credential, credential) || p.Principal != "" && !glob(p.Principal, sub.GetPrincipal()) {
		return false
	}
	for name, pattern := range p.Labels {
		value, ok := sub.GetLabels()[name]
		if !ok || !glob(pattern, value) {
			return false
		}
	}
	return true
}

// glob is path.Match for keys: a slash is a letter as any other. Validate has
// refused bad patterns.
func glob(pattern, text string) bool {
	ok, err := path.Match(strings.ReplaceAll(pattern, "/", "\x00"), strings.ReplaceAll(text, "/", "\x00"))
	return err == nil && ok
}
