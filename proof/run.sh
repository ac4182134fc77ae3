#!/bin/sh
# Runs one folder of proof: attacks, bench, clients, conformance, evaluate, faults, guest, stories or workloads. Arguments after the name go to it.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd -P)
cd "$here"
[ $# -ge 1 ] || { echo 'usage: proof/run.sh attacks|bench|clients|conformance|evaluate|faults|guest|stories|workloads [arguments]' >&2; exit 2; }
case $1 in
  attacks | clients | conformance | evaluate | faults | guest | stories | workloads) folder=$1 ;;
  bench) folder=performance ;;
  *) echo "error: no such proof: $1 (attacks, bench, clients, conformance, evaluate, faults, guest, stories, workloads)" >&2; exit 2 ;;
esac
shift
[ "${1:-}" != -- ] || shift
[ -f "proof/$folder/main.ts" ] || { echo "error: proof/$folder has no main.ts" >&2; exit 1; }
./nemoclaw --bootstrap
exec node_modules/.bin/node "proof/$folder/main.ts" "$@"
