#!/bin/sh
# Prepares a Vault for Leastwise: a file audit device, the policies beside this file, and an AppRole each for the
# collector's inventory, the enforcer and, if it is wanted, the broker, whose ids it writes to files. Running it again changes nothing but the secret
# ids, which are made anew. It needs an administrator's token, in VAULT_TOKEN or in the file VAULT_TOKEN_FILE names.
#
#   AUDIT_LOG      path of the audit log on Vault's machine
#   COLLECTOR_DIR  where role_id and secret_id of the collector go
#   ENFORCER_DIR   the same for the enforcer; apart, so that neither sees the other's
#   BROKER_DIR     the same for the broker; without it there is none
#   OWNER          user id that owns those files (default: whoever runs this)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
: "${AUDIT_LOG:?}" "${COLLECTOR_DIR:?}" "${ENFORCER_DIR:?}"
if [ -n "${VAULT_TOKEN_FILE:-}" ]; then
	VAULT_TOKEN=$(cat "$VAULT_TOKEN_FILE")
	export VAULT_TOKEN
fi

# 0640: the collector reads it as a member of Vault's group.
vault audit list 2>/dev/null | grep -q '^file/' || vault audit enable file file_path="$AUDIT_LOG" mode=0640
# So that the log shows in clear, if anything, whom a revocation by accessor meant; accessors are not secrets.
vault auth tune -audit-non-hmac-request-keys=accessor token/
vault auth list | grep -q '^approle/' || vault auth enable approle

# Re-issued tokens are made through this role: policies leastwise-* only, and no children of the enforcer's own token.
vault write auth/token/roles/leastwise allowed_policies_glob=leastwise-* orphan=true renewable=true token_explicit_max_ttl=24h

role() { # role NAME DIR FILE; NAME must not begin with "leastwise-": policies of that name the enforcer may write
	vault policy write "$1" "$here/$3"
	vault write "auth/approle/role/$1" token_policies="$1" token_ttl=20m token_max_ttl=24h secret_id_num_uses=0
	mkdir -p "$2"
	(
		umask 077
		vault read -field=role_id "auth/approle/role/$1/role-id" >"$2/role_id"
		vault write -force -field=secret_id "auth/approle/role/$1/secret-id" >"$2/secret_id"
	)
	if [ -n "${OWNER:-}" ]; then chown "$OWNER" "$2" "$2/role_id" "$2/secret_id"; fi
}
role collector-of-leastwise "$COLLECTOR_DIR" collector.hcl
role enforcer-of-leastwise "$ENFORCER_DIR" enforcer.hcl
if [ -n "${BROKER_DIR:-}" ]; then
	# The policies that the broker writes. Add your own that it may give: allowed_policies=NAME,NAME
	vault read auth/token/roles/leastwise-broker >/dev/null 2>&1 ||
		vault write auth/token/roles/leastwise-broker orphan=true renewable=false allowed_policies_glob='leastwise-issue-*'
	role broker-of-leastwise "$BROKER_DIR" broker.hcl
fi
echo "Vault is ready for Leastwise"
