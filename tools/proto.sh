#!/usr/bin/env bash
# proto.sh generate [DIR] | lint | breaking | format
# What is done with the protobuf files in schemas/proto, by the pinned buf and plugins.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../schemas"
PATH=$("$here/install.sh" proto):$PATH
export BUF_CACHE_DIR=${XDG_CACHE_HOME:-$HOME/.cache}/leastwise/buf

case ${1:-} in
generate) buf generate --output "${2:-.}" ;;
lint) buf lint && buf format --diff --exit-code ;;
format) buf format --write ;;
breaking)
	# Against what is published; on main itself, against the commit before.
	base=$(git rev-parse --verify --quiet origin/main || git rev-parse --verify --quiet main || true)
	[ "$base" != "$(git rev-parse HEAD 2>/dev/null || true)" ] || base=$(git rev-parse --verify --quiet 'HEAD^' || true)
	if [ -z "$base" ] || ! git cat-file -e "$base:schemas/buf.yaml" 2>/dev/null; then
		echo "buf breaking: skipped, this clone has no earlier schemas to compare with" >&2
		exit 0
	fi
	before=$(mktemp -d)
	trap 'rm -rf "$before"' EXIT
	git -C .. archive "$base" schemas | tar -x -C "$before"
	buf breaking --against "$before/schemas"
	;;
*)
	sed -n '2,3s/^# //p' "${BASH_SOURCE[0]}" >&2
	exit 2
	;;
esac
