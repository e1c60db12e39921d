#!/usr/bin/env bash
# Random worlds on the real cluster: portreeve verify, the lab's enforcer and real connections agree on every one of them.
#
#   tests/lab/differential.sh BIN     BIN: the folder with portreeve and the lab's programs
#
# PORTREEVE_WORLDS is how many (20), PORTREEVE_SEED repeats a run. Starts the cluster unless it is up.
set -euo pipefail
cd "$(dirname "$0")/../.."

bin=$1
cluster=tests/cluster/cluster
if ! "$cluster" status >/dev/null 2>&1; then
  trap '"$cluster" down' EXIT
  "$cluster" up
fi

out=target/differential
rm -rf "$out"
compare() {
  "$bin/portreeve-differential" --cluster "$cluster" --portreeve "$bin/portreeve" "$@"
}

# Where nothing is enforced, every denial is a difference: it is seen, shrunk to one policy and written down.
if compare --worlds 1 --seed 3 --style off --out "$out/planted"; then
  echo "nothing was enforced, and no difference was seen"
  exit 1
fi
[ "$(grep -c '"kind":"NetworkPolicy"' "$out/planted/seed-3.yaml")" -eq 1 ]

compare --worlds "${PORTREEVE_WORLDS:-20}" ${PORTREEVE_SEED:+--seed "$PORTREEVE_SEED"} --out "$out"
