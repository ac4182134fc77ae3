/** For tests and benchmarks: Hyperscan as the host has it, or fetched beside the packages, without installing anything. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { loadHyperscan, type Hyperscan } from './hyperscan.ts';

const folder = join(import.meta.dirname, '../../node_modules/.cache/nemoclaw-hyperscan');
const koffiVersion = '3.3.4';

/** Undefined, with the reason told, where neither the host has it nor it can be fetched (koffi from the npm registry, libhyperscan5 from the distribution). */
export function fetchHyperscan(tell: (why: string) => void): Hyperscan | undefined {
  const installed = loadHyperscan(() => undefined);
  if (installed) return installed;
  try {
    mkdirSync(folder, { recursive: true });
    const options = { cwd: folder, stdio: 'ignore', timeout: 60_000 } as const;
    const koffi = join(folder, 'node_modules/koffi/index.js');
    const npm = join(process.execPath, '../../lib/node_modules/npm/bin/npm-cli.js');
    const words = ['install', '--prefix', folder, '--no-save', '--no-audit', '--no-fund', '--ignore-scripts', '--fetch-retries=0', `koffi@${koffiVersion}`];
    if (!existsSync(koffi)) execFileSync(existsSync(npm) ? process.execPath : 'npm', existsSync(npm) ? [npm, ...words] : words, options);
    const libraries = join(folder, 'usr/lib');
    if (!existsSync(libraries)) {
      execFileSync('apt-get', ['download', 'libhyperscan5'], options);
      const file = readdirSync(folder).find((name) => name.startsWith('libhyperscan5') && name.endsWith('.deb'));
      if (file === undefined) throw new Error('libhyperscan5 cannot be fetched');
      execFileSync('dpkg', ['-x', file, '.'], options);
    }
    const library = readdirSync(libraries, { recursive: true, encoding: 'utf8' }).find((name) => name.endsWith('/libhs.so.5'));
    return loadHyperscan(tell, koffi, join(libraries, library ?? 'libhs.so.5'));
  } catch (error) {
    tell(`Hyperscan cannot be fetched: ${error instanceof Error ? (error.message.split('\n')[0] ?? '') : ''}`);
    return undefined;
  }
}
