package identity

import (
	"testing"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

const uuid = "5f0c1f9e-6f0e-4b57-9b1e-0d8f5a3c2b11"

func TestAnAgentIDIsProvenByTheIssuerAndOnlyClaimedByTheAgent(t *testing.T) {
	expect(t, vaultLogin("jwt", "auth/jwt/", "meta.agent_id", uuid), "PROVEN SAME_AS agent/global/agent/"+uuid+" vault/default/entity/e-1")
	expect(t, jwt("svc", "agent_id", uuid), "PROVEN SAME_AS agent/global/agent/"+uuid+" oidc/idp/subject/svc")
	expect(t, event("agentusage", pb.Event_USED, "vault/default/token/t", "agentusage/default/agent/"+uuid, "agent_id", uuid),
		"INFERRED ISSUED_TO vault/default/token/t agent/global/agent/"+uuid)
	expect(t, event("agentusage", pb.Event_USED, "", "agentusage/default/agent/"+uuid, "agent_id", uuid))
}

func TestAnOwnerInAnIssuersRecordIsShown(t *testing.T) {
	expect(t, jwt("svc", "owner", "payments"), "INFERRED OWNED_BY oidc/idp/subject/svc catalog/default/owner/payments")
}
