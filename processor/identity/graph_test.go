package identity

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

var start = time.Date(2026, 11, 21, 6, 0, 0, 0, time.UTC)

func moment(minutes int) *timestamppb.Timestamp {
	return timestamppb.New(start.Add(time.Duration(minutes) * time.Minute))
}

func nanosAt(minutes int) int64 { return start.Add(time.Duration(minutes) * time.Minute).UnixNano() }

func n(name string) string { return "test/default/name/" + name }

func same(a, b string, minutes int) *pb.Link {
	return &pb.Link{Kind: pb.Link_SAME_AS, From: n(a), To: n(b), Confidence: pb.Link_PROVEN, At: moment(minutes), Evidence: "test"}
}

func gone(l *pb.Link, minutes int) *pb.Link {
	return &pb.Link{Kind: l.Kind, From: l.From, To: l.To, Confidence: l.Confidence, At: moment(minutes), Retracted: true}
}

func TestOnlyProvenAndAssertedLinksOfSamenessMerge(t *testing.T) {
	g := New()
	inferred := same("a", "c", 0)
	inferred.Confidence = pb.Link_INFERRED
	asserted := same("b", "d", 0)
	asserted.Confidence = pb.Link_ASSERTED
	derived := same("a", "e", 0)
	derived.Kind = pb.Link_DERIVED_FROM
	unknown := same("a", "f", 0)
	unknown.Confidence = pb.Link_NONE
	for _, l := range []*pb.Link{same("b", "a", 0), inferred, asserted, derived, unknown} {
		g.Put(l)
	}
	if got := g.Names(n("d"), 0); !slices.Equal(got, []string{n("a"), n("b"), n("d")}) {
		t.Fatalf("%v", got)
	}
	if got := g.Component(n("d")); got != n("a") {
		t.Errorf("named by %s, not by the smallest of its nodes", got)
	}
	if g.Has(n("f")) {
		t.Error("a link without confidence was taken")
	}
	if links := g.Links(n("a"), 0); len(links) != 3 || links[0].Confidence != pb.Link_PROVEN || links[2].Confidence != pb.Link_INFERRED {
		t.Errorf("inferred links are not shown after proven ones: %v", links)
	}
}

func TestARetractionSplitsWhatOnlyItHeldTogether(t *testing.T) {
	g := New()
	bridge := same("b", "c", 0)
	for _, l := range []*pb.Link{same("a", "b", 0), bridge, same("c", "d", 0), same("d", "e", 0), same("e", "c", 0)} {
		g.Put(l)
	}
	before := g.Revision()
	g.Put(gone(same("d", "e", 0), 5))
	if got := len(g.Names(n("a"), 0)); got != 5 {
		t.Fatalf("%d names; a ring must bear the loss of one link", got)
	}
	g.Put(gone(bridge, 6))
	if a, c := g.Names(n("a"), 0), g.Names(n("d"), 0); len(a) != 2 || len(c) != 3 {
		t.Fatalf("%v and %v", a, c)
	}
	if !g.Changed(n("a"), before) || !g.Changed(n("e"), before) {
		t.Error("both parts must be known to have changed")
	}
	if g.Component(n("e")) != n("c") {
		t.Errorf("the part is named %s", g.Component(n("e")))
	}
	g.Put(same("b", "c", 3)) // older than the retraction: changes nothing
	if len(g.Names(n("a"), 0)) != 2 {
		t.Error("an older statement undid a retraction")
	}
	g.Put(same("b", "c", 7))
	if len(g.Names(n("a"), 0)) != 5 {
		t.Error("what is said again is not held")
	}
}

func TestWhatIssuerAndCatalogSayOfOneLinkIsTakenBackEachForItself(t *testing.T) {
	g := New()
	proven, asserted := same("a", "b", 0), same("a", "b", 1)
	asserted.Confidence = pb.Link_ASSERTED
	g.Put(proven)
	g.Put(asserted)
	g.Put(gone(asserted, 2))
	if len(g.Names(n("a"), 0)) != 2 {
		t.Fatal("the catalog took back what an issuer proves")
	}
	if ID(proven) == ID(asserted) {
		t.Error("both have one id, so one would replace the other in the topic")
	}
}

func TestWhoItWasThen(t *testing.T) {
	g := New()
	owned := &pb.Link{Kind: pb.Link_OWNED_BY, From: n("a"), To: OwnerNode("old"), Confidence: pb.Link_ASSERTED, At: moment(10)}
	next := &pb.Link{Kind: pb.Link_OWNED_BY, From: n("a"), To: OwnerNode("new"), Confidence: pb.Link_ASSERTED, At: moment(20)}
	for _, l := range []*pb.Link{same("a", "b", 5), owned, gone(owned, 20), next, gone(same("a", "b", 0), 30), same("a", "b", 40)} {
		g.Put(l)
	}
	for minutes, want := range map[int]string{0: "", 7: "", 10: "old", 19: "old", 20: "new", 29: "new", 30: "", 39: "", 40: "new", 100: "new"} {
		r := g.Resolve(Query{Principal: n("b"), AsOf: nanosAt(minutes)})
		got := ""
		if len(r.Owners) == 1 {
			got, _ = catalogID(r.Owners[0], typeOwner)
		}
		if got != want || len(r.Owners) > 1 {
			t.Errorf("minute %d: owners %v; expected %q", minutes, r.Owners, want)
		}
	}
	if r := g.Resolve(Query{Principal: n("b")}); len(r.Owners) != 1 || r.Owners[0] != OwnerNode("new") {
		t.Errorf("now: %v", r.Owners)
	}
}

func TestSaidAndTakenBackAtOneTimeIsNotHeld(t *testing.T) {
	for _, order := range [][]*pb.Link{{same("a", "b", 5), gone(same("a", "b", 0), 5)}, {gone(same("a", "b", 0), 5), same("a", "b", 5)}} {
		g := New()
		for _, l := range order {
			g.Put(l)
		}
		if len(g.Names(n("a"), 0)) != 1 || len(g.Names(n("a"), nanosAt(5))) != 1 {
			t.Error("held")
		}
	}
}

func TestTheEvidenceIsThatOfTheFirstRecordInAnyOrder(t *testing.T) {
	said := func(minutes int, evidence string) *pb.Link {
		l := same("a", "b", minutes)
		l.Evidence = evidence
		return l
	}
	statements := []*pb.Link{said(7, "late"), said(3, "first, too"), said(3, "first"), gone(same("a", "b", 0), 1), said(5, "middle")}
	for range statements {
		statements = append(statements[1:], statements[0])
		g := New()
		for _, l := range statements {
			g.Put(l)
		}
		if got := g.Links(n("a"), 0)[0]; got.Evidence != "first" || got.Since != nanosAt(3) {
			t.Errorf("%+v", got)
		}
	}
}

// model is the graph's meaning, worked out from all statements at once.
func model(statements []*pb.Link, asOf int64) map[string]string {
	type pair struct{ a, b string }
	newest := map[pair]*pb.Link{}
	parent := map[string]string{}
	var find func(string) string
	find = func(x string) string {
		if parent[x] == "" || parent[x] == x {
			return x
		}
		return find(parent[x])
	}
	for _, l := range statements {
		parent[l.From], parent[l.To] = l.From, l.To
		if asOf != 0 && nanos(l.At) > asOf {
			continue
		}
		k := pair{min(l.From, l.To), max(l.From, l.To)}
		if old := newest[k]; old == nil || nanos(l.At) > nanos(old.At) || nanos(l.At) == nanos(old.At) && l.Retracted {
			newest[k] = l
		}
	}
	for _, l := range newest {
		if a, b := find(l.From), find(l.To); !l.Retracted && a != b {
			parent[max(a, b)] = min(a, b)
		}
	}
	out := map[string]string{}
	for name := range parent {
		out[name] = find(name)
	}
	return out
}

func TestAnyOrderGivesTheComponentsOfTheModelNowAndThen(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 11))
	for round := range 200 {
		var statements []*pb.Link
		for range 60 {
			a, b := fmt.Sprint(rng.IntN(14)), fmt.Sprint(rng.IntN(14))
			if a == b {
				continue
			}
			l := same(a, b, rng.IntN(50))
			if rng.IntN(3) == 0 {
				l.Retracted = true
			}
			statements = append(statements, l)
		}
		shuffled := slices.Clone(statements)
		rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		g := New()
		for _, l := range append(shuffled, shuffled[:20]...) { // some are told again
			if rng.IntN(2) == 0 {
				g.Put(l)
			} else {
				g.Tell(l)
			}
		}
		for name, want := range model(statements, 0) {
			if got := g.Component(name); got != want {
				t.Fatalf("round %d: %s is of %s, want %s", round, name, got, want)
			}
		}
		at := rng.IntN(50)
		then := model(statements, nanosAt(at))
		for name, want := range then {
			if got := g.Names(name, nanosAt(at))[0]; got != want {
				t.Fatalf("round %d: as of minute %d %s is of %s, want %s", round, at, name, got, want)
			}
		}
	}
}

func TestOnlyNewsIsTold(t *testing.T) {
	g := New()
	l := same("a", "b", 60)
	first := g.Tell(l)
	if first != ID(l) {
		t.Fatalf("key %q", first)
	}
	if key := g.Tell(same("b", "a", 70)); key != "" {
		t.Errorf("the same, later, is told as %q", key)
	}
	if key := g.Tell(same("a", "b", 50)); key != first {
		t.Errorf("an earlier begin is told as %q", key)
	}
	if key := g.Tell(same("a", "b", 60+25*60)); key != first+"/last" {
		t.Errorf("a sign of life after a day is told as %q", key)
	}
	out := g.Tell(gone(l, 3000))
	if !strings.HasPrefix(out, first+"/") {
		t.Errorf("a retraction is told as %q", out)
	}
	if key := g.Tell(gone(l, 2999)); key != "" {
		t.Errorf("an older retraction is told as %q", key)
	}
	if key := g.Tell(same("a", "b", 3001)); key == "" || key == out || key == first {
		t.Errorf("being held again is told as %q", key)
	}
}

func TestAChainIsTheShortestWay(t *testing.T) {
	g := New()
	for _, l := range []*pb.Link{same("a", "b", 0), same("b", "c", 0), same("c", "d", 0), same("a", "x", 0), same("x", "d", 0)} {
		g.Put(l)
	}
	g.Put(&pb.Link{Kind: pb.Link_OWNED_BY, From: n("d"), To: OwnerNode("o"), Confidence: pb.Link_ASSERTED, Evidence: "file:3"})
	var got []string
	for _, step := range g.Chain(n("a"), OwnerNode("o"), 0) {
		got = append(got, step.To)
	}
	if want := []string{n("x"), n("d"), OwnerNode("o")}; !slices.Equal(got, want) {
		t.Fatalf("%v", got)
	}
	if g.Chain(n("a"), n("nobody"), 0) != nil {
		t.Error("a chain to nowhere")
	}
}

func TestMoreStatementsThanAreRememberedStillGiveNowAndTheNewestPast(t *testing.T) {
	g := New()
	for i := range 1000 {
		g.Put(same("a", "b", 10+i))
	}
	g.Put(gone(same("a", "b", 0), 2000))
	if len(g.Names(n("a"), 0)) != 1 || len(g.Names(n("a"), nanosAt(1500))) != 2 || len(g.Names(n("a"), nanosAt(9))) != 1 {
		t.Fatal("history is wrong")
	}
	if p := g.edges[0].times.past; len(p.early) > keep || len(p.late) > keep {
		t.Errorf("%d and %d statements are remembered", len(p.early), len(p.late))
	}
}

// fleet fills a graph with a million links: identities of ten names each, owned and recorded.
func fleet(b *testing.B, links int) *Graph {
	g := New()
	for i := 0; g.credentialsAndLinks() < links; i++ {
		first := fmt.Sprintf("vault/default/entity/%08d-0a51-4d0a-9d53-1f6f2a7b9c10", i)
		for k := range 8 {
			g.Put(&pb.Link{Kind: pb.Link_SAME_AS, From: first, To: fmt.Sprintf("oidc/issuer-%d/subject/workload-%d", k, i),
				Confidence: pb.Link_PROVEN, At: moment(k), Evidence: "seen at the login (vault default record 01234567-89ab)"})
		}
		g.Put(&pb.Link{Kind: pb.Link_SAME_AS, From: first, To: AgentNode(fmt.Sprint(i)), Confidence: pb.Link_ASSERTED, At: moment(0), Evidence: "catalog.yaml:7"})
		g.Put(&pb.Link{Kind: pb.Link_OWNED_BY, From: AgentNode(fmt.Sprint(i)), To: OwnerNode(fmt.Sprint(i % 200)), Confidence: pb.Link_ASSERTED, At: moment(0), Evidence: "catalog.yaml:8"})
	}
	b.Helper()
	return g
}

func (g *Graph) credentialsAndLinks() int { return len(g.edges) }

// Two processors said a link for the first time without having heard of each other, under one key: what a compacted topic
// keeps is the later message, whichever began earlier.
func TestAStatementThatTookAnEarlierOnesPlaceIsAnswered(t *testing.T) {
	said := func(minutes int, evidence string) *pb.Link {
		l := same("a", "b", minutes)
		l.Evidence = evidence
		return l
	}
	for name, c := range map[string]struct{ own, other *pb.Link }{
		"it began earlier":            {said(3, "first"), said(7, "later")},
		"of one moment, smaller text": {said(3, "first"), said(3, "second")},
	} {
		g := New()
		id := g.Tell(c.own)
		g.Put(c.other)
		key, again := g.Answer(id, c.other)
		if key != id || again == nil || again.Evidence != "first" || !again.At.AsTime().Equal(c.own.At.AsTime()) {
			t.Fatalf("%s: %q %v", name, key, again)
		}
		if _, twice := g.Answer(key, again); twice != nil {
			t.Errorf("%s: an answer is answered", name)
		}
		if _, beside := g.Answer(id+"/last", c.other); beside != nil {
			t.Errorf("%s: a statement that stands beside the first is answered", name)
		}
	}
}

func TestTheSmallerSentenceOfOneMomentIsTold(t *testing.T) {
	g := New()
	second, first := same("a", "b", 3), same("a", "b", 3)
	second.Evidence, first.Evidence = "second", "first"
	key := g.Tell(second)
	before := g.Revision()
	if again := g.Tell(first); again != key {
		t.Errorf("told as %q", again)
	}
	if g.Revision() == before || !g.Changed(n("a"), before) {
		t.Error("who has built a sentence of the evidence does not hear that it is another")
	}
	if again := g.Tell(second); again != "" {
		t.Errorf("the greater one is told as %q", again)
	}
}
