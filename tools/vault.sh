#!/usr/bin/env bash
# vault.sh: builds the real Vault server once, from the source that tools/vault pins, into the user's cache, and prints
# its path. Everything but the path goes to stderr.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version=$(sed -n 's|^require github.com/hashicorp/vault v||p' "$here/vault/go.mod")
vault=${XDG_CACHE_HOME:-$HOME/.cache}/leastwise/vault/$version/vault
if [ -x "$vault" ]; then
	echo "$vault"
	exit 0
fi

cat >&2 <<TEXT
Vault $version is built from source, once: about 5 minutes on two cores, 180 MB in
  $vault
TEXT
# In a copy: the build may complete go.mod and go.sum, and the clone may be read-only.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here"/vault/{go.mod,go.sum,tools.go} "$work"
chmod u+w "$work"/*
cd "$work"
export GOWORK=off GOFLAGS=-mod=mod CGO_ENABLED=0
mkdir -p "$(dirname "$vault")"

echo "  fetching the source" >&2
total=$(go list -deps -tags minimal github.com/hashicorp/vault | wc -l)
# -v names each package as its compilation ends; those that the build cache has are not named, so the count may jump.
go build -v -buildvcs=false -tags minimal -o "$vault.new" github.com/hashicorp/vault 2>&1 |
	awk -v total="$total" -v tty="$([ -t 2 ] && echo 1 || echo 0)" '
		/^[a-zA-Z0-9._~-]+(\/[a-zA-Z0-9._~-]+)*$/ {
			n++
			if (tty) { printf "\r  compiling %d of %d packages", n, total; fflush() }
			else if (n % 100 == 0) { printf "  compiling %d of %d packages\n", n, total; fflush() }
			next
		}
		{ print }
		END { if (tty && n) print "" }' >&2
mv "$vault.new" "$vault" # whole or not at all
echo "  done" >&2
echo "$vault"
