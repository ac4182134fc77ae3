#!/bin/sh
# npm test: bootstrap, lint and types, every *.test.ts, then attacks, workloads, faults, stories and the guest with BPF LSM; closes with `N passed, N failed`.
set -u
cd "$(dirname "$0")/.."
./nemoclaw --bootstrap || { echo '0 passed, 1 failed'; exit 1; }
node=node_modules/.bin/node
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
passed=0
failed=0

# One part that is only right or wrong.
part() {
  if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED: $*" >&2; fi
}
# One part that counts by itself and prints `N passed, N failed`.
counted() {
  code=0
  { "$@"; echo "$?" >"$results/code"; } 2>&1 | tee "$results/out"
  code=$(cat "$results/code")
  line=$(grep -Eo '[0-9]+ passed, [0-9]+ failed' "$results/out" | tail -n 1)
  p=$(echo "${line:-0 passed}" | sed 's/ passed.*//')
  f=$(echo "${line:-0 passed, 0 failed}" | sed 's/.*, //; s/ failed//')
  if [ "$code" -ne 0 ] && [ "$f" -eq 0 ]; then f=1; fi
  passed=$((passed + p))
  failed=$((failed + f))
}

part sh proof/check.sh --static

# What is in proof/guest/suite runs in the guest.
tests=$(find contract decide detect ledger layers gateway cli proof blueprints \( -name node_modules -o -path proof/guest/suite \) -prune -o -name '*.test.ts' -print | sort)
# shellcheck disable=SC2086
$node --test --test-concurrency=2 --test-reporter=spec --test-reporter-destination=stdout --test-reporter=tap --test-reporter-destination="$results/tap" $tests
code=$?
sum() { sed -n "s/^# $1 //p" "$results/tap" | tail -n 1; }
passed=$((passed + $(sum pass || echo 0)))
bad=$(($(sum fail || echo 0) + $(sum cancelled || echo 0)))
if [ "$code" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
failed=$((failed + bad))

untested=
for folder in attacks workloads faults stories guest; do
  if [ -f "proof/$folder/main.ts" ]; then
    echo "==> $folder"
    counted sh proof/run.sh "$folder"
    untested="$untested$(grep '^TIER A NOT TESTED' "$results/out")"
  fi
done

echo
# Neither a pass nor a failure, and said where it is read.
[ -z "$untested" ] || echo "$untested"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
