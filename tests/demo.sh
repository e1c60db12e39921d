#!/usr/bin/env bash
# Runs the demo as a newcomer does, breaks it, reads page, metrics and log, and photographs the page.
#
# Usage: tests/demo.sh PORTREEVE [PICTURE.png]
set -euo pipefail
portreeve=$1
picture=${2:-}
work=$(mktemp -d)
pid=
finish() {
  if [ -n "$pid" ]; then kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap finish EXIT

fail() {
  echo "demo: $*"
  echo "--- its output"; cat "$work/out" || true
  echo "--- its log"; tail -n 40 "$work/log" || true
  exit 1
}

start() {
  : >"$work/out"; : >"$work/log"
  "$portreeve" demo "$@" >"$work/out" 2>"$work/log" &
  pid=$!
  for _ in $(seq 100); do
    page=$(sed -n 's/^ *page *\(http[^ ]*\).*/\1/p' "$work/out")
    metrics=$(sed -n 's/^ *metrics *\(http[^ ]*\).*/\1/p' "$work/out")
    [ -n "$page" ] && [ -n "$metrics" ] && return
    kill -0 "$pid" 2>/dev/null || fail "ended by itself"
    sleep 0.1
  done
  fail "did not start"
}

# Waits until the board's JSON satisfies a Python expression over `board` and `edges` (by name).
wait_for() {
  local what=$1 expression=$2
  for _ in $(seq 60); do
    if curl -sf "${page}api/v1/board" >"$work/board" &&
      python3 - "$work/board" "$expression" <<'PY'
import json, sys
board = json.load(open(sys.argv[1]))
board = board.get("board", board)
edges = {e["name"]: e for e in board["edges"]}
sys.exit(0 if edges and eval(sys.argv[2]) else 1)
PY
    then
      echo "demo: $what"
      return
    fi
    sleep 0.5
  done
  python3 -m json.tool "$work/board" | head -n 200 || true
  fail "in 30 s it did not come to: $what"
}

# Into a file first: `grep -q` leaves early, and a pipe that breaks is a failure here.
metrics_say() {
  curl -sf "$metrics" >"$work/metrics" && grep -q "$1" "$work/metrics"
}

stop() {
  kill -INT "$pid"
  local code=0
  wait "$pid" || code=$?
  pid=
  [ "$code" -eq 0 ] || fail "Ctrl-C ended it with $code"
}

photograph() {
  chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
    --disable-component-update --disable-sync --hide-scrollbars --user-data-dir="$work/browser" \
    --window-size=1280,1180 --virtual-time-budget=4000 --screenshot="$1" "$page" >"$work/chromium" 2>&1 ||
    { cat "$work/chromium"; fail "the page could not be photographed"; }
  [ "$(stat -c %s "$1")" -gt 30000 ] || fail "the photograph is empty"
  echo "demo: photographed the page ($(($(stat -c %s "$1") / 1024)) KiB)"
}

all_ok='all(e["state"] == "ok" for e in edges.values()) and len(edges) == 10'

start
wait_for "all eight edges work, both forbidden ones are closed" "$all_ok"
metrics_say 'portreeve_edge_state{.*edge="mas-to-postgres".*state="ok".*} 1' || fail 'metrics do not say ok'
stop

start --break mas-to-postgres
wait_for "a rule taken out of the policy is named" \
  'edges["mas-to-postgres"]["state"] == "violated" and edges["mas-to-postgres"]["finding"]["name"] == "PolicyBlocks" and "portreeve-mas" in json.dumps(edges["mas-to-postgres"]["finding"])'
metrics_say 'portreeve_edge_state{.*edge="mas-to-postgres".*state="violated".*} 1' || fail 'metrics do not say violated'
grep -q 'PolicyBlocks' "$work/log" || fail "the log does not say whose fault it is"
photograph "${picture:-$work/page.png}"
stop

start --break mas-to-smtp=peer
wait_for "a stopped peer is told from a policy" \
  'edges["mas-to-smtp"]["finding"] and edges["mas-to-smtp"]["finding"]["name"] == "TargetDown" and edges["mas-to-smtp"]["reason"] == "connect_refused_rst"'
stop

start --break stranger-to-mas
wait_for "an opened gate is found, with the policy that opens it" \
  'edges["stranger-to-mas"]["finding"] and edges["stranger-to-mas"]["finding"]["name"] == "ForbiddenOpen" and "opened-by-hand" in json.dumps(edges["stranger-to-mas"]["finding"])'
stop

start --repair --break mas-to-dns-udp
wait_for "with repair on, the rule comes back by itself and the page says so" \
  "$all_ok"' and any("put back" in c["what"] for c in board["changes"])'
stop

# The prober as a program of its own, against the demo's peers.
start --folder "$work/copy"
wait_for "all edges are ok again" "$all_ok"
sources="--matrix $work/copy/traffic-matrix.yaml --manifests $work/copy/cluster --ca $work/copy/ca.pem"
printf 'kind: [\n' >"$work/copy/cluster/typo.yaml"
wait_for "a file that somebody broke is named, and the others count" \
  "$all_ok"' and any(f["name"] == "BrokenObject" and "typo.yaml" in str(f["place"]) for f in board["findings"])'
rm "$work/copy/cluster/typo.yaml"
# shellcheck disable=SC2086
"$portreeve" probe $sources >"$work/probe" || { cat "$work/probe"; fail "probe found something wrong"; }
[ "$(grep -c ' ok ' "$work/probe")" -ge 7 ] || { cat "$work/probe"; fail "probe did not probe seven edges"; }
echo "demo: portreeve probe proves the same seven edges from outside"
stop
# shellcheck disable=SC2086
if "$portreeve" probe --timeout 1 $sources mas-to-postgres >"$work/probe"; then fail "probe did not see that everything is gone"; fi
grep -q connect_refused_rst "$work/probe" || { cat "$work/probe"; fail "probe did not say that nothing listens"; }
echo "demo: and says what is wrong once they are gone"
