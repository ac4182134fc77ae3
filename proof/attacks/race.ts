/** The race against held deletions: a thread that flips paths, swaps links and redirects descriptors; the test beside the code, on the real kernel. */
import { spawnSync } from 'node:child_process';
import type { Checks } from '../harness/checks.ts';
import { checkout } from '../harness/instance.ts';

const file = 'layers/openshell/src/openshelld-holds.test.ts';
const name = 'a hostile thread wins 0 of 3,000';

export function race(check: Checks): void {
  check.section('a thread that swaps paths against a deletion that must be asked for');
  const run = spawnSync(process.execPath, ['--test', '--test-reporter=tap', `--test-name-pattern=${name}`, file], { cwd: checkout, encoding: 'utf8', timeout: 120_000 });
  const said = run.stdout + run.stderr;
  const counted = [...said.matchAll(/# (flip|swap|fd) (\d+): done=(\d+) refused=(\d+) other=(\d+) lost=(\d+)/g)];
  const flips = Number(counted.find((one) => one[1] === 'flip')?.[2] ?? 0);
  const lost = counted.reduce((sum, one) => sum + Number(one[6]), 0);
  check.that(`wins ${lost} of ${counted.reduce((sum, one) => sum + Number(one[2]), 0)} (${counted.map((one) => `${one[1]} ${one[2]}`).join(', ')})`, run.status === 0 && flips >= 3000 && lost === 0, said.slice(-3000));
}
