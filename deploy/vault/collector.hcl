# The inventory of the Leastwise collector: it reads, and changes nothing.

# list AppRole's roles
path "auth/approle/role" { capabilities = ["list"] }

# know what a role gives, and when somebody changes it
path "auth/approle/role/+" { capabilities = ["read"] }

# list its secret ids by accessor
path "auth/approle/role/+/secret-id" { capabilities = ["list"] }

# know since when a secret id lives, and until when
path "auth/approle/role/+/secret-id-accessor/lookup" { capabilities = ["update"] }

# list the PKI's roles
path "pki/roles" { capabilities = ["list"] }

# know how long its certificates may live
path "pki/roles/+" { capabilities = ["read"] }

# list live tokens
path "auth/token/accessors" { capabilities = ["list", "sudo"] }

# times, policies and role of a token
path "auth/token/lookup-accessor" { capabilities = ["update"] }

# name them as the audit log does
path "sys/audit-hash/file" { capabilities = ["update"] }

# list token roles
path "auth/token/roles" { capabilities = ["list"] }

# know whether tokens of a role have a parent
path "auth/token/roles/*" { capabilities = ["read"] }

# know which auth methods issue tokens
path "sys/auth" { capabilities = ["read"] }

# know which engines issue by roles
path "sys/mounts" { capabilities = ["read"] }

# know how long what a mount issues may live
path "sys/mounts/*" { capabilities = ["read"] }

# list the roles of other auth methods
path "auth/+/role" { capabilities = ["list"] }

# know what they give
path "auth/+/role/+" { capabilities = ["read"] }

# the same where the list is called roles (AWS, GCP)
path "auth/+/roles" { capabilities = ["list"] }

# the same of certificates
path "auth/+/certs" { capabilities = ["list"] }

# know what a login by certificate gives
path "auth/+/certs/+" { capabilities = ["read"] }

# know which aliases an entity has, and which are gone
path "identity/entity-alias/id" { capabilities = ["list"] }

# know what policies permit
path "sys/policies/acl/*" { capabilities = ["read"] }

# see the own token
path "auth/token/lookup-self" { capabilities = ["read"] }

# renew the own token
path "auth/token/renew-self" { capabilities = ["update"] }
