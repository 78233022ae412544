package identity

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// event is one of a source, as its collector makes it.
func event(source string, kind pb.Event_Kind, credential, principal string, labels ...string) *pb.Event {
	ev := &pb.Event{Kind: kind, Credential: credential, Principal: principal, Source: source, Instance: "default",
		RecordId: "r1", OccurredAt: moment(1), Labels: map[string]string{}}
	for i := 0; i+1 < len(labels); i += 2 {
		ev.Labels[labels[i]] = labels[i+1]
	}
	return ev
}

// expect compares the links of one event with "CONFIDENCE KIND FROM TO" lines, in any order.
func expect(t *testing.T, ev *pb.Event, want ...string) {
	t.Helper()
	var got []string
	for _, l := range read(ev, nil).links {
		got = append(got, fmt.Sprintf("%s %s %s %s", l.Confidence, l.Kind, l.From, l.To))
		if !strings.Contains(l.Evidence, ev.Source) || !strings.Contains(l.Evidence, "r1") {
			t.Errorf("evidence %q does not name the record", l.Evidence)
		}
		if l.Id == "" || l.At == nil {
			t.Errorf("%v has no id or time", l)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("links\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestNodesOfOneNameAreOneWhoeverSawIt(t *testing.T) {
	for key, want := range map[string]string{
		"spire/default/spiffe/spiffe://example.org/a":                                  "spiffe/example.org/id/spiffe://example.org/a",
		"certlog/x/spiffe_id/spiffe://example.org/a":                                   "spiffe/example.org/id/spiffe://example.org/a",
		"cloudtrail/default/role/arn:aws:iam::1:role/p/ingest":                         "aws/1/role/arn:aws:iam::1:role/p/ingest",
		"cloudtrail/default/x/arn:aws:sts::1:assumed-role/ingest/any-session":          "aws/1/assumed-role/arn:aws:sts::1:assumed-role/ingest",
		"cloudtrail/default/x/arn:aws:iam::1:root":                                     "aws/1/account/arn:aws:iam::1:root",
		"gcpaudit/default/principal/serviceAccount:in@p.iam.gserviceaccount.com":       "gcp/global/serviceaccount/in@p.iam.gserviceaccount.com",
		"gcpaudit/default/principal/user:a@example.org":                                "gcpaudit/default/principal/user:a@example.org",
		"jwtregistry/default/subject/https://idp/|alice":                               "oidc/idp/subject/alice",
		"jwtregistry/default/subject/https://k8s.example/x|system:serviceaccount:p:in": "kubernetes/k8s.example_x/serviceaccount/system:serviceaccount:p:in",
		"jwtregistry/default/subject/https://idp|spiffe://example.org/a":               "spiffe/example.org/id/spiffe://example.org/a",
		"agentusage/default/agent/5F0C1F9E-6f0e-4b57-9b1e-0d8f5a3c2b11":                "agent/global/agent/5f0c1f9e-6f0e-4b57-9b1e-0d8f5a3c2b11",
		"agentusage/eu/agent/ingest":                                                   "agent/eu/agent/ingest",
		"vault/default/entity/e-1":                                                     "vault/default/entity/e-1",
		"catalog/default/agent/ingest":                                                 "catalog/default/agent/ingest",
		"no key":                                                                       "no key",
		"":                                                                             "",
	} {
		if got := Node(key); got != want {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
		if got := Node(Node(key)); got != want {
			t.Errorf("the node of %s is not its own node, but %s", want, got)
		}
	}
}

func TestTheHolderIsWhoTheIssuerSays(t *testing.T) {
	for want, q := range map[string]Query{
		"vault/default/entity/e":                                {Principal: "vault/default/entity/e"},
		"oidc/idp/subject/agent-7":                              {Principal: "jwtregistry/default/subject/https://idp|alice", Labels: map[string]string{"actor_subject": "agent-7"}},
		"oidc/other/subject/agent-7":                            {Principal: "jwtregistry/default/subject/https://idp|alice", Labels: map[string]string{"actor_subject": "https://other|agent-7"}},
		"spiffe/example.org/id/spiffe://example.org/a":          {Principal: "vault/default/entity/e", Labels: map[string]string{"spiffe_id": "spiffe://example.org/a"}},
		"oidc/github/subject/repo:x":                            {Principal: "cloudtrail/default/role/arn:aws:iam::1:role/r", Labels: map[string]string{"web_identity_provider": "https://github", "web_identity_subject": "repo:x"}},
		"gcp/global/serviceaccount/a@p.iam.gserviceaccount.com": {Principal: "gcpaudit/default/principal/serviceAccount:b@p.iam.gserviceaccount.com", Labels: map[string]string{"actor_subject": "serviceAccount:a@p.iam.gserviceaccount.com"}},
	} {
		if got := Holder("x/y/z/c", q.Principal, q.Labels); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestNamesThatAnyoneMayChooseProveNothing(t *testing.T) {
	ev := event("cloudtrail", pb.Event_ISSUED, "cloudtrail/default/key/ASIA1", "cloudtrail/default/x/arn:aws:sts::1:assumed-role/ingest/other-agent",
		"display_name", "other-agent", "user_agent", "other-agent", "session_name", "other-agent", "role_session_name", "other-agent", "client_name", "other")
	expect(t, ev)
}
