#!/usr/bin/env bash
# The guide's deployment on a real cluster of its own: made, deployed, checked, and taken away without a trace.
#
#   tests/cluster/matrix/run.sh
#
# Needs what `deploy` and `check` name; `tests/run guide` sets it.
set -euo pipefail
cd "$(dirname "$0")"
export PORTREEVE_CLUSTER_NUMBER=98
name=$(basename "$(dirname "$(../cluster kubeconfig)")")
. ../machine.sh

scratch=$(mktemp -d)
finish() {
  ../cluster down >/dev/null || true
  rm -rf "$scratch"
}
trap finish EXIT
machine >"$scratch/before"
../cluster up
./deploy
./check
../faults_check.sh "$PORTREEVE"
../cluster down
machine >"$scratch/after"
diff "$scratch/before" "$scratch/after" || { echo "guide: this is left of the cluster"; exit 1; }
echo "guide: in all $SECONDS s, and nothing is left"
