package identity

import (
	"testing"

	"google.golang.org/protobuf/proto"

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

func TestWhatHeldByAnAliasEndsWithIt(t *testing.T) {
	for _, login := range []*pb.Event{
		vaultLogin("approle", "auth/approle/", "role_name", "ingest", "entity_alias", "sha256:0011"),
		vaultLogin("kubernetes", "auth/k8s/", "entity_alias", "uid-1", "meta.service_account_namespace", "pay", "meta.service_account_name", "in"),
		vaultLogin("aws", "auth/aws/", "entity_alias", "AIDA1", "meta.canonical_arn", "arn:aws:iam::1:role/r"),
	} {
		login.Credential = ""
		g := New()
		l := NewLinker(g, Options{})
		login.Kind = pb.Event_OBSERVED
		l.Event(login, "")
		if n := len(g.Links(entity, 0)); n < 2 {
			t.Fatalf("%v: %d links", login.Labels, n)
		}
		gone := proto.Clone(login).(*pb.Event)
		gone.Kind = pb.Event_REVOKED
		gone.OccurredAt.Seconds += 60
		l.Event(gone, "")
		if links := g.Links(entity, 0); len(links) != 0 {
			t.Errorf("%v: still held: %v", login.Labels, links)
		}
		l.Event(login, "") // read once more, an old word
		if links := g.Links(entity, 0); len(links) != 0 {
			t.Errorf("%v: revived by the login of before: %v", login.Labels, links)
		}
		seen := proto.Clone(gone).(*pb.Event) // an inventory sees the token of that login
		seen.Kind, seen.Credential, seen.Lifetime = pb.Event_OBSERVED, "vault/default/token/t", &pb.Lifetime{IssuedAt: login.OccurredAt}
		seen.OccurredAt.Seconds += 30
		l.Event(seen, "")
		if links := g.Links(entity, 0); len(links) != 0 {
			t.Errorf("%v: revived by an old token: %v", login.Labels, links)
		}
		again := proto.Clone(gone).(*pb.Event)
		again.Kind = pb.Event_OBSERVED
		again.OccurredAt.Seconds += 60
		l.Event(again, "")
		if n := len(g.Links(entity, 0)); n < 2 {
			t.Errorf("%v: the alias was made again, and %d links are held", login.Labels, n)
		}
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
