#!/usr/bin/env bash
# secrets.sh [DIR]: makes the secrets docker-compose.yml needs, at random, once. Those that exist stay. What others have to
# give (AWS, GCP, the key of a log of certificates) is made as a file that says what goes there; the collector that reads
# it does not work until it does.
set -euo pipefail
dir=${1:-$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/secrets}
# The directory keeps other users out. The files are readable, since each container reads them under another user id.
(umask 077 && mkdir -p "$dir")
for name in clickhouse_password vault_dev_root_token grafana_password agentusage_token; do
	[ -s "$dir/$name" ] && continue
	head -c 24 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n' >"$dir/$name"
	chmod 0444 "$dir/$name"
	echo "made $dir/$name" >&2
done
given() {
	[ -s "$dir/$1" ] && return
	printf '%s\n' "$2" >"$dir/$1"
	chmod 0444 "$dir/$1"
	echo "made $dir/$1: to be replaced before its profile runs" >&2
}
given aws_credentials "# Replace by a profile: [default], aws_access_key_id = ..., aws_secret_access_key = ..."
given gcp_credentials "Replace by a service account's key file or a workload identity configuration (JSON)."
given certlog_key "Replace by the log's public key: base64 of DER as log lists publish it, or PEM."
# A certificate of the gate's own, for a try on this machine. A cluster's comes from deploy/kubernetes/certificate.yaml.
if [ ! -s "$dir/gate_tls_cert" ] && ! command -v openssl >/dev/null; then
	echo "no openssl here: for --profile gate put a certificate into $dir/gate_tls_cert and its key into $dir/gate_tls_key" >&2
elif [ ! -s "$dir/gate_tls_cert" ]; then
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 365 -subj /CN=leastwise-gate \
		-addext 'subjectAltName=DNS:gate,DNS:localhost,DNS:host.docker.internal,IP:127.0.0.1' \
		-keyout "$dir/gate_tls_key" -out "$dir/gate_tls_cert" 2>/dev/null
	chmod 0444 "$dir/gate_tls_key" "$dir/gate_tls_cert"
	echo "made $dir/gate_tls_cert and its key" >&2
fi
