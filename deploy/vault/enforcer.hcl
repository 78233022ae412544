# The Leastwise enforcer. Name it anything but leastwise-…: those it may write.

# ask whether a token lives, and prove that it is gone
path "auth/token/lookup-accessor" { capabilities = ["update"] }

# revoke a token with its children and leases
path "auth/token/revoke-accessor" { capabilities = ["update"] }

# find the accessor behind a hashed one; count live tokens
path "auth/token/accessors" { capabilities = ["list", "sudo"] }

# hash accessors as the audit log does
path "sys/audit-hash/file" { capabilities = ["update"] }

# ask whether a lease lives
path "sys/leases/lookup" { capabilities = ["update"] }

# revoke a lease
path "sys/leases/revoke" { capabilities = ["update"] }

# know what a credential is granted
path "sys/policies/acl/*" { capabilities = ["read"] }

# write narrow policies
path "sys/policies/acl/leastwise-*" { capabilities = ["create", "read", "update"] }

# create the narrow token
path "auth/token/create/leastwise" { capabilities = ["update"] }

# narrow a role, and put it back
path "auth/approle/role/+/policies" { capabilities = ["read", "update"] }

# bring a role's TTL within policy, and put it back
path "auth/approle/role/+/token-ttl" { capabilities = ["read", "update"] }

# the same of its longest TTL
path "auth/approle/role/+/token-max-ttl" { capabilities = ["read", "update"] }

# the same of its period
path "auth/approle/role/+/period" { capabilities = ["read", "update"] }

# ask whether a secret id lives
path "auth/approle/role/+/secret-id-accessor/lookup" { capabilities = ["update"] }

# destroy a secret id
path "auth/approle/role/+/secret-id-accessor/destroy" { capabilities = ["update"] }

# ask whether a certificate is revoked
path "pki/cert/+" { capabilities = ["read"] }

# revoke a certificate
path "pki/revoke" { capabilities = ["update"] }

# disable an entity, and give it back
path "identity/entity/id/+" { capabilities = ["read", "update"] }

# doctor: see the audit devices
path "sys/audit" { capabilities = ["read", "sudo"] }

# doctor: see the tuning of auth/token
path "sys/mounts/auth/token/tune" { capabilities = ["read"] }

# doctor: see the token role
path "auth/token/roles/leastwise" { capabilities = ["read"] }

# see what the own token may do
path "sys/capabilities-self" { capabilities = ["update"] }

# see the own token
path "auth/token/lookup-self" { capabilities = ["read"] }

# renew the own token
path "auth/token/renew-self" { capabilities = ["update"] }
