#!/usr/bin/env bash
# install.sh MODULE: builds the tools that tools/MODULE/go.mod pins (its `tool` lines) into the user's cache, once per
# content of its go.mod and go.sum, and prints the directory they are in.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
module=$1
dir=${XDG_CACHE_HOME:-$HOME/.cache}/leastwise/tools/$module
pin=$(cat "$here/$module/go.mod" "$here/$module/go.sum" | cksum)

if [ "$(cat "$dir/.pin" 2>/dev/null || true)" != "$pin" ]; then
	echo "building the tools of tools/$module into $dir: once, takes a few minutes" >&2
	mkdir -p "$dir"
	(cd "$here/$module" && GOWORK=off GOFLAGS=-buildvcs=false CGO_ENABLED=0 GOBIN=$dir go install tool) >&2
	echo "$pin" >"$dir/.pin" # last: an interrupted build is begun again
fi
echo "$dir"
