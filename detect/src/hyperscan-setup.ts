/** For tests and benchmarks: Hyperscan's library as the host has it, or the distribution's package unpacked beside ours. As a program it prints where that is. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { hyperscanLibrary, loadHyperscan } from './hyperscan.ts';

const cache = join(import.meta.dirname, '../../node_modules/.cache');
const unpacked = join(cache, 'libhyperscan5');

/** A name or path for `loadHyperscan`; undefined, with the reason told, where the host does not have it and it cannot be fetched either. */
export function findHyperscan(tell: (why: string) => void): string | undefined {
  if (loadHyperscan(() => undefined)) return hyperscanLibrary;
  try {
    if (!existsSync(unpacked)) unpack();
    const found = readdirSync(unpacked, { recursive: true, encoding: 'utf8' }).find((name) => name.endsWith(`/${hyperscanLibrary}`));
    if (found !== undefined) return join(unpacked, found);
    tell(`libhyperscan5 has no ${hyperscanLibrary}`);
  } catch (error) {
    tell(`libhyperscan5 cannot be fetched: ${error instanceof Error ? (error.message.split('\n')[0] ?? '') : ''}`);
  }
  return undefined;
}

/** Put in place in one step: several test files may want it at once. */
function unpack(): void {
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, 'fetched-'));
  try {
    const options = { cwd: folder, stdio: 'ignore', timeout: 60_000 } as const;
    execFileSync('apt-get', ['download', 'libhyperscan5'], options);
    execFileSync('dpkg', ['-x', ...readdirSync(folder), 'files'], options);
    if (!existsSync(unpacked)) renameSync(join(folder, 'files'), unpacked);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (import.meta.main) process.stdout.write(findHyperscan((why) => process.stderr.write(`${why}\n`)) ?? '');
