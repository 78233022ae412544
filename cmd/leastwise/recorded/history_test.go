package recorded

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/collectors/agentusage"
	"github.com/leastwise/leastwise/collectors/awsiam"
	"github.com/leastwise/leastwise/collectors/certlog"
	"github.com/leastwise/leastwise/collectors/cloudtrail"
	"github.com/leastwise/leastwise/collectors/gcpaudit"
	"github.com/leastwise/leastwise/collectors/jwtregistry"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/collectors/spire"
	"github.com/leastwise/leastwise/collectors/vault"
	"github.com/leastwise/leastwise/processor/identity"
	"github.com/leastwise/leastwise/schemas"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

const samples = "../../../collectors/"

// asked is the one moment at which all is compared. The newest record of each source lies some minutes before it.
var asked = time.Date(2026, 11, 21, 12, 2, 30, 0, time.UTC)

// told is what collectors publish: events and facts.
type told struct {
	events []*pb.Event
	facts  []fact
}

// fact stands in leastwise.identity under a key; the newest of a key is what stays of it.
type fact struct {
	key   string
	value *pb.Fact
}

// log is a recorded file with the decoder that its collector reads it with.
type log struct {
	file    string
	decoder source.Decoder
	records func(io.Reader, int) source.Reader
}

// recorded decodes the samples that the collectors are tested with.
func recorded(t testing.TB) told {
	t.Helper()
	var out told
	mapping, err := agentusage.LoadMapping(samples + "agentusage/testdata/mapping.yaml")
	if err != nil {
		t.Fatal(err)
	}
	grant := func(g *pb.Grant) {
		out.facts = append(out.facts, fact{g.Id, &pb.Fact{Fact: &pb.Fact_Grant{Grant: g}}})
	}
	bindings := gcpaudit.NewDecoder(gcpaudit.Options{Facts: func(f *pb.Fact) { grant(proto.CloneOf(f.GetGrant())) }})
	logs := []log{
		// Line by line: both lines of a call make its event, with the same id and other times.
		{"vault/testdata/recorded/audit.log", vault.NewDecoder(vault.Options{}), vault.Records},
		{"cloudtrail/testdata/trail.json", cloudtrail.NewDecoder(cloudtrail.Options{}), cloudtrail.Records},
		{"cloudtrail/testdata/stolen-instance-credential.jsonl", cloudtrail.NewDecoder(cloudtrail.Options{}), cloudtrail.Records},
		{"gcpaudit/testdata/security-analytics.ndjson", bindings, gcpaudit.Records},
		{"spire/testdata/recorded/server.json.log", spire.NewDecoder(spire.Options{}), spire.Records},
		{"spire/testdata/recorded/server.text.log", spire.NewDecoder(spire.Options{Instance: "other"}), spire.Records},
		{"spire/testdata/spire/audit.json.log", spire.NewDecoder(spire.Options{}), spire.Records},
		{"certlog/testdata/entries.jsonl", certlog.NewDecoder(certlog.Options{All: true}), certlog.Records},
		{"jwtregistry/testdata/registry.jsonl", jwtregistry.NewDecoder(jwtregistry.Options{}), jwtregistry.Records},
		{"jwtregistry/testdata/keycloak.jsonl", jwtregistry.NewDecoder(jwtregistry.Options{KeycloakURL: "https://sso.example.org"}), jwtregistry.Records},
		{"agentusage/testdata/usage.jsonl", agentusage.NewDecoder(agentusage.Options{Mapping: mapping}), agentusage.Records},
		{"agentusage/testdata/bedrock.ndjson", agentusage.NewDecoder(agentusage.Options{}), agentusage.Records},
	}
	for i, l := range logs {
		data, err := os.ReadFile(samples + l.file)
		if err != nil {
			t.Fatal(err)
		}
		events := decode(t, l, data)
		if len(events) == 0 {
			t.Fatalf("%s gives no event", l.file)
		}
		shift(events, asked.Add(-time.Duration(i+1)*time.Minute))
		out.events = append(out.events, events...)
	}
	out.events = append(out.events, keys(t)...)
	out.events = append(out.events, claims(t, out.events)...)
	snapshot, err := os.Open(samples + "awsiam/testdata/details.json")
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Close()
	grants, err := awsiam.Read(snapshot, "", asked.Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range grants {
		grant(g)
	}
	return out
}

// keys are events of GCP's keys and tokens, which the recorded log has none of: those of the collector's own suite.
func keys(t testing.TB) (events []*pb.Event) {
	t.Helper()
	golden, err := os.ReadFile(samples + "gcpaudit/testdata/golden.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(golden) {
		ev := &pb.Event{}
		if err := protojson.Unmarshal(line, ev); err != nil {
			t.Fatal(err)
		}
		events = append(events, ev)
	}
	shift(events, asked.Add(-20*time.Minute))
	return events
}

func decode(t testing.TB, l log, data []byte) (events []*pb.Event) {
	t.Helper()
	reader := l.records(bytes.NewReader(data), 0)
	for n := 0; ; n++ {
		line, err := reader.Next()
		if err != nil && !errors.Is(err, io.EOF) {
			t.Fatalf("%s: %v", l.file, err)
		}
		if len(line.Bytes) > 0 {
			decoded, err := l.decoder.Decode(nil, source.Record{Bytes: line.Bytes, Position: fmt.Sprintf("%s:%d", filepath.Base(l.file), n)})
			var malformed *source.Malformed
			if err != nil && !errors.As(err, &malformed) {
				t.Fatalf("%s: %v", l.file, err)
			}
			for _, ev := range decoded {
				events = append(events, proto.CloneOf(ev)) // its labels may be shared
			}
		}
		if err != nil {
			return events
		}
	}
}

// shift moves a whole file in time so that its newest event lies at a moment.
func shift(events []*pb.Event, newest time.Time) {
	last := events[0].OccurredAt.AsTime()
	for _, ev := range events {
		if at := ev.OccurredAt.AsTime(); at.After(last) {
			last = at
		}
	}
	for _, ev := range events {
		move(ev, newest.Sub(last))
	}
}

func move(ev *pb.Event, by time.Duration) {
	stamps := []**timestamppb.Timestamp{&ev.OccurredAt}
	if ev.Lifetime != nil {
		stamps = append(stamps, &ev.Lifetime.IssuedAt, &ev.Lifetime.ExpiresAt)
	}
	for _, at := range stamps {
		if *at != nil {
			*at = timestamppb.New((*at).AsTime().Add(by))
		}
	}
	ev.ObservedAt = ev.OccurredAt
}

// claims are lines of agents that say which of the recorded credentials they used: one as its owner has mapped it, one
// under two names, and one that is a stolen key.
func claims(t testing.TB, events []*pb.Event) []*pb.Event {
	t.Helper()
	kinds := map[string]string{"vault/default/token/": "vault_accessor", "cloudtrail/default/session/": "aws_access_key",
		"cloudtrail/default/access_key/": "aws_access_key"}
	var lines strings.Builder
	seen := map[string]bool{}
	for i, ev := range events {
		for prefix, kind := range kinds {
			id, ok := strings.CutPrefix(ev.Credential, prefix)
			if !ok || seen[ev.Credential] || len(seen) >= 24 {
				continue
			}
			seen[ev.Credential] = true
			for n := range 1 + len(seen)%2 {
				fmt.Fprintf(&lines, `{"agent_usage":1,"id":"c-%d-%d","time":%d,"agent_id":"agent-%d","credential_kind":%q,"credential_id":%q,"action":"read","outcome":"success"}`+"\n",
					i, n, asked.Add(-time.Hour).Unix()+int64(7*n), (len(seen)+n)%5, kind, id)
			}
		}
	}
	if len(seen) < 10 {
		t.Fatalf("only %d credentials to claim: their keys look otherwise now", len(seen))
	}
	return decode(t, log{"claims", agentusage.NewDecoder(agentusage.Options{}), agentusage.Records}, []byte(lines.String()))
}

// spread is the recorded history several times over forty-five days: the same credentials at other times, others that
// do the same, and what an inventory would say of those that were issued.
func spread(t testing.TB) told {
	t.Helper()
	out := recorded(t)
	once := slices.Clone(out.events)
	for n, ago := range []time.Duration{26 * time.Hour, 29*24*time.Hour + 23*time.Hour, 45 * 24 * time.Hour} {
		others := n == 0
		for _, was := range once {
			if was.Credential == "" {
				continue
			}
			ev := proto.CloneOf(was)
			id := schemas.EventID("mixed", fmt.Sprint(n), string(was.Id), was.Index)
			ev.Id = id[:]
			ev.RecordId = fmt.Sprintf("%s again %d", ev.RecordId, n)
			move(ev, -ago)
			if others {
				for _, key := range []*string{&ev.Credential, &ev.Parent, &ev.Child, &ev.Actor} {
					if *key != "" {
						*key += fmt.Sprintf("-%d", n)
					}
				}
			} else if ev.Kind == pb.Event_ISSUED && n == 1 {
				ev.Kind = pb.Event_OBSERVED
			}
			out.events = append(out.events, ev)
		}
	}
	out.facts = append(out.facts, links()...)
	return out
}

// links that somebody else told: said, taken back and said again, by way of a second issuer's proof.
func links() []fact {
	var out []fact
	say := func(from, to string, ago time.Duration, retracted bool, key string) {
		l := &pb.Link{Kind: pb.Link_SAME_AS, From: from, To: to, Confidence: pb.Link_PROVEN, At: timestamppb.New(asked.Add(-ago)),
			Retracted: retracted, Evidence: fmt.Sprintf("told %s before", ago)}
		l.Id = identity.ID(l)
		out = append(out, fact{l.Id + key, &pb.Fact{Fact: &pb.Fact_Link{Link: l}}})
	}
	const ingest, role = "spire/default/spiffe_id/spiffe://example.org/ingest", "cloudtrail/default/principal/arn:aws:iam::111122223333:role/agents/ingest"
	say(ingest, role, 40*time.Hour, false, "")
	say(ingest, role, 20*time.Hour, true, "/gone")
	say(ingest, role, 10*time.Hour, false, "/again")
	const diag, other = "spire/default/spiffe_id/spiffe://example.org/diag", "cloudtrail/default/principal/arn:aws:iam::444455556666:role/diag"
	say(diag, other, 9*time.Hour, false, "")
	say(diag, other, 2*time.Hour, true, "/gone")
	return out
}
