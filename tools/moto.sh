#!/usr/bin/env bash
# moto.sh: installs moto's server once into the user's cache, pinned, and prints the path of the program. Everything but
# the path goes to stderr.
set -euo pipefail
version=5.2.5
moto=${XDG_CACHE_HOME:-$HOME/.cache}/leastwise/moto
if [ -x "$moto/bin/moto_server" ]; then
	echo "$moto/bin/moto_server"
	exit 0
fi
echo "moto $version is installed into $moto" >&2
command -v python3 >/dev/null || { echo "moto.sh: no python3; install it with its venv module" >&2; exit 1; }
python3 -m venv "$moto.new" >&2 || { echo "moto.sh: python3 has no venv module; install python3-venv" >&2; exit 1; }
"$moto.new/bin/pip" install --quiet "moto[server]==$version" >&2
rm -rf "$moto"
# The programs name the folder that they were installed for.
sed -i "1s|$moto.new|$moto|" "$moto.new"/bin/*
mv "$moto.new" "$moto"
echo "$moto/bin/moto_server"
