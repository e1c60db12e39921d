#!/usr/bin/env bash
# Asks other engines what the corpus asks, and writes the answers into docs/compare-engines.md.
#
#   tests/rivals/run.sh           writes
#   tests/rivals/run.sh --check   fails if the page is out of date
#   tests/rivals/run.sh --build   prints the program's path and stops: the benchmark asks it too
#
# Needs go 1.22 or newer and python3; the modules come from the Go module proxy. Builds are kept in ~/.cache/portreeve, by version and source.
set -euo pipefail
cd "$(dirname "$0")/../.."

cyclonus=0.5.6
cache="${XDG_CACHE_HOME:-$HOME/.cache}/portreeve/rivals"
# A change of the program or its modules is another build.
sum=$(cat tests/rivals/cyclonus/main.go tests/rivals/cyclonus/go.sum | sha256sum | cut -c1-12)
rival="$cache/cyclonus-$cyclonus-$sum"
if [ ! -x "$rival" ]; then
  mkdir -p "$cache"
  (cd tests/rivals/cyclonus && GOFLAGS=-mod=readonly go build -buildvcs=false -o "$rival.new" .)
  mv "$rival.new" "$rival"
fi

if [ "${1:-}" = --build ]; then
  echo "$rival"
  exit
fi

portreeve="${PORTREEVE:-target/debug/portreeve}"
[ -n "${PORTREEVE:-}" ] || cargo build --locked --quiet
answers=$(mktemp)
trap 'rm -f "$answers"' EXIT
find tests/corpus -mindepth 2 -name '*.yaml' ! -name '*.expect.yaml' -print0 | LC_ALL=C sort -z | xargs -0 "$rival" >"$answers"
python3 tests/rivals/table.py "$answers" "$portreeve" docs/compare-engines.md "$@"
