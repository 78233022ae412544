package scan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/leastwise/leastwise/internal/terminal"
	"github.com/leastwise/leastwise/processor/identity"
	"github.com/leastwise/leastwise/rego"
)

// maxResults is how many results GitHub takes of one run (docs.github.com, "SARIF support for code scanning"). The worst
// come first; how many are left out stands in the run's notifications.
const maxResults = 25_000

// SARIF prints the findings as SARIF 2.1.0 (OASIS, errata 01): rules are the kinds of findings, results point to the lines
// of the logs that show them. A result keeps its fingerprint from one run to the next, wherever its line has moved to. It
// wants a scan with Options.Places.
func (r *Report) SARIF(w io.Writer, version string) error {
	rules := r.sarifRules()
	index := make(map[string]int, len(rules))
	for i, rule := range rules {
		index[rule.ID] = i
	}
	left := r.results() - maxResults
	run := sarifRun{Tool: sarifTool{Driver: sarifDriver{Name: "Leastwise", Version: version,
		InformationURI: "https://github.com/leastwise/leastwise", Rules: rules}}, ColumnKind: "unicodeCodePoints",
		Invocations: []sarifInvocation{{ExecutionSuccessful: true, EndTimeUTC: "", Notifications: []sarifNotification{}}}}
	note := func(level, format string, args ...any) {
		n := &run.Invocations[0].Notifications
		*n = append(*n, sarifNotification{Level: level, Message: sarifText{fmt.Sprintf(format, args...)}})
	}
	if left > 0 {
		note("warning", "%d results more were left out; leastwise scan --format json lists all", left)
	}
	for _, verdict := range verdicts {
		if l := r.summary.usage.found[verdict]; l != nil && l.n > len(l.first) {
			note("warning", "%d credentials more of %s were left out; leastwise scan --format json lists all", l.n-len(l.first), usageRule(verdict))
		}
	}
	if r.DeadLetters > 0 {
		note("warning", "%s of %d could not be read", plural(r.DeadLetters, "record"), r.Records)
	}
	head, err := json.Marshal(run)
	if err != nil {
		return fmt.Errorf("write SARIF: %w", err)
	}
	before := `{"$schema":"https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json","version":"2.1.0","runs":[` +
		string(head[:len(head)-1]) + `,"results":[`
	n := 0
	emit := func(result *sarifResult) error {
		if n++; n > maxResults {
			return nil
		}
		result.RuleIndex = index[result.RuleID]
		text, err := json.Marshal(result)
		if err == nil {
			_, err = io.WriteString(w, before+"\n"+string(text))
		}
		before = ","
		return err
	}
	if err := r.sarifResults(emit); err != nil {
		return fmt.Errorf("write SARIF: %w", err)
	}
	if n == 0 {
		if _, err := io.WriteString(w, before); err != nil {
			return fmt.Errorf("write SARIF: %w", err)
		}
	}
	if _, err := io.WriteString(w, "]}]}\n"); err != nil {
		return fmt.Errorf("write SARIF: %w", err)
	}
	return nil
}

// results there are in all.
func (r *Report) results() int {
	n := r.findings.n + len(r.Conflicts)
	for _, verdict := range verdicts {
		if l := r.summary.usage.found[verdict]; l != nil {
			n += len(l.first)
		}
	}
	return n
}

func (r *Report) sarifResults(emit func(*sarifResult) error) error {
	for _, f := range r.Findings {
		why := fmt.Sprintf("%s: %s is %s, threshold %s.", terminal.Safe(f.Credential), f.Metric, terminal.Safe(f.Value), terminal.Safe(f.Threshold))
		if f.Evidence != "" {
			why += " " + terminal.Safe(f.Evidence)
		}
		if f.Owner != "" {
			why += " Owner: " + terminal.Safe(f.Owner) + "."
		} else {
			why += " Nobody answers for it."
		}
		if f.Hint != "" {
			why += " What to do: " + terminal.Safe(f.Hint)
		}
		result := &sarifResult{RuleID: f.PolicyID, Level: sarifLevel(f.Severity), Message: sarifText{why},
			Fingerprints: fingerprint(f.PolicyID, f.Credential, f.Metric),
			Properties:   map[string]string{"severity": f.Severity, "owner": f.Owner}}
		result.at(f.Credential, f.Places)
		if err := emit(result); err != nil {
			return err
		}
	}
	if r.findings.err != nil {
		return r.findings.err
	}
	for _, verdict := range verdicts {
		l := r.summary.usage.found[verdict]
		if l == nil {
			continue
		}
		for i := range l.first {
			c := &l.first[i]
			f := c.Usage.finding(verdict)
			rule := usageRule(verdict)
			result := &sarifResult{RuleID: rule, Level: "warning", Fingerprints: fingerprint(rule, c.Key),
				Message: sarifText{terminal.Safe(c.Key) + ": " + terminal.Safe(f.Why) + " What to do: " + f.Hint}}
			result.at(c.Key, c.Places)
			if err := emit(result); err != nil {
				return err
			}
		}
	}
	for _, c := range r.Conflicts {
		rule := conflictRule(c.Kind)
		result := &sarifResult{RuleID: rule, Level: "warning", Message: sarifText{terminal.Safe(c.Why)}, Fingerprints: fingerprint(rule, c.Subject)}
		result.at(c.Subject, nil)
		if err := emit(result); err != nil {
			return err
		}
	}
	return nil
}

// fingerprint is of what a finding is about, not of where it stands: logs are rotated, and lines move.
func fingerprint(parts ...string) map[string]string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return map[string]string{"leastwiseFinding/v1": hex.EncodeToString(sum[:16])}
}

// at says where the evidence stands: the first place is the result's, the others are related to it.
func (s *sarifResult) at(subject string, places []Place) {
	for i, place := range places {
		region := &sarifRegion{StartLine: place.Line}
		if place.Byte > 0 {
			region.ByteOffset = &place.Byte
		}
		location := sarifLocation{Physical: &sarifPhysical{Artifact: sarifArtifact{URI: fileURI(place.File)}, Region: region},
			Message: &sarifText{place.What + " " + place.At.UTC().Format("2006-01-02T15:04:05Z")}}
		if i > 0 {
			location.ID = i
			s.Related = append(s.Related, location)
			continue
		}
		location.Logical = []sarifLogical{{terminal.Safe(subject), "resource"}}
		s.Locations = append(s.Locations, location)
	}
	if len(places) == 0 {
		s.Locations = []sarifLocation{{Logical: []sarifLogical{{terminal.Safe(subject), "resource"}}}}
	}
}

// fileURI of a path: relative paths stay relative, so that a run elsewhere says the same.
func fileURI(path string) string {
	path = filepath.ToSlash(path)
	if strings.HasPrefix(path, "/") {
		return (&url.URL{Scheme: "file", Path: path}).String()
	}
	return (&url.URL{Path: path}).String()
}

func sarifLevel(severity string) string {
	switch severity {
	case "critical", "high":
		return "error"
	case "medium":
		return "warning"
	}
	return "note"
}

// scores are what GitHub sorts security results by: over 9.0 is shown as critical, 7.0 as high, 4.0 as medium.
var scores = map[string]string{"critical": "9.5", "high": "8.0", "medium": "5.5", "low": "2.0", "info": "0.5"}

func usageRule(verdict string) string { return "usage/" + strings.ReplaceAll(verdict, "_", "-") }

func conflictRule(kind string) string { return "identity/" + strings.ReplaceAll(kind, "_", "-") }

var usageTexts = map[string][2]string{
	"used_but_unissued": {"A credential was used that its issuer never gave out.",
		"The agent's log and the issuer's do not agree. The credential may be forged, or the issuer's log has a gap. Revoke it, and look for the gap."},
	"usage_contradiction": {"What agents log of a credential and what its issuer logs do not fit together.",
		"One of the two logs does not tell all. Compare one call in both; until it is explained, treat the credential as known to somebody else."},
	"issued_but_unused": {"A credential was issued and never used.",
		"What nobody uses can only be misused. Give it back, and fetch one when it is needed."},
}

var conflictTexts = map[string]string{
	identity.SharedCredential: "Two identities are said to hold one credential.",
	identity.TwoAgents:        "One label is said to be two agents.",
	identity.TwoOwners:        "Links lead from one identity to more than one owner.",
	identity.TwoSystems:       "Links lead from one identity to more than one system of record.",
	identity.SharedLabel:      "One label is used for several identities.",
}

func (r *Report) sarifRules() []sarifRule {
	rules := []sarifRule{}
	add := func(id, what, why, hint, severity string) {
		text := strings.TrimSpace(why + "\n\n" + hint)
		if text == "" {
			text = what
		}
		rules = append(rules, sarifRule{ID: id, Name: nameOf(id), Short: sarifText{what}, Full: sarifText{strings.TrimSpace(what + " " + why)},
			Help: sarifText{text}, Configuration: sarifConfiguration{sarifLevel(severity)},
			Properties: sarifRuleProperties{Tags: []string{"security", "credentials"}, Severity: scores[severity]}})
	}
	for _, p := range r.rules {
		what, severity, hint := p.Description, "info", ""
		if what == "" {
			what = "The policy " + p.ID + " is violated."
		}
		for _, a := range p.Actions {
			if rank(a.Severity) < rank(severity) {
				severity = a.Severity
			}
			if hint == "" && a.Hint != "" {
				hint = "What to do: " + a.Hint
			}
		}
		add(p.ID, what, p.Rationale, strings.TrimSpace(hint+"\n\nWhen it is violated: "+thresholds(&p)), severity)
	}
	for _, verdict := range verdicts {
		add(usageRule(verdict), usageTexts[verdict][0], "", usageTexts[verdict][1], "medium")
	}
	seen := map[string]bool{}
	for _, c := range r.Conflicts {
		if seen[c.Kind] {
			continue
		}
		seen[c.Kind] = true
		what := conflictTexts[c.Kind]
		if what == "" {
			what = "What the logs and the catalog say of an identity does not fit together."
		}
		add(conflictRule(c.Kind), what, "", "Let the catalog and the issuers name it in one way, or give each its own.", "medium")
	}
	return rules
}

func thresholds(p *rego.Policy) string {
	var parts []string
	for _, m := range p.Metrics {
		parts = append(parts, fmt.Sprintf("%s %s %s", m.Metric, m.Condition, m.Text))
	}
	join := " or "
	if p.MatchAll {
		join = " and "
	}
	if len(parts) == 0 {
		return "as its Rego says."
	}
	return strings.Join(parts, join) + "."
}

// nameOf is an id as viewers want names: UpperCamelCase.
func nameOf(id string) string {
	var out strings.Builder
	for _, word := range strings.FieldsFunc(id, func(r rune) bool { return r == '-' || r == '_' || r == '/' || r == ' ' || r == '.' }) {
		out.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return out.String()
}

type (
	sarifRun struct {
		Tool        sarifTool         `json:"tool"`
		Invocations []sarifInvocation `json:"invocations"`
		ColumnKind  string            `json:"columnKind"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		Version        string      `json:"version"`
		InformationURI string      `json:"informationUri"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID            string              `json:"id"`
		Name          string              `json:"name"`
		Short         sarifText           `json:"shortDescription"`
		Full          sarifText           `json:"fullDescription"`
		Help          sarifText           `json:"help"`
		Configuration sarifConfiguration  `json:"defaultConfiguration"`
		Properties    sarifRuleProperties `json:"properties"`
	}
	sarifRuleProperties struct {
		Tags     []string `json:"tags"`
		Severity string   `json:"security-severity"`
	}
	sarifConfiguration struct {
		Level string `json:"level"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifInvocation struct {
		ExecutionSuccessful bool                `json:"executionSuccessful"`
		EndTimeUTC          string              `json:"endTimeUtc,omitempty"`
		Notifications       []sarifNotification `json:"toolExecutionNotifications"`
	}
	sarifNotification struct {
		Level   string    `json:"level"`
		Message sarifText `json:"message"`
	}
	sarifResult struct {
		RuleID       string            `json:"ruleId"`
		RuleIndex    int               `json:"ruleIndex"`
		Level        string            `json:"level"`
		Message      sarifText         `json:"message"`
		Locations    []sarifLocation   `json:"locations"`
		Related      []sarifLocation   `json:"relatedLocations,omitempty"`
		Fingerprints map[string]string `json:"partialFingerprints"`
		Properties   map[string]string `json:"properties,omitempty"`
	}
	sarifLocation struct {
		ID       int            `json:"id,omitempty"`
		Physical *sarifPhysical `json:"physicalLocation,omitempty"`
		Logical  []sarifLogical `json:"logicalLocations,omitempty"`
		Message  *sarifText     `json:"message,omitempty"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine  int64  `json:"startLine"`
		ByteOffset *int64 `json:"byteOffset,omitempty"`
	}
	sarifLogical struct {
		Name string `json:"fullyQualifiedName"`
		Kind string `json:"kind"`
	}
)
