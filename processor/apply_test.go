package processor

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/internal/stream"
	"github.com/leastwise/leastwise/processor/catalog"
	"github.com/leastwise/leastwise/processor/core"
	"github.com/leastwise/leastwise/processor/record"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// everyKind is a short audit log, and events of the kinds that it has none of.
func everyKind(t *testing.T) []stream.Message {
	log := auditLog(60, 600)
	say := func(ev *pb.Event) {
		ev.RecordId = fmt.Sprint("record-", len(log))
		id := schemas.EventID(ev.Source, "default", ev.RecordId, 0)
		ev.Id, ev.Instance, ev.OccurredAt = id[:], "default", timestamppb.New(logEnds.Add(-time.Minute))
		value, err := ev.MarshalVT()
		if err != nil {
			t.Fatal(err)
		}
		log = append(log, stream.Message{Value: value})
	}
	for n := range 20 {
		token, entity := fmt.Sprint("vault/default/token/t-", n), fmt.Sprint("vault/default/entity/e-", n%7)
		session, role := fmt.Sprint("cloudtrail/default/session/ASIA", n), fmt.Sprintf("cloudtrail/default/principal/arn:aws:sts::1:assumed-role/r-%d/s", n)
		say(&pb.Event{Source: "vault", Kind: pb.Event_ISSUED, Credential: token, Principal: entity, Policies: []string{fmt.Sprint("alone-", n)},
			Labels: map[string]string{"meta.agent_id": uuidOf(n), "mount_point": "auth/jwt/"}})
		say(&pb.Event{Source: "vault", Kind: pb.Event_LINKED, Credential: token, Child: token + "-child"})
		say(&pb.Event{Source: "vault", Kind: pb.Event_OBSERVED, Credential: token + "-child", Parent: token,
			Policies: []string{"b", "a", "b"}, Lifetime: &pb.Lifetime{NeverExpires: true}})
		say(&pb.Event{Source: "vault", Kind: pb.Event_USED, Credential: token, Principal: entity, Permission: "help",
			Labels: map[string]string{"permission.2": "read a/b", "confidence": "inferred"}})
		say(&pb.Event{Source: "vault", Kind: pb.Event_USED, Credential: token, Principal: entity + "-other", Permission: fmt.Sprint("read a/", n)})
		say(&pb.Event{Source: "agentusage", Kind: pb.Event_NOTED, Credential: token, Permission: "read a/b", Labels: map[string]string{
			"reported_use": "true", "reported_outcome": "denied", "form": fmt.Sprint("json-", n), "agent_id": uuidOf(n + 1)}})
		say(&pb.Event{Source: "cloudtrail", Kind: pb.Event_ISSUED, Credential: session, Principal: role, Actor: token,
			Labels: map[string]string{"session_issuer": fmt.Sprint("arn:aws:iam::1:role/path/r-", n), "source_identity": "me"}})
		say(&pb.Event{Source: "cloudtrail", Kind: pb.Event_REVOKED, Credential: session, Labels: map[string]string{"how": "deactivated"}})
		if n%3 == 0 {
			say(&pb.Event{Source: "vault", Kind: pb.Event_REVOKED, Credential: token, Labels: map[string]string{"how": "by hand"}})
		}
		say(&pb.Event{Source: "vault", Kind: pb.Event_NOTED, Principal: fmt.Sprint("vault/default/entity/silent-", n)}) // no link names it
	}
	return log
}

func uuidOf(n int) string { return fmt.Sprintf("01234567-89ab-cdef-0123-%012d", n) }

const agentsOfLog = `owners: [{id: payments}]
agents:
  - {id: ingest, owner: payments, match: [{vault_entity: vault/default/entity/e-3}, {vault_entity: vault/default/entity/silent-7}]}
`

func always() time.Time { return logEnds }

// held is all that a worker holds but for the rows that wait to be written.
func (w loneWorker) held(t *testing.T, cat *catalog.Catalog) []string {
	w.linker.ClaimCatalog(cat, logEnds) // asks about every identity that was ever seen
	w.core.Catalog(cat)
	out := []string{fmt.Sprint(w.seen.Len(), w.seen.Horizon(), w.next)}
	w.core.Entries(func(e *core.Entry) {
		out = append(out, e.Key+" "+prototext.Format(e.Proto())+fmt.Sprintln(e.Identity, e.Scope.Why, e.Usage(), e.Match.Conflict, e.Match.Evidence))
	})
	for _, link := range w.p.graph.Held(0) {
		out = append(out, prototext.Format(link))
	}
	slices.Sort(out)
	return out
}

func TestNothingThatIsKeptIsAPieceOfAMessage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.yaml")
	if err := os.WriteFile(path, []byte(agentsOfLog), 0o600); err != nil {
		t.Fatal(err)
	}
	cat, err := catalog.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	rules := fiftyPolicies(t)
	untouched, overwritten := newLoneWorker(rules), newLoneWorker(rules)
	log := everyKind(t)
	untouched.read(t, log, 7, always, nil)
	overwritten.read(t, everyKind(t), 7, always, func(batch []stream.Message) {
		overwritten.rows = record.Events{} // written
		for _, m := range batch {
			copy(m.Value, bytes.Repeat([]byte{'#'}, len(m.Value)))
		}
	})
	want, got := untouched.held(t, cat), overwritten.held(t, cat)
	for i := range max(len(want), len(got)) {
		if i >= len(want) || i >= len(got) || want[i] != got[i] {
			t.Fatalf("%d things are held, want %d; the first that is another:\n%s\nwant:\n%s", len(got), len(want), got[min(i, len(got)-1)], want[min(i, len(want)-1)])
		}
	}
	if len(want) < 200 {
		t.Fatalf("only %d things are held", len(want))
	}
}

func TestRowsKeepWhatTheyWereGivenWhileMoreEventsAreRead(t *testing.T) {
	w := newLoneWorker(fiftyPolicies(t))
	var want record.Events
	w.read(t, everyKind(t), 7, always, func(batch []stream.Message) {
		for _, m := range batch {
			ev := &pb.Event{}
			if err := ev.UnmarshalVT(m.Value); err != nil {
				t.Fatal(err)
			}
			want.Append(ev, m.Offset)
		}
	})
	if w.rows.Len() < 800 || !reflect.DeepEqual(w.rows, want) {
		t.Errorf("the %d rows are others than the events, of which there are %d", w.rows.Len(), want.Len())
	}
}
