/** Which tests run in the guest, the script that runs them there, and how their result comes back. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { project } from './image.ts';

/** One run of node:test. `only`: of these files just the tests with that in their name. */
export interface Run {
  readonly files: readonly string[];
  readonly only?: string;
}

/** Tests of the rooms that show something else on a kernel with BPF LSM and cgroup v2 controllers. Node is slow in emulation: what shows the same as outside is left out. */
const ofTheRooms: readonly Run[] = [
  { files: ['proof/conformance/conformance.test.ts'], only: 'between explain' },
  { files: ['layers/openshell/src/launch-rootless.test.ts'], only: 'the same probe passes' },
  { files: ['layers/openshell/src/cgroup.test.ts', 'layers/openshell/src/cgroup-delegated.test.ts'] },
];

/** Paths are relative to the project. */
export function suiteRuns(): Run[] {
  const own = readdirSync(join(project, 'proof/guest/suite'))
    .filter((name) => name.endsWith('.test.ts'))
    .sort()
    .map((name) => `proof/guest/suite/${name}`);
  return [...own.map((file) => ({ files: [file] })), ...ofTheRooms];
}

/** A shell script that runs them one after another and prints the sums as its last line. */
export function suiteScript(runs: readonly Run[]): string {
  // Modules that were compiled for one run are taken up by the next.
  const commands = runs.map(({ files, only }, i) => {
    for (const file of files) if (!/^[\w./-]+$/.test(file)) throw new Error(`not a path of a test: ${file}`);
    const pattern = only === undefined ? '' : ` --test-name-pattern='${only.replaceAll("'", '.')}'`;
    const command = `node --test --test-concurrency=1${pattern} --test-reporter=spec --test-reporter-destination=stdout --test-reporter=tap --test-reporter-destination=/run/tap.${i} ${files.join(' ')}`;
    // Node itself crashes now and then in emulation (a check of V8 on its own code pages): another try compiles anew, and says that it is one.
    const again = `{ echo 'TRIED AGAIN: ${files.join(' ')}'; env -u NODE_COMPILE_CACHE ${command}; }`;
    return `${command} || ${again} || ${again} || code=1`;
  });
  return `cd /nemoclaw
export NODE_COMPILE_CACHE=/run/compiled
code=0
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
