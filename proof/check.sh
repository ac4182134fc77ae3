#!/bin/sh
# Lint, types and the standing tests; --static leaves the tests out. Under a minute.
set -eu
cd "$(dirname "$0")/.."
[ -x node_modules/.bin/node ] || ./nemoclaw --bootstrap
node=node_modules/.bin/node
failed=0
run() { echo "==> $1"; shift; "$@" || failed=1; }
run 'lint' $node node_modules/oxlint/bin/oxlint --quiet .
run 'types' $node node_modules/typescript/bin/tsc --noEmit -p .
[ "${1:-}" = --static ] || run 'standing tests' $node --test 'proof/promises/*.test.ts'
if [ "$failed" -eq 0 ]; then echo 'check: all good'; else echo 'check: failed (see above)' >&2; fi
exit $failed
