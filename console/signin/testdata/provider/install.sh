#!/usr/bin/env bash
# Installs the provider that the tests of sign-in start, once, and prints where it is.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
to=${LEASTWISE_OIDC_PROVIDER:-${XDG_CACHE_HOME:-$HOME/.cache}/leastwise/oidc-provider}
if ! cmp -s "$here/package-lock.json" "$to/package-lock.json" || [ ! -d "$to/node_modules/oidc-provider" ]; then
  mkdir -p "$to"
  cp "$here/package.json" "$here/package-lock.json" "$to/"
  (cd "$to" && npm ci --ignore-scripts --no-audit --no-fund >&2)
fi
echo "$to"
