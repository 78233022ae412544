package identity

import (
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// tokenClaims: of a token made for a client itself, sub is the client
// (https://www.rfc-editor.org/rfc/rfc9068.html#section-2.2); of one made for a user, the client only carries it. A
// delegated token has the actor in act, outermost first, and the actor holds it for the subject
// (https://www.rfc-editor.org/rfc/rfc8693.html#section-4.1). The sub of an identity token of Vault's is an entity
// (https://developer.hashicorp.com/vault/docs/secrets/identity/identity-token).
func tokenClaims(r *reading) {
	if r.ev.Source != "jwtregistry" || r.ev.Principal == "" {
		return
	}
	if entity := r.label("vault_entity"); entity != "" {
		r.link(pb.Link_SAME_AS, r.ev.Principal, entity, pb.Link_PROVEN, "Vault issued the identity token to the entity")
	}
	if actor := r.label("actor_subject"); actor != "" {
		r.link(pb.Link_DERIVED_FROM, r.holder, r.ev.Principal, pb.Link_PROVEN, "the issuer let %s act for the subject", actor)
		return
	}
	client := r.label("oauth_client")
	if client == "" {
		return
	}
	_, instance, _, id, _ := split(r.ev.Principal)
	issuer, subject := cutLast(id)
	node := key("oauth", r.clientSpace(instance, issuer), "client", client)
	if subject == client {
		r.link(pb.Link_SAME_AS, r.ev.Principal, node, pb.Link_PROVEN, "the token's subject is its client %s", client)
		return
	}
	r.link(pb.Link_SAME_AS, r.ev.Principal, node, pb.Link_INFERRED, "client %s carries a token of the subject", client)
}

// clientSpace is in what a client's id is unique: at its issuer.
func (r *reading) clientSpace(instance, issuer string) string {
	if issuer == "" {
		issuer = r.label("issuer")
	}
	if issuer = issuerName(issuer); issuer == "" {
		return instance
	}
	return issuer
}

func cutLast(id string) (issuer, subject string) {
	for i := range len(id) {
		if id[i] == '|' {
			return id[:i], id[i+1:]
		}
	}
	return "", id
}
