#!/usr/bin/env bash
# schemathesis.sh: installs schemathesis once into the user's cache, as tools/schemathesis/requirements.txt pins it and all it
# needs by hash, and prints the path of the program. Everything but the path goes to stderr.
# The pins are made by: uv pip compile --universal --python-version 3.11 --generate-hashes --no-header
set -euo pipefail
pins=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/schemathesis/requirements.txt
home=${XDG_CACHE_HOME:-$HOME/.cache}/leastwise/schemathesis
if [ -x "$home/bin/schemathesis" ] && cmp -s "$pins" "$home/requirements.txt"; then
	echo "$home/bin/schemathesis"
	exit 0
fi
echo "schemathesis is installed into $home" >&2
command -v python3 >/dev/null || { echo "schemathesis.sh: no python3; install it with its venv module" >&2; exit 1; }
rm -rf "$home.new"
python3 -m venv "$home.new" >&2 || { echo "schemathesis.sh: python3 has no venv module; install python3-venv" >&2; exit 1; }
# Wheels alone: nothing of what is fetched runs while it is installed.
"$home.new/bin/pip" install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r "$pins" >&2
cp "$pins" "$home.new/requirements.txt"
rm -rf "$home"
# The programs name the folder that they were installed for.
find "$home.new/bin" -maxdepth 1 -type f -exec sed -i "1s|$home.new|$home|" {} +
mv "$home.new" "$home"
echo "$home/bin/schemathesis"
