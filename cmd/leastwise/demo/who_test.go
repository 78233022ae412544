package demo

import (
	"bytes"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/cmd/leastwise/gate"
	"github.com/leastwise/leastwise/processor/identity"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
	site "github.com/leastwise/leastwise/simulator/demo"
	"github.com/leastwise/leastwise/simulator/fleet"
	"github.com/leastwise/leastwise/simulator/sources"
)

const (
	entity = "vault/default/entity/e-1"
	spiffe = "spiffe/example.org/id/spiffe://example.org/ns/reports/sa/steady"
)

// graphOf holds links, each as FROM KIND TO; SAME_AS is asserted.
func graphOf(links ...string) *identity.Graph {
	g := identity.New()
	for _, text := range links {
		parts := strings.Fields(text)
		l := &pb.Link{From: parts[0], Kind: pb.Link_Kind(pb.Link_Kind_value[parts[1]]), To: parts[2], Confidence: pb.Link_ASSERTED, Evidence: "said"}
		l.Id = identity.ID(l)
		g.Put(l)
	}
	return g
}

var (
	agent    = identity.AgentNode(fleet.Steady)
	owned    = agent + " OWNED_BY " + identity.OwnerNode("platform-team")
	recorded = agent + " RECORDED_IN " + identity.SystemNode("deployments")
)

func TestOneIdentityIsAcceptedAndNothingElse(t *testing.T) {
	ask := func(principal string) identity.Subject {
		return identity.Subject{Query: identity.Query{Credential: "vault/default/token/t", Principal: principal}}
	}
	all := []string{entity + " SAME_AS " + agent, spiffe + " SAME_AS " + agent, owned, recorded}
	sound := graphOf(all...)
	answer := &identityOf{}
	if err := answer.take(sources.Vault, sound, ask(entity)); err != nil {
		t.Fatal(err)
	}
	if err := answer.take(sources.SPIRE, sound, ask(spiffe)); err != nil {
		t.Fatal(err)
	}
	if answer.Owner != "platform-team" || answer.System != "deployments" || len(answer.Sources) != 2 || len(answer.Sources[0].Evidence) != 1 {
		t.Errorf("%+v", answer)
	}
	other := identity.AgentNode("other")
	for why, c := range map[string]struct {
		graph     *identity.Graph
		principal string
		source    string
	}{
		"none of the identity's names": {sound, entity, sources.JWTRegistry},
		"has owners []":                {graphOf(entity+" SAME_AS "+agent, recorded), entity, sources.Vault},
		"systems of record []":         {graphOf(entity+" SAME_AS "+agent, owned), entity, sources.Vault},
		"two owners": {graphOf(append(all, entity+" SAME_AS "+other, other+" OWNED_BY "+identity.OwnerNode("data-team"))...),
			entity, sources.Vault},
		"by the sources before": {graphOf(spiffe+" SAME_AS "+other, other+" OWNED_BY "+identity.OwnerNode("platform-team"),
			other+" RECORDED_IN "+identity.SystemNode("deployments")), spiffe, sources.SPIRE},
		"no record names": {sound, "", sources.Vault},
	} {
		again := *answer
		err := again.take(c.source, c.graph, ask(c.principal))
		if err == nil {
			t.Errorf("accepted, though: %s", why)
		} else if why != "two owners" && !strings.Contains(err.Error(), why) {
			t.Errorf("%s: error %v", why, err)
		}
	}
}

func TestOnlyTheRightAnswersOfTheGateAreAccepted(t *testing.T) {
	w := &watcher{board: &board{once: true, out: &bytes.Buffer{}}}
	verdict := func(codes ...string) *gate.Report {
		v := &gate.Verdict{Workload: &gate.Workload{}, Allowed: len(codes) == 0}
		for _, code := range codes {
			v.Problems = append(v.Problems, gate.Problem{Code: code, Text: "because"})
		}
		return &gate.Report{Allowed: v.Allowed, Workloads: []*gate.Verdict{v}}
	}
	for _, c := range []struct {
		manifest string
		report   *gate.Report
		want     string
	}{
		{site.ManifestFile, verdict(), ""},
		{site.ManifestFile, verdict("no-owner"), "is refused: because"},
		{site.MislabelledManifestFile, verdict("mislabelled"), ""},
		{site.MislabelledManifestFile, verdict(), "is not refused"},
		{site.MislabelledManifestFile, verdict("no-owner"), "is not refused for that"},
	} {
		err := w.judged(c.manifest, c.report)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, allowed %v: error %v, want %q", c.manifest, c.report.Allowed, err, c.want)
		}
	}
}

func TestLongTextsAreBrokenAtSpaces(t *testing.T) {
	text := strings.Repeat("word ", 60)
	lines := wrap(text, "  → ")
	for i, line := range lines {
		if len([]rune(line)) > textWidth || !strings.HasPrefix(line, []string{"  → ", "    "}[min(i, 1)]) {
			t.Errorf("line %d: %q", i, line)
		}
	}
	if len(lines) != 3 || strings.Join(strings.Fields(strings.ReplaceAll(strings.Join(lines, " "), "→", "")), " ") != strings.TrimSpace(text) {
		t.Errorf("%q", lines)
	}
}
