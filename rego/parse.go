package rego

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gobwas/glob"

	"github.com/leastwise/leastwise/rego/strictyaml"
)

var severities = []string{"low", "medium", "high", "critical"}

var policyID = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,99}$`)

// ParsePolicies reads the policies of one YAML file; several documents give several policies. The error names file, line,
// key and what was expected, one problem a line. A file without any policy is an error too: it is more often a file
// that was half written than one that was meant.
func ParsePolicies(file string, data []byte) ([]Policy, error) {
	docs, err := strictyaml.Parse(file, data)
	if err != nil {
		return nil, err
	}
	if len(docs) == 0 {
		return nil, &strictyaml.Error{File: file, Line: 1, Text: "empty; expected at least one policy"}
	}
	var problems strictyaml.Problems
	policies := make([]Policy, 0, len(docs))
	for _, doc := range docs {
		policies = append(policies, parsePolicy(&problems, doc))
	}
	return policies, problems.Err()
}

func parsePolicy(p *strictyaml.Problems, doc strictyaml.Node) Policy {
	out := Policy{File: doc.File(), Line: doc.Line(), Enforcement: Enforcement{Grace: DefaultGrace}}
	keys := p.Mapping(doc, "policy_id", "description", "rationale", "match", "metrics", "action", "applies_to",
		"enforcement", "exception")
	if keys == nil {
		return out
	}
	for _, needed := range []string{"policy_id", "metrics", "action"} {
		if _, ok := keys[needed]; !ok {
			p.Addf(doc, "key %q is missing; expected policy_id, metrics and action", needed)
		}
	}
	for name, n := range keys {
		switch name {
		case "policy_id":
			out.Line = n.Line()
			if out.ID = p.Text(n); out.ID != "" && !policyID.MatchString(out.ID) {
				p.Addf(n, "%q; expected lower-case letters, digits, '.', '_' and '-', at most 100", out.ID)
			}
		case "description":
			out.Description = p.Text(n)
		case "rationale":
			out.Rationale = p.Text(n)
		case "match":
			out.MatchAll = p.OneOf(n, "any", "all") == "all"
		case "metrics":
			for _, item := range nonEmpty(p, n) {
				out.Metrics = append(out.Metrics, parseThresholdEntry(p, item))
			}
		case "action":
			for _, item := range nonEmpty(p, n) {
				out.Actions = append(out.Actions, parseAction(p, item))
			}
		case "applies_to":
			out.AppliesTo = parseAppliesTo(p, n)
		case "enforcement":
			out.Enforcement = parseEnforcement(p, n)
		case "exception":
			out.Exception = parseException(p, n)
		}
	}
	if out.MatchAll && len(out.Metrics) > 0 && !haveCommonSource(out.Metrics) {
		p.Addf(keys["match"], "all of metrics whose sources exclude each other never hold for one credential; expected sources in common")
	}
	return out
}

// haveCommonSource says whether one credential could be spoken of by all thresholds.
func haveCommonSource(thresholds []Threshold) bool {
	for i := range thresholds {
		sources, _ := sourcesOf(thresholds[i].Source)
		for _, source := range sources {
			if !slices.ContainsFunc(thresholds, func(t Threshold) bool { return !t.speaksOf(source) }) {
				return true
			}
		}
	}
	return !slices.ContainsFunc(thresholds, func(t Threshold) bool { return t.Source != "any" })
}

func nonEmpty(p *strictyaml.Problems, n strictyaml.Node) []strictyaml.Node {
	items := p.List(n)
	if items != nil && len(items) == 0 {
		p.Addf(n, "empty; expected at least one entry")
	}
	return items
}

func parseThresholdEntry(p *strictyaml.Problems, n strictyaml.Node) Threshold {
	var out Threshold
	keys := p.Mapping(n, "name", "source", "threshold", "condition")
	if keys == nil {
		return out
	}
	for _, needed := range []string{"name", "source", "threshold", "condition"} {
		if _, ok := keys[needed]; !ok {
			p.Addf(n, "%s is missing; expected name, source, threshold and condition", needed)
			return out
		}
	}
	metric, known := Metric(0), false
	if name := p.Text(keys["name"]); name != "" {
		if metric, known = ParseMetric(name); !known {
			p.Addf(keys["name"], "%q is no metric; expected one of %s", name, strings.Join(metricNames[:], ", "))
		}
	}
	out.Metric = metric
	if out.Source = p.Text(keys["source"]); out.Source != "" {
		if _, ok := sourcesOf(out.Source); !ok {
			p.Addf(keys["source"], "%q is no source; expected one of %s", out.Source, sourceNames)
		}
	}
	condition := p.OneOf(keys["condition"], conditionNames[:]...)
	out.Condition = Condition(max(0, slices.Index(conditionNames[:], condition)))
	out.Text = p.Scalar(keys["threshold"])
	if !known || out.Text == "" {
		return out
	}
	value, err := parseThreshold(metric.unit(), out.Text)
	if err != nil {
		p.Addf(keys["threshold"], "%q for %s; expected %s", out.Text, metric, metric.unit().expected())
		return out
	}
	out.Value = value
	if condition != "" {
		lintThreshold(p, keys, out)
	}
	return out
}

// lintThreshold refuses thresholds that are well-formed and yet can not be meant.
func lintThreshold(p *strictyaml.Problems, keys map[string]strictyaml.Node, t Threshold) {
	if t.Metric.rate() != 0 && (t.Condition == Equals || t.Condition == NotEquals) {
		p.Addf(keys["condition"], "%q for %s, which moves with the clock and never stands still at a value; expected %s or %s",
			t.Condition, t.Metric, GreaterOrEqual, LessOrEqual)
	}
	top := math.Inf(1)
	if u := t.Metric.unit(); u == share || u == flag {
		top = 1
	}
	always := t.Value == 0 && t.Condition == GreaterOrEqual || t.Value == top && t.Condition == LessOrEqual
	never := t.Value == 0 && t.Condition == LessThan || t.Value == top && t.Condition == GreaterThan
	switch {
	case always:
		p.Addf(keys["threshold"], "%q with %s holds for every credential; expected a threshold that some credential stays within", t.Text, t.Condition)
	case never:
		p.Addf(keys["threshold"], "%q with %s holds for no credential; expected a threshold that some credential passes", t.Text, t.Condition)
	}
}

func parseAction(p *strictyaml.Problems, n strictyaml.Node) Action {
	var out Action
	keys := p.Mapping(n, "severity", "channel", "remediation_hint")
	if keys == nil {
		return out
	}
	if severity, ok := keys["severity"]; ok {
		out.Severity = p.OneOf(severity, severities...)
	} else {
		p.Addf(n, "severity is missing; expected one of %s", strings.Join(severities, ", "))
	}
	if channel, ok := keys["channel"]; ok {
		out.Channel = p.Text(channel)
	}
	if hint, ok := keys["remediation_hint"]; ok {
		out.Hint = p.Text(hint)
	}
	return out
}

func parseAppliesTo(p *strictyaml.Problems, n strictyaml.Node) AppliesTo {
	var out AppliesTo
	for name, n := range p.Mapping(n, "types", "identities", "owners", "labels", "sources", "policies") {
		switch name {
		case "types":
			out.Types = p.Texts(n)
		case "sources":
			for _, source := range p.Texts(n) {
				sources, ok := sourcesOf(source)
				if !ok || sources == nil {
					p.Addf(n, "%q is no source; expected some of %s", source, strings.TrimSuffix(sourceNames, ", any"))
				}
				out.Sources = append(out.Sources, sources...)
			}
		case "identities":
			out.Identities = parsePatterns(p, n)
		case "owners":
			out.Owners = parsePatterns(p, n)
		case "policies":
			out.Policies = parsePatterns(p, n)
		case "labels":
			out.Labels = map[string]Pattern{}
			for label, n := range p.Mapping(n, "*") {
				out.Labels[label] = parsePattern(p, n, p.Scalar(n))
			}
		}
	}
	return out
}

func parsePatterns(p *strictyaml.Problems, n strictyaml.Node) []Pattern {
	texts := p.Texts(n)
	if len(texts) == 0 {
		p.Addf(n, "empty; expected at least one pattern")
	}
	out := make([]Pattern, 0, len(texts))
	for _, text := range texts {
		out = append(out, parsePattern(p, n, text))
	}
	return out
}

func parsePattern(p *strictyaml.Problems, n strictyaml.Node, text string) Pattern {
	g, err := glob.Compile(text)
	if err != nil {
		p.Addf(n, "%q is no pattern (%v); expected text with * for anything", text, err)
	}
	return Pattern{Text: text, glob: g}
}

func parseEnforcement(p *strictyaml.Problems, n strictyaml.Node) Enforcement {
	out := Enforcement{Grace: DefaultGrace}
	keys := p.Mapping(n, "mode", "grace", "remind", "revoke", "reissue", "revoke_untold", "approval",
		"approvals", "business_hours", "freeze", "escalation", "max_collateral", "corrected")
	if mode, ok := keys["mode"]; ok {
		out.Mode = Mode(max(0, slices.Index(modeNames, p.OneOf(mode, modeNames...))))
	}
	out.Revoke = out.Mode == Enforce
	for name, n := range keys {
		switch name {
		case "grace":
			out.Grace = parseDurationNode(p, n)
		case "remind":
			for _, item := range p.List(n) {
				out.Remind = append(out.Remind, parseDurationNode(p, item))
			}
		case "revoke":
			out.Revoke = p.Bool(n)
		case "reissue":
			out.Reissue = p.Bool(n)
		case "approval":
			out.Approval = p.Bool(n)
		case "revoke_untold":
			out.RevokeUntold = p.Text(n)
			if len(strings.Fields(out.RevokeUntold)) < 3 {
				p.Addf(n, "%q; expected the reason in words why the owner need not be told", out.RevokeUntold)
			}
		}
	}
	out.Care = parseCare(p, keys)
	slices.SortFunc(out.Remind, func(a, b time.Duration) int { return int(b - a) })
	out.Remind = slices.Compact(out.Remind)
	if len(out.Remind) > 0 && out.Remind[0] >= out.Grace {
		p.Addf(keys["remind"], "a reminder %s before the revocation falls before the notification; expected less than the grace period of %s",
			formatSeconds(out.Remind[0].Seconds()), formatSeconds(out.Grace.Seconds()))
	}
	if corrected, ok := keys["corrected"]; ok && !out.Reissue {
		p.Addf(corrected, "corrected while reissue is false; expected reissue: true, since only what was given back is watched")
	}
	if out.Reissue && !out.Revoke && out.Mode == Enforce {
		p.Addf(keys["reissue"], "true while revoke is false; expected revoke: true, since a credential is given back only for one taken away")
	}
	return out
}

func parseDurationNode(p *strictyaml.Problems, n strictyaml.Node) time.Duration {
	text := p.Scalar(n)
	d, err := ParseDuration(text)
	if err != nil && text != "" {
		p.Addf(n, "%q; expected %s", text, duration.expected())
	}
	return d
}

func parseException(p *strictyaml.Problems, n strictyaml.Node) ExceptionRule {
	var out ExceptionRule
	for name, n := range p.Mapping(n, "max_duration", "approvers") {
		switch name {
		case "max_duration":
			if out.MaxDuration = parseDurationNode(p, n); out.MaxDuration == 0 {
				p.Addf(n, "no time at all; expected %s", duration.expected())
			}
		case "approvers":
			out.Approvers = p.Texts(n)
		}
	}
	return out
}
