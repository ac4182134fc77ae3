/** Which tests run in the guest, the script that runs them there, and how their result comes back. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { project } from './image.ts';

/** One process of node:test. Of these files just the tests with one of `only` in their name, and none with one of `not`. */
export interface Run {
  readonly files: readonly string[];
  readonly only?: readonly string[];
  readonly not?: readonly string[];
}

/** Tests of the rooms that show something else on a kernel with BPF LSM and cgroup v2 controllers. Node is slow in emulation: what shows the same as outside is left out. */
const ofTheRooms = ['layers/openshell/src/cgroup.test.ts', 'layers/openshell/src/cgroup-delegated.test.ts', 'layers/openshell/src/openshelld-monitor.test.ts', 'proof/conformance/conformance.test.ts'];
const asOutside = ['of a plain user, in tier C', 'a wrong explanation would be found', 'before programs start'];
const rootless: Run = { files: ['layers/openshell/src/launch-rootless.test.ts'], only: ['the same probe passes'] };

/** Paths are relative to the project. */
export function suiteRuns(): Run[] {
  const own = readdirSync(join(project, 'proof/guest/suite'))
    .filter((name) => name.endsWith('.test.ts'))
    .sort()
    .map((name) => `proof/guest/suite/${name}`);
  return [{ files: [...own, ...ofTheRooms], not: asOutside }, rootless];
}

/** A shell script that runs them one after another and prints the sums as its last line. */
export function suiteScript(runs: readonly Run[]): string {
  const commands = runs.map(({ files, only = [], not = [] }, i) => {
    for (const file of files) if (!/^[\w./-]+$/.test(file)) throw new Error(`not a path of a test: ${file}`);
    const patterns = [...only.map((name) => ['name', name]), ...not.map((name) => ['skip', name])].map(([kind, name = '']) => ` --test-${kind}-pattern='${name.replaceAll("'", '.')}'`).join('');
    // All files in one process: the start of Node and of the program in the kernel are what takes longest here.
    return `run ${i} --test --test-isolation=none${patterns} --test-reporter=spec --test-reporter-destination=stdout --test-reporter=tap --test-reporter-destination=/run/tap.${i} ${files.join(' ')}`;
  });
  // A test that fails is not tried again; a Node that a signal ended (V8's own checks, now and then, in emulation) is, and it is said.
  return `cd /nemoclaw
export NODE_OPTIONS=--import=/nemoclaw/proof/guest/plain.mjs
export NODE_COMPILE_CACHE=/run/compiled
code=0
run() {
  tap=/run/tap.$1; shift
  node "$@"; ended=$?
  if [ $ended -ge 128 ]; then echo "TRIED AGAIN: node was ended by signal $((ended - 128))"; rm -rf /run/compiled $tap; node "$@"; ended=$?; fi
  [ $ended = 0 ] || code=1
}
${commands.join('\n')}
sum() { cat /run/tap.* | sed -n "s/^# $1 //p" | awk '{ n += $1 } END { print n + 0 }'; }
echo "GUEST RESULT $(sum pass) $(sum fail) $(sum cancelled) $(sum skipped)"
exit $code
`;
}

/** The sums, if this line is the one that has them. */
export function resultOf(line: string): { readonly passed: number; readonly failed: number; readonly skipped: number } | undefined {
  const found = /^GUEST RESULT (\d+) (\d+) (\d+) (\d+)$/.exec(line);
  return found ? { passed: Number(found[1]), failed: Number(found[2]) + Number(found[3]), skipped: Number(found[4]) } : undefined;
}
