package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/cmd/leastwise/allinone"
	"github.com/leastwise/leastwise/cmd/leastwise/patience"
	"github.com/leastwise/leastwise/processor/identity"
	"github.com/leastwise/leastwise/processor/record"
	"github.com/leastwise/leastwise/simulator/fleet"
	"github.com/leastwise/leastwise/simulator/sources"
)

// identityOf is what `leastwise who` says of the steady agent, asked by the credential it holds in each source.
type identityOf struct {
	Component, Owner, System string
	Names                    []string
	Sources                  []standing
}

// standing is how the agent is known in one source.
type standing struct {
	Source     string          `json:"source"`
	Credential string          `json:"credential,omitempty"`
	Holder     string          `json:"issued_to"`
	Chain      []identity.Step `json:"-"`
	Evidence   []string        `json:"evidence"`
}

// agentNode is the name that the agent gives itself in its log.
var agentNode = identity.Node("agent/default/agent/" + fleet.SteadyID)

// namesOf begin the names that an identity has because of each source.
var namesOf = map[string]string{sources.Vault: "vault/", sources.SPIRE: "spiffe/", sources.CloudTrail: "aws/", sources.JWTRegistry: "oidc/",
	sources.AgentUsage: "agent/"}

// whoUntil asks until every source leads to the one identity, or patience is over, and shows the answer.
func (w *watcher) whoUntil(ctx context.Context, engines *allinone.Engines, left *patience.Watch) error {
	for {
		answer, text, err := w.who(ctx, engines)
		switch {
		case err == nil:
			w.board.step("who", fleet.Steady, "identity", answer.Component, "owner", answer.Owner, "system_of_record", answer.System,
				"names", answer.Names, "sources", answer.Sources)
			return w.showWho(answer, text)
		case ctx.Err() != nil:
			return nil
		}
		if why := left.Over(err.Error()); why != "" {
			return fmt.Errorf("%s: who is agent %s: %w", why, fleet.Steady, err)
		}
		if !wait(ctx, 250*time.Millisecond) {
			return nil
		}
	}
}

// who asks for the credential of each source. The error says what is not as it should be, yet.
func (w *watcher) who(ctx context.Context, engines *allinone.Engines) (*identityOf, []byte, error) {
	answer := &identityOf{}
	var text bytes.Buffer
	current := w.sources.Current()
	for _, source := range w.sources.Running() {
		key := current[source]
		if source == sources.AgentUsage {
			key = agentNode
		}
		if key == "" {
			return nil, nil, fmt.Errorf("%s: the agent has taken no credential there", source)
		}
		graph, subject, err := record.Who(ctx, engines.Store, key)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", source, err)
		}
		if err := answer.take(source, graph, subject); err != nil {
			return nil, nil, fmt.Errorf("%s: %s: %w", source, key, err)
		}
		fmt.Fprintf(&text, "$ leastwise who %s\n", key)
		if err := graph.Describe(&text, subject); err != nil {
			return nil, nil, err
		}
		text.WriteByte('\n')
	}
	return answer, text.Bytes(), w.reported(ctx, engines, current)
}

// take adds what one source leads to, which has to be what the others lead to.
func (a *identityOf) take(source string, graph *identity.Graph, subject identity.Subject) error {
	r := graph.Resolve(subject.Query)
	switch {
	case r.Holder == "":
		return errors.New("no record names who holds it")
	case len(r.Owners) != 1 || len(r.Systems) != 1:
		return fmt.Errorf("it has owners %v and systems of record %v, expected one of each", r.Owners, r.Systems)
	case r.Conflict() != "":
		return errors.New(r.Conflict())
	case a.Component != "" && (r.Component != a.Component || r.Owners[0] != identity.OwnerNode(a.Owner) || r.Systems[0] != identity.SystemNode(a.System)):
		return fmt.Errorf("it is %s of %s in %s, and by the sources before %s of %s in %s", r.Component, r.Owners[0], r.Systems[0], a.Component, a.Owner, a.System)
	}
	a.Component, a.Owner, a.System = r.Component, last(r.Owners[0]), last(r.Systems[0])
	a.Names = graph.Names(r.Holder, 0)
	if !slices.ContainsFunc(a.Names, func(name string) bool { return strings.HasPrefix(name, namesOf[source]) }) {
		return fmt.Errorf("none of the identity's names is of this source: %s", strings.Join(a.Names, " "))
	}
	s := standing{Source: source, Credential: subject.Credential, Holder: r.Holder, Chain: graph.Chain(r.Holder, identity.AgentNode(fleet.Steady), 0)}
	if len(s.Chain) == 0 {
		return fmt.Errorf("no chain of links leads from %s to agent %s", r.Holder, fleet.Steady)
	}
	for _, step := range s.Chain {
		s.Evidence = append(s.Evidence, fmt.Sprintf("%s: %s", strings.ToLower(step.Confidence.String()), step.Evidence))
	}
	a.Sources = append(a.Sources, s)
	return nil
}

// reported is whether the agent's own log tells of every credential that its issuers say it holds.
func (w *watcher) reported(ctx context.Context, engines *allinone.Engines, current map[string]string) error {
	for source, key := range current {
		var n uint64
		row := engines.Store.QueryRow(ctx, `SELECT uniqExact(id) FROM events WHERE source = ? AND credential = ? AND labels['agent_id'] = ?`,
			sources.AgentUsage, key, fleet.SteadyID)
		if err := row.Scan(&n); err != nil {
			return fmt.Errorf("read what the agent reports: %w", err)
		}
		if n == 0 {
			return fmt.Errorf("%s: the agent's own log does not tell of %s", source, key)
		}
	}
	return nil
}

// showWho prints what fits a screen, and leaves all of it in a file.
func (w *watcher) showWho(a *identityOf, text []byte) error {
	file := filepath.Join(w.opts.Dir, "who.txt")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return fmt.Errorf("write the whole answer: %w", err)
	}
	lines := []string{fmt.Sprintf("WHO IS THE AGENT %q? One identity in %d sources: owner %s, system of record %s.", fleet.Steady, len(a.Sources), a.Owner, a.System)}
	for _, s := range a.Sources {
		shown := brief(s.Holder)
		if s.Credential != "" {
			shown = brief(s.Credential) + ", issued to " + shown
		}
		lines = append(lines, fmt.Sprintf("  %-12s %s", s.Source, shown))
		for _, step := range s.Chain {
			evidence := ofRecord.ReplaceAllString(w.short(step.Evidence), "")
			lines = append(lines, fmt.Sprintf("  %-12s   %s: %s", "", strings.ToLower(step.Confidence.String()), evidence))
		}
	}
	w.board.block(append(lines, "  Every name and link, as `leastwise who` prints them for each: "+file)...)
	return nil
}

// ofRecord is the end of a link's evidence, which names the record that it rests on.
var ofRecord = regexp.MustCompile(` \([a-z]+ [^ ]+ record [^)]*\)$`)

// brief gives a key as type and id, with what is long cut: the whole stands in the file.
func brief(key string) string {
	parts := strings.SplitN(key, "/", 4)
	if len(parts) < 4 {
		return key
	}
	kind, id := strings.ReplaceAll(parts[2], "_", " "), parts[3]
	if strings.HasPrefix(id, "hmac-sha256:") {
		id = id[:min(len(id), len("hmac-sha256:")+12)] + "…"
	}
	switch parts[0] {
	case "spiffe":
		return id
	case "oidc":
		return kind + " " + id + " of " + parts[1]
	}
	return kind + " " + id
}

// short leaves out the demo's own directory, in which everything is.
func (w *watcher) short(text string) string {
	return strings.ReplaceAll(text, filepath.Join(w.opts.Dir, "site")+string(filepath.Separator), "")
}

func last(node string) string { return node[strings.LastIndexByte(node, '/')+1:] }
