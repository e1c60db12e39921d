#!/usr/bin/env bash
# Checks the cluster itself: what runs in it, and that nothing is left of it, also when parts of it were killed.
#
#   tests/cluster/check.sh
#
# It makes a cluster of its own, of a number that nobody uses.
set -euo pipefail
cd "$(dirname "$0")"
export PORTREEVE_CLUSTER_NUMBER=99
run=$(dirname "$(./cluster kubeconfig)")
name=$(basename "$run")

fail() {
  echo "check: $*"
  exit 1
}

SECONDS=0
done_with() {
  printf 'check: %-68s %3d s\n' "$1" "$SECONDS"
  SECONDS=0
}

# shellcheck source=tests/cluster/machine.sh
. ./machine.sh

nothing_is_left() {
  machine >"$scratch/after"
  diff "$scratch/before" "$scratch/after" || fail "$1 left something"
  ./cluster status >/dev/null 2>&1 && fail "status says that a cluster is up" || true
}

connects() {
  ./cluster kubectl -n check exec client -c client -- /agnhost connect --timeout=5s "$1" || fail "a pod does not reach $1"
}

scratch=$(mktemp -d)
finish() {
  ./cluster down >/dev/null || true
  rm -rf "$scratch"
}
[ -e "$run" ] && fail "a cluster is up, or left over: cluster down"
trap finish EXIT
machine >"$scratch/before"

./cluster up
done_with "up"
if ./cluster up >"$scratch/second" 2>&1; then fail "a second cluster came up beside the first"; fi
grep -q 'up already' "$scratch/second" || fail "the second up said: $(cat "$scratch/second")"
./cluster status >/dev/null
done_with "a second up refuses, status"

./cluster kubectl create namespace check >/dev/null
until ./cluster kubectl -n check get serviceaccount default >/dev/null 2>&1; do sleep 0.2; done
./cluster kubectl apply -f check.yaml >/dev/null 2>&1
if ./cluster kubectl -n check run root --image=portreeve.test/pause:1 >/dev/null 2>"$scratch/refusal"; then
  fail "enforce=restricted let a pod in that is not"
fi
grep -q 'violates PodSecurity "restricted' "$scratch/refusal" || fail "the refusal says: $(cat "$scratch/refusal")"
./cluster kubectl -n check wait --for=condition=Ready pod --all --timeout=120s >/dev/null || {
  ./cluster kubectl -n check describe pods
  fail "a pod did not become ready"
}
done_with "a restricted pod with a native sidecar runs, another is refused"

read -r address address6 < <(./cluster kubectl -n check get service server -o jsonpath='{.spec.clusterIPs[0]} {.spec.clusterIPs[1]}{"\n"}')
for target in "$address:80" "[$address6]:80" server:80 server.check.svc.cluster.local:80; do connects "$target"; done
done_with "a Service of the other node answers: ClusterIP, IPv6, DNS name"

# The TrafficMatrix as a custom resource: the guide's is taken and filled in, mistakes are refused in the words of the CLI.
./cluster kubectl apply -f ../../deploy/crd.yaml >/dev/null
./cluster kubectl wait --for=condition=Established crd/trafficmatrices.portreeve.io --timeout=30s >/dev/null
conditions=$(./cluster kubectl get crd trafficmatrices.portreeve.io -o jsonpath='{.status.conditions[*].type}')
[[ $conditions != *NonStructural* ]] || fail "the schema is not structural: $conditions"
./cluster kubectl create namespace matrix >/dev/null
./cluster kubectl apply -f ../../policies/traffic-matrix.yaml >/dev/null || fail "the guide's TrafficMatrix is refused"
filled=$(./cluster kubectl -n matrix get tmx mas -o jsonpath='{.spec.directions} {.spec.deletionPolicy} {.spec.guide.values.mas.replicaCount}')
[ "$filled" = '["Ingress","Egress"] Keep 1' ] || fail "the TrafficMatrix reads: $filled"
# refused SPEC MESSAGE
refused() {
  printf '{apiVersion: portreeve.io/v1alpha1, kind: TrafficMatrix, metadata: {name: bad, namespace: matrix}, spec: %s}\n' "$1" >"$scratch/bad.yaml"
  if ./cluster kubectl apply -f "$scratch/bad.yaml" >"$scratch/refusal" 2>&1; then fail "taken: $1"; fi
  grep -qF "$2" "$scratch/refusal" || fail "$1 is refused with: $(cat "$scratch/refusal")"
}
refused '{mode: Warn}' 'supported values: "Off", "Audit", "Enforce"'
refused '{mdoe: Audit}' 'unknown field "spec.mdoe"'
refused '{peers: {smtp: {host: a, service: b/c}}}' 'exactly one of service, selector, host and cidrs is expected'
refused '{peers: {smtp: {service: b/c, allowPrivate: [10.0.0.0/8]}}}' 'it needs `host`'
refused '{peers: {smtp: {selector: {podSelector: {}}}}}' 'matchLabels is empty'
refused '{edges: [{name: a, from: subject, to: world, port: 1}, {name: a, from: subject, to: world, port: 2}]}' 'Duplicate value'
refused '{probe: {interval: soon}}' 'spec.probe.interval'
refused '{directions: []}' 'should have at least 1 items'
done_with "a TrafficMatrix is taken and filled in, eight broken ones are refused"

# A path within a node crosses the forward hook, or nothing could enforce policies there.
./cluster exec node-1 nft -f - <<'NFT'
table inet check { chain forward { type filter hook forward priority 0; tcp dport 9999 counter reject; }; }
NFT
client=$(./cluster kubectl -n check get pod client -o jsonpath='{.status.podIP}')
if ./cluster kubectl -n check exec near -- /agnhost connect --timeout=5s "$client:9999" >/dev/null 2>&1; then
  fail "a connection within node-1 does not pass the forward hook"
fi
./cluster exec node-1 nft delete table inet check
./cluster kubectl -n check exec near -- /agnhost connect --timeout=5s "$client:9999" || fail "within node-1 nothing connects"
done_with "traffic within a node passes its forward hook"

./cluster down
nothing_is_left "down"
done_with "down leaves nothing"

# The runtimes, the API server and its store die while they are in use, and then a whole node.
./cluster up >/dev/null
done_with "up again"
mark=$(cat $run/identity)
for program in containerd kube-apiserver etcd; do
  for exe in /proc/[0-9]*/exe; do
    process=${exe%/exe}
    [ "$(basename "$(readlink "$exe" 2>/dev/null)")" = "$program" ] || continue
    tr '\0' '\n' 2>/dev/null <"$process/environ" | grep -qx "PORTREEVE_CLUSTER=$mark" && kill -9 "${process#/proc/}"
  done
done
kill -9 "$(cat $run/node-2.pid)"
./cluster down
nothing_is_left "down after kill -9 of containerd, etcd, the API server and a node"
done_with "down after kill -9 leaves nothing"

# Everything dies; only files and control groups can be left, and `up` copes with them.
./cluster up >/dev/null
kill -9 "$(cat $run/node-1.pid)" "$(cat $run/node-2.pid)" "$(cat $run/outside.pid)"
./cluster up >/dev/null
./cluster down
nothing_is_left "down after up over the remains"
done_with "up over the remains of a crash, then down leaves nothing"
