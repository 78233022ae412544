#!/usr/bin/env bash
# spire.sh: builds the real SPIRE server and agent once, from the source that tools/spire pins, into the user's cache,
# and prints the directory that they are in. Everything but the path goes to stderr.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version=$(sed -n 's|^require github.com/spiffe/spire v||p' "$here/spire/go.mod")
spire=${XDG_CACHE_HOME:-$HOME/.cache}/leastwise/spire/$version
if [ -x "$spire/spire-server" ] && [ -x "$spire/spire-agent" ]; then
	echo "$spire"
	exit 0
fi

cat >&2 <<TEXT
SPIRE $version is built from source, once: about 9 minutes on two cores, 230 MB in
  $spire
TEXT
# SPIRE keeps its registrations in SQLite, which is C.
command -v "${CC:-gcc}" >/dev/null || { echo "spire.sh: no C compiler; install gcc, or set CC" >&2; exit 1; }
# In a copy: the build may complete go.mod and go.sum, and the clone may be read-only.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here"/spire/{go.mod,go.sum,tools.go} "$work"
chmod u+w "$work"/*
cd "$work"
export GOWORK=off GOFLAGS=-mod=mod CGO_ENABLED=1
mkdir -p "$spire" out
commands=(github.com/spiffe/spire/cmd/spire-{server,agent})

echo "  fetching the source" >&2
total=$(go list -deps "${commands[@]}" | wc -l)
# -v names each package as its compilation ends; those that the build cache has are not named, so the count may jump.
go build -v -buildvcs=false -ldflags "-s -w" -o out/ "${commands[@]}" 2>&1 |
	awk -v total="$total" -v tty="$([ -t 2 ] && echo 1 || echo 0)" '
		/^[a-zA-Z0-9._~-]+(\/[a-zA-Z0-9._~-]+)*$/ {
			n++
			if (tty) { printf "\r  compiling %d of %d packages", n, total; fflush() }
			else if (n % 100 == 0) { printf "  compiling %d of %d packages\n", n, total; fflush() }
			next
		}
		{ print }
		END { if (tty && n) print "" }' >&2
for name in spire-agent spire-server; do # whole or not at all, and the one that is looked for first last
	mv "out/$name" "$spire/$name.new"
	mv "$spire/$name.new" "$spire/$name"
done
echo "  done" >&2
echo "$spire"
