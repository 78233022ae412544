package identity

import (
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// agentIDs: an agent's own log names the agent and the credential that it used
// (https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-agent-spans/, gen_ai.agent.id). What an agent says of itself is a
// claim: it is shown, it contradicts what issuers say, and it merges nothing, or any agent could take another's identity.
// The id that an issuer keeps (Vault's metadata of a login, a registry's record of a token) is the issuer's word.
func agentIDs(r *reading) {
	if id := r.label("meta.agent_id"); id != "" && r.ev.Principal != "" {
		if mount := mountOf(r.ev.Labels); mount != "" && mount != "auth/token" && r.ev.Kind != pb.Event_USED {
			r.link(pb.Link_SAME_AS, r.ev.Principal, agentIDNode(r.ev.Instance, id), pb.Link_PROVEN,
				"Vault keeps agent_id %s with the login through %s", id, mount)
		}
	}
	id := r.label("agent_id")
	if id == "" {
		return
	}
	agent := agentIDNode(r.ev.Instance, id)
	switch {
	case r.ev.Source == "jwtregistry":
		r.link(pb.Link_SAME_AS, r.holder, agent, pb.Link_PROVEN, "the issuer's registry names agent %s for the token", id)
	case r.ev.Source == "cloudtrail":
		r.link(pb.Link_SAME_AS, r.holder, agent, pb.Link_INFERRED, "a session was tagged with agent id %s, which its caller may choose", id)
	case r.ev.Credential != "":
		r.link(pb.Link_ISSUED_TO, r.ev.Credential, agent, pb.Link_INFERRED, "agent %s says in its own log that it used the credential", id)
	}
}

// ownerLabel: an issuer's record may name an owner in its own words. It is shown; the catalog says who answers.
func ownerLabel(r *reading) {
	if owner := r.label("owner"); owner != "" && r.holder != "" {
		r.link(pb.Link_OWNED_BY, r.holder, OwnerNode(owner), pb.Link_INFERRED, "the record names owner %s", owner)
	}
}
