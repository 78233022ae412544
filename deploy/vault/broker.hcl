# The Leastwise broker.

# make the tokens it hands out
path "auth/token/create/leastwise-broker" { capabilities = ["update"] }

# see that a token is no more than was asked
path "auth/token/lookup-accessor" { capabilities = ["update"] }

# take it back if it is
path "auth/token/revoke-accessor" { capabilities = ["update"] }

# know what a policy grants
path "sys/policies/acl/*" { capabilities = ["read"] }

# write the policies of rules that agents ask for
path "sys/policies/acl/leastwise-issue-*" { capabilities = ["create", "update", "read"] }

# see the own token
path "auth/token/lookup-self" { capabilities = ["read"] }

# renew the own token
path "auth/token/renew-self" { capabilities = ["update"] }
