/** `npm run guest -- [FILE.test.ts]… | --shell SCRIPT [--with FILE]…`: the tests that need BPF LSM or cgroup v2 controllers, or a script, under a kernel that has both. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { boot, type Ended } from './boot.ts';
import { cacheFolder, fetchPrograms, kernel } from './fetch.ts';
import { checkoutDisk, extraDisk, firstRoot, project, rootDisk } from './image.ts';
import { buildPrograms } from './programs.ts';
import { resultOf, suiteRuns, suiteScript, type Run } from './suite.ts';
import { GuestUnavailable } from './unavailable.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { shell: { type: 'string' }, with: { type: 'string', multiple: true, default: [] }, seconds: { type: 'string', default: '3600' }, append: { type: 'string', default: '' } },
});
const folder = mkdtempSync(join(tmpdir(), 'nemoclaw-guest-'));
// That types are stripped by an experimental function is known.
process.removeAllListeners('warning').on('warning', (warning) => (warning.name === 'ExperimentalWarning' ? undefined : say(String(warning))));
const begun = performance.now();
const since = (): string => `${((performance.now() - begun) / 1000).toFixed(0)} s`;
const say = (line: string): void => void process.stderr.write(`guest: ${line}\n`);

async function run(script: string, onLine: (line: string) => void): Promise<Ended> {
  fetchPrograms();
  const found = kernel();
  // Built here, where it is quick. That it does not build is a failure, not a guest that cannot be had.
  const made = spawnSync('make', ['-s', '-C', join(project, 'layers/openshell/native'), 'all', 'build/test-capture', 'build/test-lsm'], { encoding: 'utf8' });
  if (made.status !== 0) throw new Error(`the native part does not build:\n${made.error?.message ?? made.stderr}`);
  const firstRootFile = firstRoot(cacheFolder, found);
  const disks = [rootDisk(cacheFolder, Date.now()), join(folder, 'checkout.ext4'), join(folder, 'extra.ext4')];
  checkoutDisk(join(folder, 'checkout.ext4'));
  buildPrograms(join(folder, 'bin'));
  extraDisk(join(folder, 'extra.ext4'), script, [join(folder, 'bin'), ...values.with]);
  say(`${found.release}, disks ready after ${since()}`);
  return boot({ kernel: found, firstRoot: firstRootFile, disks, console: join(folder, 'console'), seconds: Number(values.seconds), append: values.append, onLine });
}

async function shell(script: string): Promise<number> {
  const ended = await run(script, (line) => console.log(line));
  say(ended.code === undefined ? ended.why : `exit ${ended.code} after ${since()}`);
  return ended.code ?? 1;
}

/** Prints the closing line `N passed, N failed`. A guest that stops early is a failure; one that cannot be had is not, but is said aloud. */
async function suite(runs: readonly Run[]): Promise<number> {
  const script = join(folder, 'suite.sh');
  writeFileSync(script, suiteScript(runs));
  let result: ReturnType<typeof resultOf>;
  const ended = await run(script, (line) => {
    const found = resultOf(line);
    if (found) result = found;
    else console.log(line);
  });
  say(`${ended.code === undefined ? ended.why : `exit ${ended.code}`} after ${since()}`);
  const passed = result?.passed ?? 0;
  const failed = Math.max(result?.failed ?? 0, ended.code === 0 && passed > 0 ? 0 : 1);
  if (result && result.skipped > 0) console.log(`${result.skipped} skipped in the guest (see above)`);
  console.log(`\n${passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

try {
  process.exitCode = values.shell === undefined ? await suite(positionals.length > 0 ? [{ files: positionals }] : suiteRuns()) : await shell(values.shell);
} catch (error) {
  if (!(error instanceof GuestUnavailable)) throw error;
  const required = process.env['NEMOCLAW_REQUIRE_GUEST'] === '1';
  console.log(`TIER A NOT TESTED: ${error.message}\n\n0 passed, ${required ? 1 : 0} failed`);
  process.exitCode = required || values.shell !== undefined ? 1 : 0;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
