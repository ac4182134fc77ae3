/** `npm run guest -- [--shell SCRIPT] [--with FILE]… [--seconds N]`: boots a Debian kernel with BPF LSM in emulation and runs a script in it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { boot } from './boot.ts';
import { cacheFolder, fetchPrograms, kernel } from './fetch.ts';
import { checkoutDisk, extraDisk, firstRoot, project, rootDisk } from './image.ts';
import { tool } from './disk.ts';

const args = process.argv.slice(2);
const values = (name: string): string[] => args.flatMap((word, index) => (word === name && args[index + 1] !== undefined ? [args[index + 1] ?? ''] : []));
const script = values('--shell')[0];
if (script === undefined) {
  console.error('usage: npm run guest -- --shell SCRIPT [--with FILE]... [--seconds N]');
  process.exit(2);
}
const folder = mkdtempSync(join(tmpdir(), 'nemoclaw-guest-'));
try {
  const begun = performance.now();
  const since = (): string => `${((performance.now() - begun) / 1000).toFixed(1)} s`;
  fetchPrograms();
  const found = kernel();
  const now = Date.now();
  // The guest has no compiler: what it runs is built here.
  tool('make', ['-s', '-C', join(project, 'layers/openshell/native'), 'all', 'build/test-capture']);
  const first = firstRoot(cacheFolder, found);
  const disks = [rootDisk(cacheFolder, now), checkoutDisk(cacheFolder, now), join(folder, 'extra.ext4')];
  extraDisk(join(folder, 'extra.ext4'), script, values('--with'));
  console.error(`guest: ${found.release}, disks ready after ${since()}`);
  const ended = await boot({ kernel: found, firstRoot: first, disks, console: join(folder, 'console'), seconds: Number(values('--seconds')[0] ?? 240), onLine: (line) => console.log(line), append: values('--append').join(' ') });
  console.error(ended.code === undefined ? `guest: ${ended.why}` : `guest: exit ${ended.code} after ${since()}`);
  process.exitCode = ended.code ?? 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
