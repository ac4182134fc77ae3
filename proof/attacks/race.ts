/** The race against held deletions: a thread that flips paths, swaps links, moves folders, redirects and passes descriptors; the test beside the code, on the real kernel. */
import { spawnSync } from 'node:child_process';
import type { Checks } from '../harness/checks.ts';
import { checkout } from '../harness/instance.ts';

const file = 'layers/openshell/src/openshelld-holds.test.ts';
const name = 'a hostile thread wins 0 of 3,000';
/** Of paths, links, folders, descriptors that are redirected, and descriptors that come over a socket. */
const ways = ['flip', 'swap', 'storm', 'fd', 'pass'];

export function race(check: Checks): void {
  check.section('a thread that swaps paths against a deletion that must be asked for');
  const run = spawnSync(process.execPath, ['--test', '--test-reporter=tap', `--test-name-pattern=${name}`, file], { cwd: checkout, encoding: 'utf8', timeout: 1_200_000 });
  const said = run.stdout + run.stderr;
  for (const way of ways) {
    const [, rounds, lost] = new RegExp(`# ${way} (\\d+): done=\\d+ refused=\\d+ other=\\d+ lost=(\\d+)`).exec(said) ?? [];
    check.that(`${way}: wins ${lost} of ${rounds}`, run.status === 0 && Number(rounds) >= 3000 && lost === '0', said.slice(-3000));
  }
}
