#!/bin/sh
# Puts the ClickHouse engine's library into the user's cache:
#
#   ${XDG_CACHE_HOME:-~/.cache}/leastwise/libchdb/<version>/libchdb.so
#
# It comes from an npm package (178 MB), is checked against the SHA-256 below
# and moved into place in one step. Beside it a marker with hash and size says
# that this was done; the program compares the size at each start. Nothing
# happens when the library is there already and its hash is right.
#
# LIBCHDB_TARBALL=file takes the package from a file instead of npm.
set -eu

version=26.7.3-stable.1

die() { echo "libchdb: $*" >&2; exit 1; }

case "$(uname -s)-$(uname -m)" in
Linux-x86_64)
	package=@chdb/lib-linux-x64-gnu
	sha256=36ad4e999882821ef13cf2d0f52c93f48e6ee1b4498b35a201c23ce4b8d15bf5
	;;
*)
	# No hash is pinned for a build that nobody here has tested.
	die "no tested build of the embedded ClickHouse for $(uname -s) $(uname -m); use a ClickHouse server (clickhouse.addr in the configuration)"
	;;
esac
if [ "$(uname -s)" = Linux ] && ldd --version 2>&1 | grep -qi musl; then
	die "the embedded ClickHouse needs glibc, this system has musl; use a ClickHouse server (clickhouse.addr in the configuration)"
fi

dir=${XDG_CACHE_HOME:-$HOME/.cache}/leastwise/libchdb/$version
lib=$dir/libchdb.so
marker=$lib.verified

hash_of() {
	if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d' ' -f1
}
size_of() { wc -c <"$1" | tr -d ' '; }

if [ -f "$lib" ] && [ "$(hash_of "$lib")" = "$sha256" ]; then
	echo "$sha256 $(size_of "$lib")" >"$marker.new" && mv "$marker.new" "$marker"
	exit 0
fi

mkdir -p "$dir"
# In the same directory, so that mv is a rename.
tmp=$(mktemp -d "$dir/.fetch.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

if [ -n "${LIBCHDB_TARBALL:-}" ]; then
	tarball=$LIBCHDB_TARBALL
else
	command -v npm >/dev/null || die "npm is needed to fetch $package $version: install Node.js"
	echo "libchdb: fetching $package $version (178 MB, once)" >&2
	(cd "$tmp" && npm pack --silent "$package@$version" >/dev/null) || die "npm could not fetch $package@$version"
	tarball=$(echo "$tmp"/*.tgz)
fi
tar -xzf "$tarball" -C "$tmp" package/libchdb.so || die "$tarball holds no libchdb.so"

got=$(hash_of "$tmp/package/libchdb.so")
[ "$got" = "$sha256" ] || die "SHA-256 of libchdb.so is $got, want $sha256: not installed"

# The marker goes first away and comes last: a library is never taken for
# verified that is not.
rm -f "$marker"
mv "$tmp/package/libchdb.so" "$lib"
echo "$sha256 $(size_of "$lib")" >"$marker.new" && mv "$marker.new" "$marker"
echo "libchdb: $lib" >&2
