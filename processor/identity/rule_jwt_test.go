package identity

import (
	"testing"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

func jwt(subject string, labels ...string) *pb.Event {
	return event("jwtregistry", pb.Event_ISSUED, "jwtregistry/default/jwt/j1", "jwtregistry/default/subject/https://idp|"+subject, labels...)
}

func TestTheSubjectOfAClientsOwnTokenIsTheClient(t *testing.T) {
	expect(t, jwt("ingest", "oauth_client", "ingest"), "PROVEN SAME_AS oauth/idp/client/ingest oidc/idp/subject/ingest")
	expect(t, jwt("alice", "oauth_client", "ingest"), "INFERRED SAME_AS oauth/idp/client/ingest oidc/idp/subject/alice")
}

func TestADelegatedTokenIsTheActors(t *testing.T) {
	expect(t, jwt("alice", "actor_subject", "agent-7", "oauth_client", "broker"), "PROVEN DERIVED_FROM oidc/idp/subject/agent-7 oidc/idp/subject/alice")
}

func TestAnIdentityTokenOfVaultsIsTheEntitys(t *testing.T) {
	expect(t, jwt("e-1", "vault_entity", entity), "PROVEN SAME_AS oidc/idp/subject/e-1 vault/default/entity/e-1")
}
