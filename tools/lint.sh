#!/usr/bin/env bash
# lint.sh: golangci-lint (pinned) on every module of go.work or, with arguments, on those directories; gofmt; buf lint
# and buf breaking; shellcheck where it is installed. Ends with 1 if any of them complains, after all have run.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/.."
failed=0
step() { echo "lint: $*" >&2; }

linter=$("$here/install.sh" lint)/golangci-lint
modules=("$@")
[ $# -gt 0 ] || mapfile -t modules < <(go list -m -f '{{.Dir}}')
for module in "${modules[@]}"; do
	step "$module"
	(cd "$module" && "$linter" run --config "$here/../.golangci.yml" ./...) || failed=1
done

if [ $# -eq 0 ]; then
	step gofmt
	unformatted=$(git ls-files -co --exclude-standard -z '*.go' | xargs -0 -r gofmt -l)
	[ -z "$unformatted" ] || { printf 'not gofmt-ed (make fmt):\n%s\n' "$unformatted" && failed=1; }
	step protobuf
	"$here/proto.sh" lint || failed=1
	"$here/proto.sh" breaking || failed=1
	if command -v shellcheck >/dev/null; then
		step shell
		shellcheck tools/*.sh deploy/*.sh deploy/vault/*.sh .ci/run || failed=1
	fi
fi
exit $failed
