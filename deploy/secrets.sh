#!/usr/bin/env bash
# secrets.sh [DIR]: makes the secrets docker-compose.yml needs, at random, once. Those that exist stay.
set -euo pipefail
dir=${1:-$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/secrets}
# The directory keeps other users out. The files are readable, since each container reads them under another user id.
(umask 077 && mkdir -p "$dir")
for name in clickhouse_password vault_dev_root_token grafana_password; do
	[ -s "$dir/$name" ] && continue
	head -c 24 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n' >"$dir/$name"
	chmod 0444 "$dir/$name"
	echo "made $dir/$name" >&2
done
