package allinone

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/leastwise/leastwise/console"
	"github.com/leastwise/leastwise/console/rules"
	"github.com/leastwise/leastwise/enforcer"
	"github.com/leastwise/leastwise/enforcer/control"
	"github.com/leastwise/leastwise/enforcer/exception"
	"github.com/leastwise/leastwise/internal/daemon"
	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/processor"
	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/processor/identity"
	"github.com/leastwise/leastwise/rego"
)

// consoleOf is the console, if the configuration asks for one: `leastwise up` and `leastwise console` do where the file is
// silent.
func consoleOf(cfg *Config, env daemon.Env, engines *Engines, inForce *processor.InForce, hooks Hooks) ([]func(context.Context) error, error) {
	if cfg.Console.Listen == "" || cfg.Console.Listen == console.NoListen {
		return nil, nil
	}
	name := "local"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	var settings map[string]any
	every := time.Duration(0)
	if engines.engine == nil && !cfg.ClickHouse.Embedded { // a server: no query may write, or take for ever
		settings = map[string]any{"readonly": 2, "max_execution_time": 20, "max_memory_usage": 4 << 30}
	}
	if hooks.Demo != "" {
		every = 500 * time.Millisecond
	}
	c, err := console.New(cfg.Console, console.Deps{Env: env, Store: engines.Reader, Log: engines.Stream, Policies: &policiesOf{inForce: inForce},
		Control: newSettings(engines.Stream, cfg.Enforcer, env.Now), Exceptions: exceptionsOf{engines.Stream, inForce, env.Now}, Names: namesOf{}, Clouds: cloudsOf{},
		Admission: admissionOf{engines, inForce, env.Now},
		Questions: newQuestions(cfg, env, engines, inForce, hooks),
		DataDir:   cfg.DataDir, User: name, Settings: settings, Demo: hooks.Demo, Every: every, Ready: hooks.Console})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", daemon.ErrConfig, err)
	}
	return []func(context.Context) error{c.Run}, nil
}

// RunConsole runs the console alone, beside components that run elsewhere.
func RunConsole(ctx context.Context, cfg Config, env daemon.Env, hooks Hooks) error {
	if user := cfg.Console.ClickHouse; user != nil { // it needs no other, and should hold no password of one that may write
		cfg.ClickHouse.Username, cfg.ClickHouse.PasswordFile = user.Username, user.PasswordFile
	}
	engines, err := Attach(ctx, &cfg, env)
	if err != nil {
		return err
	}
	defer engines.Close()
	return ServeConsole(ctx, cfg, env, engines, hooks)
}

// ServeConsole runs the console on engines that are open.
func ServeConsole(ctx context.Context, cfg Config, env daemon.Env, engines *Engines, hooks Hooks) error {
	inForce, err := processor.NewInForce(ctx, env, cfg.Policies, cfg.Catalog)
	if err != nil {
		return err
	}
	parts, err := consoleOf(&cfg, env, engines, inForce, hooks)
	if err != nil {
		return err
	}
	return daemon.Run(ctx, env, env.Listen, append(parts, inForce.Run)...)
}

// policiesOf tells the console of the policies and the catalog in force. What is made of either is kept until it is replaced.
type policiesOf struct {
	inForce *processor.InForce

	mu       sync.Mutex
	revision string
	policies []rules.Policy
	catalog  *catalog.Catalog
	expected map[string]float64
}

// All implements rules.Policies, as do Applying, Parse and Expected.
func (p *policiesOf) All() ([]rules.Policy, string) {
	set := p.inForce.Rules()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.policies == nil || p.revision != set.Revision() {
		p.policies, p.revision = []rules.Policy{}, set.Revision()
		for _, policy := range set.Policies() {
			p.policies = append(p.policies, policyOf(policy))
		}
	}
	return p.policies, p.revision
}

func policyOf(p rego.Policy) rules.Policy {
	out := rules.Policy{ID: p.ID, Title: p.Description, Rationale: p.Rationale, Mode: p.Enforcement.Mode.String(), MatchAll: p.MatchAll, File: p.File, Line: p.Line,
		Severity: "info", YAML: documentAt(p.File, p.Line),
		ByLabels: len(p.AppliesTo.Labels) > 0 || len(p.AppliesTo.Policies) > 0}
	if len(p.Actions) > 0 {
		out.Severity = p.Actions[0].Severity
	}
	if p.Enforcement.Mode != rego.Observe {
		grace := p.Enforcement.Grace
		out.Grace = &grace
	}
	for _, t := range p.Metrics {
		out.Metrics = append(out.Metrics, rules.Metric{Name: t.Metric.String(), Source: t.Source, Condition: t.Condition.String(), Text: t.Text, Unit: unitOf(t.Metric),
			Value: t.Value, Sources: sourcesOf(t.Source)})
	}
	return out
}

// documentAt gives the document of a YAML file that a line is in; empty if the file is gone.
func documentAt(file string, line int) string {
	raw, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	lines := strings.SplitAfter(string(raw), "\n")
	begin, end := 0, len(lines)
	for i, text := range lines {
		if strings.HasPrefix(text, "---") {
			if i < line {
				begin = i + 1
			} else {
				end = i
				break
			}
		}
	}
	return strings.Join(lines[begin:end], "")
}

func unitOf(m rego.Metric) string {
	switch m {
	case rego.CredentialAge, rego.Lifetime, rego.RemainingValidity, rego.IdleTime, rego.RotationAge:
		return "seconds"
	case rego.UnusedPermissionRatio:
		return "share"
	case rego.UtilizationRatio:
		return "ratio"
	case rego.UnresolvedIdentity, rego.IssuedButUnused, rego.UsedButUnissued, rego.UsageContradiction:
		return "flag"
	}
	return "count"
}

// sourcesOf are the sources of credentials that a metric's source, as policies write it, speaks of; nil is any.
func sourcesOf(name string) []string {
	switch name {
	case "any":
		return nil
	case "iam":
		return []string{"cloudtrail", "gcpaudit"}
	case "aws":
		return []string{"cloudtrail"}
	case "gcp":
		return []string{"gcpaudit"}
	case "jwt":
		return []string{"jwtregistry", "jwt"}
	}
	return []string{name}
}

func (p *policiesOf) Applying(s rules.Subject) []string {
	return p.inForce.Rules().Index(&rego.Subject{Credential: s.Credential, Type: s.Type, Source: s.Source, Principal: s.Principal, Agent: s.Agent, Owner: s.Owner,
		Labels: s.Labels, Policies: s.Policies}).Policies()
}

func (p *policiesOf) Parse(metric, text string) (float64, error) {
	m, ok := rego.ParseMetric(metric)
	if !ok {
		return 0, fmt.Errorf("no metric %q", metric)
	}
	text = strings.TrimSpace(text)
	switch unitOf(m) {
	case "seconds":
		d, err := rego.ParseDuration(text)
		return d.Seconds(), err
	case "flag":
		switch text {
		case "true":
			return 1, nil
		case "false":
			return 0, nil
		}
		return 0, fmt.Errorf(`%q; expected "true" or "false"`, text)
	}
	number, percent := strings.CutSuffix(text, "%")
	value, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || math.IsNaN(value) || math.IsInf(value, 0) || value < 0 {
		return 0, fmt.Errorf("%q; expected a number", text)
	}
	if percent {
		value /= 100
	}
	return value, nil
}

// Rego implements rules.Policies.
func (p *policiesOf) Rego() []rules.Text {
	var out []rules.Text
	for _, text := range p.inForce.Rules().Texts() {
		out = append(out, rules.Text{File: text.File, Source: text.Source})
	}
	return out
}

func (p *policiesOf) Expected(agent string) float64 {
	c := p.inForce.Catalog()
	p.mu.Lock()
	defer p.mu.Unlock()
	if c == nil {
		return 0
	}
	if p.catalog != c {
		p.catalog, p.expected = c, map[string]float64{}
		for _, a := range c.Agents() {
			p.expected[a.ID] = a.ExpectedPerHour
		}
	}
	return p.expected[agent]
}

// defaultBudget is the enforcer's own.
const defaultBudget = "20/h 5%"

// settings are the enforcer's, as the topic leastwise.control and, where it is silent, the configuration say.
type settings struct {
	state  control.State
	log    control.Log
	mode   string
	budget control.Budget
	live   int
	now    func() time.Time
}

func newSettings(log control.Log, cfg enforcer.Config, now func() time.Time) *settings {
	s := &settings{log: log, mode: cfg.Mode, live: cfg.LiveCredentials, now: now}
	if s.mode == "" {
		s.mode = "observe"
	}
	budget := cfg.Budget
	if budget == "" {
		budget = defaultBudget
	}
	if b, err := control.ParseBudget(budget); err == nil {
		s.budget = b
	}
	return s
}

// Apply implements rules.Control, as do Now, Kill and SetMode.
func (s *settings) Apply(m stream.Message) error { return s.state.Apply(m) }

func (s *settings) Now() rules.Settings {
	snapshot := s.state.Now()
	out := rules.Settings{Mode: s.mode, Resumed: snapshot.Resumed}
	if snapshot.Mode != nil {
		out.Mode = strings.ToLower(snapshot.Mode.String())
	}
	budget := s.budget
	if snapshot.Budget != nil {
		budget = *snapshot.Budget
	}
	out.Limit = budget.Count
	if s.live > 0 {
		out.Limit = budget.Allows(s.live)
	}
	if k := snapshot.Kill; k != nil {
		out.Killed, out.By, out.Why = true, k.SetBy, k.Reason
		if k.SetAt.IsValid() {
			out.At = k.SetAt.AsTime()
		}
	}
	return out
}

func (s *settings) Kill(ctx context.Context, on bool, who rules.Who, reason string) error {
	return refusedBy(control.SetKillSwitch(ctx, s, on, control.Who{Name: who.Name, Reason: reason}, s.now()))
}

func (s *settings) SetMode(ctx context.Context, mode string, who rules.Who, reason string) error {
	return refusedBy(control.SetMode(ctx, s, mode, control.Who{Name: who.Name, Reason: reason}, s.now()))
}

// Resume implements rules.Control, as do the others.
func (s *settings) Resume(ctx context.Context, who rules.Who, reason string) error {
	return refusedBy(control.Resume(ctx, s, control.Who{Name: who.Name, Reason: reason}, s.now()))
}

func (s *settings) ApproveAct(ctx context.Context, ladder, act string, who rules.Who, reason string) error {
	return refusedBy(control.Approve(ctx, s, ladder, control.Class(act), control.Who{Name: who.Name, Reason: reason}, s.now()))
}

func (s *settings) Approvals(ladder, act string) (list []rules.Approval) {
	for _, a := range s.state.Approvals(ladder, control.Class(act)) {
		list = append(list, rules.Approval{By: a.By, At: a.At})
	}
	return list
}

func (s *settings) Restore(ctx context.Context, ladder string, who rules.Who, reason string) error {
	return refusedBy(control.RequestRestore(ctx, s, ladder, control.Who{Name: who.Name, Reason: reason}, s.now()))
}

func (s *settings) Restoring(ladder string) *rules.Wish {
	c := s.state.Restore(ladder)
	if c == nil {
		return nil
	}
	return &rules.Wish{By: c.SetBy, Reason: c.Reason, At: c.SetAt.AsTime()}
}

func (s *settings) RollBack(ctx context.Context, ladder string, who rules.Who, reason string) error {
	return refusedBy(control.Rollback(ctx, s, ladder, control.Who{Name: who.Name, Reason: reason}, s.now()))
}

func (s *settings) RollingBack(ladder string) bool { return s.state.Rollback(ladder) != nil }

// Publish implements control.Log: a setting that is durable holds here at once, before the topic brings it back.
func (s *settings) Publish(ctx context.Context, messages ...stream.Message) error {
	if err := s.log.Publish(ctx, messages...); err != nil {
		return err
	}
	for _, m := range messages {
		if err := s.state.Apply(m); err != nil {
			return err
		}
	}
	return nil
}

// refusedBy says in the console's words why the enforcer's rules refuse.
func refusedBy(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, exception.ErrNotFound):
		return fmt.Errorf("%w: %w", rules.ErrNotFound, err)
	case errors.Is(err, exception.ErrSelfApproval):
		return fmt.Errorf("%w: %w", rules.ErrForbidden, err)
	case errors.Is(err, exception.ErrInvalid), errors.Is(err, exception.ErrOver), errors.Is(err, control.ErrInvalid):
		return fmt.Errorf("%w: %w", rules.ErrRefused, err)
	}
	return err
}

// namesOf are the identity graph's names.
type namesOf struct{}

// Node implements read.Names.
func (namesOf) Node(key string) string { return identity.Node(key) }
