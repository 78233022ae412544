package identity

import (
	"testing"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

func TestARoleIsShownWithTheSubjectThatAssumedIt(t *testing.T) {
	expect(t, event("cloudtrail", pb.Event_ISSUED, "cloudtrail/default/key/ASIA1", "cloudtrail/default/role/arn:aws:iam::1:role/r",
		"web_identity_provider", "arn:aws:iam::1:oidc-provider/oidc.eks.eu-west-1.amazonaws.com/id/AB", "web_identity_subject", "system:serviceaccount:pay:in"),
		"INFERRED SAME_AS aws/1/role/arn:aws:iam::1:role/r kubernetes/oidc.eks.eu-west-1.amazonaws.com_id_AB/serviceaccount/system:serviceaccount:pay:in")
}

func TestAPrincipalOfAGooglePoolIsItsSubject(t *testing.T) {
	const member = "serviceAccount:proj.svc.id.goog[pay/in]"
	expect(t, event("gcpaudit", pb.Event_USED, "", "gcpaudit/default/principal/"+member,
		"web_identity_provider", "proj.svc.id.goog", "web_identity_subject", "pay/in"),
		"PROVEN SAME_AS gcp/global/principal/"+member+" kubernetes/proj.svc.id.goog/serviceaccount/system:serviceaccount:pay:in")
}

func TestASessionIsOfTheRoleThatIssuedIt(t *testing.T) {
	expect(t, event("cloudtrail", pb.Event_USED, "cloudtrail/default/key/ASIA1", "cloudtrail/default/x/arn:aws:sts::1:assumed-role/r/session",
		"session_issuer", "arn:aws:iam::1:role/path/r"),
		"PROVEN SAME_AS aws/1/assumed-role/arn:aws:sts::1:assumed-role/r aws/1/role/arn:aws:iam::1:role/path/r")
}

func TestTheCallerWithAWebIdentityIsItsSubject(t *testing.T) {
	expect(t, event("cloudtrail", pb.Event_USED, "", "cloudtrail/default/web_identity/token.actions.githubusercontent.com/repo:o/r:ref:x",
		"web_identity_provider", "token.actions.githubusercontent.com", "web_identity_subject", "repo:o/r:ref:x"),
		"PROVEN SAME_AS cloudtrail/default/web_identity/token.actions.githubusercontent.com/repo:o/r:ref:x oidc/token.actions.githubusercontent.com/subject/repo:o/r:ref:x")
}

func TestTagsOfASessionCountOnlyIfEKSSetThem(t *testing.T) {
	labels := map[string]string{"eks_cluster_arn": "arn:aws:eks:eu-west-1:1:cluster/prod", "kubernetes_namespace": "pay",
		"kubernetes_service_account": "in", "invoked_by": "pods.eks.amazonaws.com"}
	const session, role = "cloudtrail/default/session/ASIA1", "cloudtrail/default/principal/arn:aws:iam::1:role/r"
	if got := Holder(session, role, labels); got != "kubernetes/arn:aws:eks:eu-west-1:1:cluster_prod/serviceaccount/system:serviceaccount:pay:in" {
		t.Errorf("given by EKS to %s", got)
	}
	delete(labels, "invoked_by")
	labels["spiffe_id"] = "spiffe://example.org/other"
	labels["actor_subject"] = "other"
	if got := Holder(session, role, labels); got != "aws/1/role/arn:aws:iam::1:role/r" {
		t.Errorf("a caller made itself %s by tags", got)
	}
	expect(t, event("cloudtrail", pb.Event_ISSUED, session, role, "spiffe_id", "spiffe://example.org/other", "agent_id", uuid),
		"INFERRED SAME_AS aws/1/role/arn:aws:iam::1:role/r spiffe/example.org/id/spiffe://example.org/other",
		"INFERRED SAME_AS agent/global/agent/"+uuid+" aws/1/role/arn:aws:iam::1:role/r")
}

func TestOneRoleIsOneHowEverItIsWritten(t *testing.T) {
	for _, other := range []string{"arn:aws:sts::1:assumed-role/r/session", "arn:aws:iam::1:role/r", "arn:aws:iam::1:role/some/path/r"} {
		if !oneRole(Node("cloudtrail/default/principal/arn:aws:iam::1:role/some/path/r"), Node("cloudtrail/default/principal/"+other)) &&
			other != "arn:aws:iam::1:role/some/path/r" {
			t.Errorf("%s is taken for another", other)
		}
	}
	if oneRole(Node("c/d/p/arn:aws:iam::1:role/r"), Node("c/d/p/arn:aws:iam::2:role/r")) || oneRole(Node("c/d/p/arn:aws:iam::1:role/a/r"), Node("c/d/p/arn:aws:iam::1:role/b/r")) ||
		oneRole(Node("c/d/p/arn:aws:iam::1:user/r"), Node("c/d/p/arn:aws:iam::1:role/r")) {
		t.Error("two roles are taken for one")
	}
}
