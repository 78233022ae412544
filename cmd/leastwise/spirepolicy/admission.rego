# SPIRE server's authorization policy with Leastwise's admission: SPIRE's own default rules, and beside them what makes a
# call be refused. Data (data.apis: SPIRE's table of calls; data.leastwise: limits and exceptions) are in the file beside
# this one, which `leastwise spire-policy` writes from policies, catalog and exceptions.
#
# The default rules are those of SPIRE 1.13.3, pkg/server/authpolicy/policy.rego (Apache-2.0, the SPIRE authors).
package spire

result := {
	"allow": allow,
	"allow_if_admin": allow_if_admin,
	"allow_if_local": allow_if_local,
	"allow_if_downstream": allow_if_downstream,
	"allow_if_agent": allow_if_agent,
}

default allow := false

default allow_if_admin := false

default allow_if_local := false

default allow_if_downstream := false

default allow_if_agent := false

allow if {
	some api in data.apis
	api.full_method == input.full_method
	api.allow_any
	admitted
}

allow_if_admin if {
	some api in data.apis
	api.full_method == input.full_method
	api.allow_admin
	admitted
}

allow_if_local if {
	some api in data.apis
	api.full_method == input.full_method
	api.allow_local
	admitted
}

allow_if_downstream if {
	some api in data.apis
	api.full_method == input.full_method
	api.allow_downstream
	admitted
}

allow_if_agent if {
	some api in data.apis
	api.full_method == input.full_method
	api.allow_agent
	admitted
}

# SPIRE evaluates the policy partially when it starts, with all data and no call. Written as a comprehension, what refuses
# is left alone then: unrolled over calls and identities it would take minutes.
admitted if count([1 | refused]) == 0

# Leastwise's own caller shortens and gives back; it is under guards of its own.
trusted if {
	input.caller != ""
	some id in data.leastwise.trusted
	id == input.caller
}

create := "/spire.api.server.entry.v1.Entry/BatchCreateEntry"

update := "/spire.api.server.entry.v1.Entry/BatchUpdateEntry"

mint_x509 := "/spire.api.server.svid.v1.SVID/MintX509SVID"

mint_jwt := "/spire.api.server.svid.v1.SVID/MintJWTSVID"

# One bad entry refuses the whole batch: SPIRE decides on calls.
refused if {
	not trusted
	input.full_method == create
	some entry in input.req.entries
	wrong(entry)
}

# Without a mask an update sets everything.
refused if {
	not trusted
	input.full_method == update
	not input.req.input_mask
	some entry in input.req.entries
	wrong(entry)
}

refused if {
	not trusted
	input.full_method == update
	input.req.input_mask.spiffe_id
	some entry in input.req.entries
	wrong(entry)
}

# An identity that is set anew with what the call leaves as it is: what that is the call does not say.
refused if {
	not trusted
	input.full_method == update
	input.req.input_mask.spiffe_id
	some field in ["x509_svid_ttl", "jwt_svid_ttl", "admin", "downstream"]
	not input.req.input_mask[field]
}

# Whose entry it is the call does not say: then the strictest limit of all holds.
refused if {
	masked
	some [field, kind] in [["x509_svid_ttl", "x509"], ["jwt_svid_ttl", "jwt"]]
	input.req.input_mask[field]
	some entry in input.req.entries
	not within(data.leastwise.strictest[kind], entry, field, kind)
}

refused if {
	masked
	some flag in ["admin", "downstream"]
	input.req.input_mask[flag]
	some entry in input.req.entries
	entry[flag]
}

masked if {
	not trusted
	input.full_method == update
	input.req.input_mask
	not input.req.input_mask.spiffe_id
}

# Minting goes round all entries. The identity stands in the CSR, which is not decoded here.
refused if {
	not trusted
	input.full_method == mint_x509
	not within(data.leastwise.strictest.x509, input.req, "ttl", "x509")
}

refused if {
	not trusted
	input.full_method == mint_jwt
	id := spiffe_id(input.req.id)
	not allowed_ttl(id, input.req, "ttl", "jwt")
}

wrong(entry) if not entry.spiffe_id

wrong(entry) if not owned(spiffe_id(entry.spiffe_id))

wrong(entry) if not allowed_ttl(spiffe_id(entry.spiffe_id), entry, "x509_svid_ttl", "x509")

wrong(entry) if not allowed_ttl(spiffe_id(entry.spiffe_id), entry, "jwt_svid_ttl", "jwt")

wrong(entry) if {
	some flag in ["admin", "downstream"]
	entry[flag]
	not allowed_flag(spiffe_id(entry.spiffe_id), flag)
}

spiffe_id(id) := concat("", ["spiffe://", id.trust_domain, object.get(id, "path", "")])

owned(id) if data.leastwise.identities[id].owner != ""

owned(id) if {
	some grant in data.leastwise.grants[id]
	in_force(grant)
	grant.owner
}

allowed_ttl(id, request, field, kind) if {
	within(data.leastwise.identities[id][kind], request, field, kind)
}

allowed_ttl(id, request, field, kind) if {
	some grant in data.leastwise.grants[id]
	in_force(grant)
	within(grant[kind], request, field, kind)
}

allowed_flag(id, flag) if {
	some grant in data.leastwise.grants[id]
	in_force(grant)
	grant[flag]
}

# An exception ends by itself, whenever this file was written.
in_force(grant) if time.now_ns() < grant.until_ns

# A limit below zero is none.
within(limit, _, _, _) if limit < 0

within(limit, request, field, kind) if {
	limit >= 0
	effective(request, field, kind) <= limit
}

# A TTL of 0, or none, is the server's default.
effective(request, field, _) := ttl if {
	ttl := object.get(request, field, 0)
	ttl > 0
}

effective(request, field, kind) := data.leastwise.defaults[kind] if {
	object.get(request, field, 0) <= 0
}
