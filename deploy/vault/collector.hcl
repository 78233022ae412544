# The inventory of the Leastwise collector: it reads, and changes nothing.

# list AppRole's roles
path "auth/approle/role" { capabilities = ["list"] }

# know what a role gives, and when somebody changes it
path "auth/approle/role/+" { capabilities = ["read"] }

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

# know which aliases an entity has, and which are gone
path "identity/entity-alias/id" { capabilities = ["list"] }

# know what policies permit
path "sys/policies/acl/*" { capabilities = ["read"] }

# see the own token
path "auth/token/lookup-self" { capabilities = ["read"] }

# renew the own token
path "auth/token/renew-self" { capabilities = ["update"] }
