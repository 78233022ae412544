# What the collector's inventory may do: read which tokens live and what their policies grant. It changes nothing.
path "auth/token/accessors"       { capabilities = ["list", "sudo"] }
path "auth/token/accessors/"      { capabilities = ["list", "sudo"] }
path "auth/token/lookup-accessor" { capabilities = ["update"] }
path "auth/token/roles"           { capabilities = ["list"] }
path "auth/token/roles/*"         { capabilities = ["read"] }
path "sys/policies/acl/*"         { capabilities = ["read"] }
# One-way: turns an accessor or lease id into the hash the log shows.
path "sys/audit-hash/file"        { capabilities = ["update"] }
