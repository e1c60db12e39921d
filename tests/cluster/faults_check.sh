#!/usr/bin/env bash
# Checks the proxy that spoils the API server's answers (faults.py) on the cluster that is up: each fault arrives at a real client, and nothing else does.
#
#   tests/cluster/faults_check.sh PORTREEVE
#
# The client is portreeve: it has to say what it could not see, and to be right again as soon as the fault is over.
set -euo pipefail
portreeve=$(realpath "$1")
cd "$(dirname "$0")"
matrix=../../policies/traffic-matrix.yaml

fail() {
  echo "faults: $*"
  cat "$scratch/out" 2>/dev/null || true
  exit 1
}

scratch=$(mktemp -d)
kubeconfig=$(./cluster kubeconfig)
: >"$scratch/ready"
python3 faults.py "$kubeconfig" "$scratch" >"$scratch/ready" &
proxy=$!
finish() {
  kill "$proxy" 2>/dev/null || true
  rm -rf "$scratch"
}
trap finish EXIT
for _ in $(seq 100); do
  grep -q ready "$scratch/ready" && break
  sleep 0.1
done

# audit RULES EXIT_CODES: what portreeve says of the cluster while these rules hold.
audit() {
  printf '%s' "$1" >"$scratch/rules.new" && mv "$scratch/rules.new" "$scratch/rules.json"
  local code=0
  "$portreeve" audit --matrix "$matrix" --cluster --kubeconfig "$scratch/kubeconfig" -o json >"$scratch/out" 2>&1 || code=$?
  [[ " $2 " == *" $code "* ]] || fail "with $1 the exit code is $code"
}
says() { grep -q -- "$1" "$scratch/out" || fail "it does not say: $1"; }

audit '[]' "0 1"
cp "$scratch/out" "$scratch/sound"
as_before() {
  audit "$1" "0 1"
  cmp -s "$scratch/out" "$scratch/sound" || fail "with $1 the answer differs from that without faults"
}
as_before '[{"path": "/pods", "delay": 1.5, "times": 1}]'
as_before '[{"path": "/networkpolicies", "status": 429, "retryAfter": 1, "times": 1}]'
audit '[{"path": "/networkpolicies", "status": 403}]' 1
says 'networkpolicies'
audit '[{"path": "/networkpolicies", "status": 500}]' "1 2"
says 'networkpolicies'
audit '[{"cut": true}]' 2
as_before '[]'

# A watch that is dropped ends for its client in the middle, after the time that the rule says.
printf '[{"path": "watch=", "cutAfter": 1.5}]' >"$scratch/rules.json"
began=$(date +%s%N)
timeout 30 ./cluster kubectl --kubeconfig "$scratch/kubeconfig" get pods -A --watch-only >/dev/null 2>&1 && code=0 || code=$?
took=$((($(date +%s%N) - began) / 1000000))
[ "$code" -ne 124 ] && [ "$took" -ge 1500 ] || fail "a watch that was to be dropped after 1.5 s ended after $took ms with $code"
# Upgraded connections pass: the proxy must not break what it does not spoil.
printf '[]' >"$scratch/rules.json"
echo "faults: delays, refusals, cuts and dropped watches arrive as meant"
