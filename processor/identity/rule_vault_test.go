package identity

import (
	"testing"

	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

const entity = "vault/default/entity/e-1"

func vaultLogin(kind, mount string, labels ...string) *pb.Event {
	return event("vault", pb.Event_ISSUED, "vault/default/token/t", entity, append([]string{"mount_type", kind, "mount_point", mount}, labels...)...)
}

func TestAnEntityIsItsAppRole(t *testing.T) {
	expect(t, vaultLogin("approle", "auth/approle/", "role_name", "ingest", "display_name", "approle"),
		"PROVEN SAME_AS vault/default/entity/e-1 vault/default/role/auth/approle:ingest")
}

func TestARoleThatManyLogInThroughIsNotTheEntity(t *testing.T) {
	expect(t, vaultLogin("jwt", "auth/jwt/", "role_name", "ci"))
}

func TestAnEntityIsItsAlias(t *testing.T) {
	expect(t, vaultLogin("jwt", "auth/jwt/", "entity_alias", "alice"),
		"PROVEN SAME_AS vault/default/alias/auth/jwt/alice vault/default/entity/e-1")
	expect(t, vaultLogin("aws", "auth/aws/", "entity_alias", "arn:aws:iam::1:role/r"),
		"PROVEN SAME_AS aws/1/role/arn:aws:iam::1:role/r vault/default/entity/e-1")
	deleted := vaultLogin("jwt", "auth/jwt/", "entity_alias", "alice")
	deleted.Kind = pb.Event_REVOKED
	if links := read(deleted, nil).links; len(links) != 1 || !links[0].Retracted {
		t.Errorf("an alias that was deleted is not taken back: %v", links)
	}
}

func TestNamesThatVaultVerifiedAtTheLogin(t *testing.T) {
	expect(t, vaultLogin("jwt", "auth/jwt/", "meta.sub", "spiffe://example.org/a"),
		"PROVEN SAME_AS spiffe/example.org/id/spiffe://example.org/a vault/default/entity/e-1")
	// The alias is the Vault role by default, so several ARNs may be one entity.
	expect(t, vaultLogin("aws", "auth/aws/", "meta.canonical_arn", "arn:aws:iam::1:role/r"),
		"INFERRED SAME_AS aws/1/role/arn:aws:iam::1:role/r vault/default/entity/e-1")
	// Whoever makes a child token writes its metadata.
	expect(t, vaultLogin("token", "auth/token/", "meta.sub", "spiffe://example.org/a", "meta.agent_id", "7"))
}
