package recorded

import (
	"cmp"
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leastwise/leastwise/collectors/agentusage"
	"github.com/leastwise/leastwise/collectors/awsiam"
	"github.com/leastwise/leastwise/collectors/cloudtrail"
	"github.com/leastwise/leastwise/collectors/jwtregistry"
	"github.com/leastwise/leastwise/collectors/spire"
	"github.com/leastwise/leastwise/collectors/vault"
	"github.com/leastwise/leastwise/processor/core"
	"github.com/leastwise/leastwise/processor/identity"
	"github.com/leastwise/leastwise/processor/scope"
	"github.com/leastwise/leastwise/processor/silence"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// scene is one processor that has read some recordings, with the shipped policies in force.
type scene struct {
	t      *testing.T
	core   *core.Core
	linker *identity.Linker
	grants *scope.Grants
	offset int64
	now    time.Time // of the newest event
}

func newScene(t *testing.T) *scene {
	s := &scene{t: t, grants: scope.NewGrants(), linker: identity.NewLinker(identity.New(), identity.Options{})}
	s.core = core.New(core.Options{Grants: s.grants, Identities: s.linker.Graph(), Heartbeat: 1})
	cat := catalogs(t)[1]
	s.linker.ClaimCatalog(cat, asked)
	s.core.Catalog(cat)
	s.core.Rules(shipped(t))
	readings := map[string]silence.Reading{} // all are read, and have been since before the first record
	for _, system := range []string{"vault", "cloudtrail", "gcpaudit", "spire", "jwtregistry", "agentusage"} {
		readings[system+"/default"] = silence.Reading{From: 1}
	}
	s.core.Silence(readings)
	return s
}

// read takes a recording; edit, if given, is done to its text first: a record as it stands, but of another path or user.
func (s *scene) read(l log, edit ...string) {
	s.t.Helper()
	data, err := os.ReadFile(samples + l.file)
	if err != nil {
		s.t.Fatal(err)
	}
	text := strings.NewReplacer(edit...).Replace(string(data))
	if len(edit) > 0 && text == string(data) {
		s.t.Fatalf("%s: nothing to edit in it", l.file)
	}
	s.take(decode(s.t, l, []byte(text))...)
}

func (s *scene) take(events ...*pb.Event) {
	for _, ev := range events {
		held := ""
		if e := s.core.Entry(ev.Credential); e != nil {
			held = e.Principal
		}
		s.linker.Event(ev, held)
		s.offset++
		s.core.Apply(ev, s.offset, true)
		if at := ev.OccurredAt.AsTime(); at.After(s.now) {
			s.now = at
		}
	}
}

// violated are the policies that a credential violates a while after the newest record.
func (s *scene) violated(key string, after time.Duration) []string {
	s.t.Helper()
	e := s.core.Entry(key)
	if e == nil {
		s.t.Fatalf("%s is not in the recording", key)
	}
	if err := s.core.Settle(context.Background(), s.now.Add(after).UnixNano()); err != nil {
		s.t.Fatal(err)
	}
	return s.core.Entry(key).Decided.Policies
}

// Credentials of the recordings, as collectors/*/testdata has them.
const (
	rootToken  = "vault/default/token/hmac-sha256:7d5b1d8e6653aa0a62ece00407df9ca2a9fd25b32fb480748bce9edf84fb3271"
	ingest     = "vault/default/token/hmac-sha256:5b09e8e844eaa38e20496ce3b61d0dcbea849e67c6be0ce31e4593ba05ce6a59" // one hour
	diagnostic = "vault/default/token/hmac-sha256:4e97de864cb16906a8551ce143cebf6d8c79270d9648234fec9c8d17d3260c78" // thirty days
	prober     = "vault/default/token/hmac-sha256:3d2f576925f8c934e96a5db0f62cac0d4779185fe076db58be528b760a9f2585" // refused four paths
	untouched  = "vault/default/token/hmac-sha256:55cf5ad4b83f49b56493c983d95db6fa47c4988751d8dea33e4359dbafea4c67" // for a day
	thirtyH    = "vault/default/token/hmac-sha256:647004b32b4ab4c2d54c2bccf1160430653bd9810b84250133166d16d301ef6f" // thirty hours
	rootKey    = "cloudtrail/default/access_key/AKIAROOT000000000001"
	aliceKey   = "cloudtrail/default/access_key/AKIAALICE00000000001"
	aliceNew   = "cloudtrail/default/access_key/AKIAALICE00000000002" // made while recorded
	diagSVID   = "spire/default/x509_svid/300825901792011430715952422578350259924"
	ingestSVID = "spire/default/x509_svid/261596003174533557475496065218002567349"
)

const day = 24 * time.Hour

// What the recorded Vault's policies said.
var policyTexts = map[string]string{
	"ingest": `path "secret/data/ingest/*" { capabilities = ["create", "update", "read"] }
path "secret/data/storage/*" { capabilities = ["create", "update", "delete"] }`,
	"diag": `path "secret/data/diag/*" { capabilities = ["read"] }
path "secret/metadata/*" { capabilities = ["list"] }`,
	"default": `path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
path "cubbyhole/*" { capabilities = ["create", "read", "update", "delete", "list"] }`,
}

func vaultAudit(s *scene, edit ...string) {
	for name, text := range policyTexts {
		rules, incomplete, err := vault.ParsePolicy(text)
		if err != nil || incomplete != "" {
			s.t.Fatal(err, incomplete)
		}
		s.grants.Put(&pb.Grant{Id: "vault/default/policy/" + name, Rules: rules})
	}
	s.read(log{"vault/testdata/recorded/audit.log", vault.NewDecoder(vault.Options{Pairing: true}), vault.Records}, edit...)
}

func trail(s *scene, edit ...string) {
	s.read(log{"cloudtrail/testdata/trail.json", cloudtrail.NewDecoder(cloudtrail.Options{}), cloudtrail.Records}, edit...)
}

func registry(s *scene) {
	s.read(log{"jwtregistry/testdata/registry.jsonl", jwtregistry.NewDecoder(jwtregistry.Options{}), jwtregistry.Records})
}

func server(s *scene) {
	s.read(log{"spire/testdata/recorded/server.json.log", spire.NewDecoder(spire.Options{}), spire.Records})
}

// lives is what an inventory would say of a credential later: that it is still there, and until when.
func (s *scene) lives(key string, after, until time.Duration, labels map[string]string) {
	at := timestamppb.New(s.now.Add(after))
	s.take(&pb.Event{Kind: pb.Event_OBSERVED, Credential: key, OccurredAt: at, ObservedAt: at, Labels: labels,
		Lifetime: &pb.Lifetime{ExpiresAt: timestamppb.New(s.now.Add(until))}})
}

// again takes the recorded calls of one credential once more, later and with another.
func (s *scene) again(of, with string, after time.Duration) {
	s.t.Helper()
	var later []*pb.Event
	for _, ev := range recordedOnce(s.t) {
		if ev.Credential == of && ev.Kind == pb.Event_USED {
			ev = proto.CloneOf(ev)
			ev.Credential, ev.Principal, ev.Lifetime, ev.Policies = with, "", nil, nil
			move(ev, after)
			later = append(later, ev)
		}
	}
	if len(later) < 3 {
		s.t.Fatalf("%s made %d calls while recorded", of, len(later))
	}
	s.take(later...)
}

func recordedOnce(t *testing.T) []*pb.Event {
	l := log{"vault/testdata/recorded/audit.log", vault.NewDecoder(vault.Options{Pairing: true}), vault.Records}
	data, err := os.ReadFile(samples + l.file)
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, l, data)
}

// Each policy of the starter set finds its case in recorded data, and leaves its neighbour alone.
func TestShippedPoliciesFindTheirCaseInRecordedDataAndLeaveItsNeighbour(t *testing.T) {
	type look struct {
		at    time.Duration // after the newest record
		key   string
		fires bool
	}
	cases := []struct {
		policy string
		scene  func(*scene)
		looks  []look
	}{
		{"ephemeral-agent-token", func(s *scene) { vaultAudit(s) }, []look{{2 * time.Hour, diagnostic, true}, {time.Minute, diagnostic, false}}},
		{"long-lived-single-credential", func(s *scene) { vaultAudit(s) },
			[]look{{26 * time.Hour, diagnostic, true}, {2 * time.Hour, diagnostic, false}, {26 * time.Hour, thirtyH, false}}},
		{"long-lived-single-credential", func(s *scene) { trail(s) }, []look{{25 * time.Hour, aliceNew, true}, {time.Hour, aliceNew, false}}},
		// The ingest has ended, and its token was renewed for months.
		{"unused-write", func(s *scene) { vaultAudit(s); s.lives(ingest, time.Second, 90*day, nil) },
			[]look{{45 * day, ingest, true}, {2 * day, ingest, false}}},
		// The diagnostic reads one path; what it uses of a narrow scope is what it has.
		{"unused-write", func(s *scene) { vaultAudit(s) }, []look{{9 * day, diagnostic, true}, {2 * time.Hour, diagnostic, false}}},
		{"never-expires", func(s *scene) { vaultAudit(s); trail(s) },
			[]look{{time.Minute, rootToken, true}, {time.Minute, aliceKey, true}, {time.Minute, diagnostic, false}}},
		{"root-token-use", func(s *scene) { vaultAudit(s) },
			[]look{{time.Minute, rootToken, true}, {26 * time.Hour, rootToken, false}, {time.Minute, diagnostic, false}}},
		{"root-account-use", func(s *scene) { trail(s) },
			[]look{{time.Minute, rootKey, true}, {26 * time.Hour, rootKey, false}, {time.Minute, aliceKey, false}}},
		{"wildcard-scope", func(s *scene) { trail(s, "user/ops/alice", "user/alice"); s.snapshot() },
			[]look{{time.Minute, rootKey, true}, {time.Minute, aliceKey, false}}},
		{"heavy-scope", func(s *scene) { trail(s); vaultAudit(s) }, []look{{time.Minute, rootKey, true}, {time.Minute, diagnostic, false}}},
		{"idle-broad", func(s *scene) { trail(s, "user/ops/alice", "user/alice"); s.snapshot() },
			[]look{{15 * day, rootKey, true}, {13 * day, rootKey, false}, {15 * day, aliceKey, false}}},
		{"stale-rotation", func(s *scene) { trail(s) }, []look{{91 * day, aliceNew, true}, {80 * day, aliceNew, false}}},
		{"admin-svid", func(s *scene) {
			server(s)
			s.lives(diagSVID, time.Second, time.Hour, map[string]string{"admin": "true", "spiffe_id": "spiffe://example.org/diag"})
		}, []look{{time.Minute, diagSVID, true}, {time.Minute, ingestSVID, false}}},
		{"ownerless", func(s *scene) { vaultAudit(s) }, []look{{time.Minute, diagnostic, true}, {time.Minute, ingest, false}}},
		{"issued-but-unused", func(s *scene) { vaultAudit(s) },
			[]look{{2 * time.Hour, untouched, true}, {10 * time.Minute, untouched, false}, {2 * time.Hour, diagnostic, false}}},
		// Four doors were tried while recorded. With one more it is no mistake any longer.
		{"probing", func(s *scene) { vaultAudit(s) }, []look{{time.Minute, prober, false}}},
		{"probing", func(s *scene) { vaultAudit(s); s.offset += 1000; s.anotherDoor() }, []look{{time.Minute, prober, true}}},
		{"unusual-permission", func(s *scene) { vaultAudit(s); s.again(rootToken, diagnostic, 8*day) }, []look{{time.Minute, diagnostic, true}}},
		{"unusual-permission", func(s *scene) { vaultAudit(s); s.again(diagnostic, diagnostic, 8*day) }, []look{{time.Minute, diagnostic, false}}},
		{"expiring-in-use", func(s *scene) { vaultAudit(s); s.again(diagnostic, diagnostic, 29*day+23*time.Hour+10*time.Minute) },
			[]look{{time.Minute, diagnostic, true}}},
		{"expiring-in-use", func(s *scene) { vaultAudit(s) }, []look{{time.Minute, diagnostic, false}, {29*day + 23*time.Hour + 10*time.Minute, diagnostic, false}}},
		{"underused", func(s *scene) { vaultAudit(s) }, []look{{50 * time.Minute, ingest, true}, {time.Minute, ingest, false}}},
		{"used-but-unissued", func(s *scene) { registry(s); s.agents("") },
			[]look{{2 * time.Hour, "jwtregistry/default/jwt/a1b2", true}, {2 * time.Hour, "jwtregistry/default/jwt/a1", false}}},
		{"usage-contradiction", func(s *scene) { vaultAudit(s); s.agents(strings.TrimPrefix(untouched, "vault/default/token/")) },
			[]look{{2 * time.Hour, untouched, true}, {2 * time.Hour, diagnostic, false}}},
	}
	fired, left := map[string]bool{}, map[string]bool{}
	for _, c := range cases {
		for _, look := range c.looks {
			s := newScene(t)
			c.scene(s)
			got := s.violated(look.key, look.at)
			if slices.Contains(got, c.policy) != look.fires {
				_, values := s.core.Measure(look.key, s.now.Add(look.at).UnixNano())
				t.Errorf("%s, %s after the newest record: %s violates %v, want %s among them: %t\n%s %s", c.policy, look.at, look.key, got, c.policy,
					look.fires, values.String(), s.core.Entry(look.key).Scope.Why)
			}
			if look.fires {
				fired[c.policy] = true
			} else {
				left[c.policy] = true
			}
		}
	}
	for _, p := range shipped(t).Policies() {
		if !fired[p.ID] || !left[p.ID] {
			t.Errorf("%s: recorded data in which it fires: %t, in which it does not: %t", p.ID, fired[p.ID], left[p.ID])
		}
	}
}

// snapshot is what AWS's IAM grants the user alice.
func (s *scene) snapshot() {
	s.t.Helper()
	file, err := os.Open(samples + "awsiam/testdata/details.json")
	if err != nil {
		s.t.Fatal(err)
	}
	defer file.Close()
	grants, err := awsiam.Read(file, "", s.now)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, grant := range grants {
		s.grants.Put(grant)
	}
}

// anotherDoor is the last of the prober's recorded refusals once more, of another path.
func (s *scene) anotherDoor() {
	s.t.Helper()
	for _, ev := range recordedOnce(s.t) {
		if ev.Credential == prober && ev.Kind == pb.Event_DENIED {
			ev.Permission += "-too"
			s.take(ev)
			return
		}
	}
	s.t.Fatal("nothing was refused to it while recorded")
}

// agents say in their own log what they used: the key of a session, a JWT, and, if an accessor is given, that token of Vault.
func (s *scene) agents(accessor string) {
	l := log{"agentusage/testdata/usage.jsonl", agentusage.NewDecoder(agentusage.Options{}), agentusage.Records}
	data, err := os.ReadFile(samples + l.file)
	if err != nil {
		s.t.Fatal(err)
	}
	said := decode(s.t, l, []byte(strings.ReplaceAll(string(data), "Z8u0dmPl9cUnCiCz1x9vQ2aT", cmp.Or(accessor, "Z8u0dmPl9cUnCiCz1x9vQ2aT"))))
	shift(said, s.now)
	s.take(said...)
}
