#!/usr/bin/env bash
# secrets.sh [DIR]: makes the secrets docker-compose.yml needs, at random, once. Those that exist stay. What others have to
# give (AWS, GCP, the key of a log of certificates) is made as a file that says what goes there; the collector that reads
# it does not work until it does.
set -euo pipefail
dir=${1:-$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/secrets}
# The directory keeps other users out. The files are readable, since each container reads them under another user id.
(umask 077 && mkdir -p "$dir")
for name in clickhouse_password clickhouse_console_password vault_dev_root_token grafana_password agentusage_token; do
	[ -s "$dir/$name" ] && continue
	head -c 24 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n' >"$dir/$name"
	chmod 0444 "$dir/$name"
	echo "made $dir/$name" >&2
done
# ClickHouse knows the console's user by the hash of its password alone.
if [ ! -s "$dir/clickhouse_console_user" ]; then
	hash=$(sha256sum <"$dir/clickhouse_console_password" | cut -d' ' -f1)
	printf '<clickhouse><users><console><password_sha256_hex>%s</password_sha256_hex></console></users></clickhouse>\n' "$hash" \
		>"$dir/clickhouse_console_user"
	chmod 0444 "$dir/clickhouse_console_user"
	echo "made $dir/clickhouse_console_user" >&2
fi
given() {
	[ -s "$dir/$1" ] && return
	printf '%s\n' "$2" >"$dir/$1"
	chmod 0444 "$dir/$1"
	echo "made $dir/$1: to be replaced before its profile runs" >&2
}
given aws_credentials "# Replace by a profile: [default], aws_access_key_id = ..., aws_secret_access_key = ..."
given gcp_credentials "Replace by a service account's key file or a workload identity configuration (JSON)."
given certlog_key "Replace by the log's public key: base64 of DER as log lists publish it, or PEM."
given console_oidc_secret "Replace by the secret of the client at your OpenID provider."
# Certificates of the gate's, the page's and the broker's own, for a try on this machine. A cluster's gate has one from
# deploy/kubernetes/certificate.yaml.
certificate() { # NAME PROFILE SUBJECT-ALTERNATIVE-NAMES
	[ -s "$dir/$1_tls_cert" ] && return
	if ! command -v openssl >/dev/null; then
		echo "no openssl here: for --profile $2 put a certificate into $dir/$1_tls_cert and its key into $dir/$1_tls_key" >&2
		return
	fi
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 365 -subj "/CN=leastwise-$1" \
		-addext "subjectAltName=$3" -keyout "$dir/$1_tls_key" -out "$dir/$1_tls_cert" 2>/dev/null
	chmod 0444 "$dir/$1_tls_key" "$dir/$1_tls_cert"
	echo "made $dir/$1_tls_cert and its key" >&2
}
certificate gate gate DNS:gate,DNS:localhost,DNS:host.docker.internal,IP:127.0.0.1
certificate console console DNS:console,DNS:localhost,IP:127.0.0.1
certificate broker broker DNS:broker,DNS:localhost,DNS:host.docker.internal,IP:127.0.0.1
