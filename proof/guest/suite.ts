/** Which tests run in the guest, the script that runs them there, and how their result comes back. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { project } from './image.ts';

/** Tests of the rooms that show something else on a kernel with BPF LSM and cgroup v2 controllers. */
const ofTheRooms = ['proof/conformance/conformance.test.ts', 'layers/openshell/src/launch-rootless.test.ts'];

/** Paths relative to the project. */
export function suiteFiles(): string[] {
  const own = readdirSync(join(project, 'proof/guest/suite'))
    .filter((name) => name.endsWith('.test.ts'))
    .sort()
    .map((name) => `proof/guest/suite/${name}`);
  return [...own, ...ofTheRooms];
}

/** A shell script that runs these test files one after another and prints the sums as its last line. */
export function suiteScript(files: readonly string[]): string {
  for (const file of files) if (!/^[\w./-]+$/.test(file)) throw new Error(`not a path of a test: ${file}`);
  return `cd /nemoclaw
node --test --test-concurrency=1 --test-reporter=spec --test-reporter-destination=stdout --test-reporter=tap --test-reporter-destination=/run/tap ${files.join(' ')}
code=$?
sum() { sed -n "s/^# $1 //p" /run/tap | tail -n 1; }
echo "GUEST RESULT $(sum pass) $(sum fail) $(sum cancelled) $(sum skipped)"
exit $code
`;
}

/** The sums, if this line is the one that has them. */
export function resultOf(line: string): { readonly passed: number; readonly failed: number; readonly skipped: number } | undefined {
  const found = /^GUEST RESULT (\d+) (\d+) (\d+) (\d+)$/.exec(line);
  return found ? { passed: Number(found[1]), failed: Number(found[2]) + Number(found[3]), skipped: Number(found[4]) } : undefined;
}
