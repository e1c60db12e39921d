#!/usr/bin/env bash
# The guide's deployment on a real cluster of its own: made, deployed, checked, and taken away without a trace.
#
#   tests/cluster/matrix/run.sh guide|agent
#
# Needs what `deploy`, `check` and `agent` name; `tests/run` sets it.
set -euo pipefail
cd "$(dirname "$0")"
stage="$1"
case "$stage" in
  guide) export PORTREEVE_CLUSTER_NUMBER=98 ;;
  agent) export PORTREEVE_CLUSTER_NUMBER=97 ;;
esac
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
case "$stage" in
  guide)
    ./deploy
    ./check
    ../faults_check.sh "$PORTREEVE"
    ;;
  agent) ./agent ;;
esac
../cluster down
machine >"$scratch/after"
diff "$scratch/before" "$scratch/after" || { echo "$stage: this is left of the cluster"; exit 1; }
echo "$stage: in all $SECONDS s, and nothing is left"
