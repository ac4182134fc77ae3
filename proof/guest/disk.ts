/** Makes ext4 images out of folders, without mounting and without root, and keeps them by what went into them. */
import { spawnSync } from 'node:child_process';
import { existsSync, lstatSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { GuestUnavailable } from './unavailable.ts';

const mebi = 1024 * 1024;

/** Stands for the content of files: path, type, size, mode and time of last change of each, folders walked. */
export function fingerprint(paths: readonly string[], words: readonly string[] = []): string {
  const hash = createHash('sha256');
  for (const word of words) hash.update(`${word}\n`);
  const add = (path: string): void => {
    const stat = lstatSync(path);
    hash.update(`${path} ${stat.mode} ${stat.size} ${stat.isDirectory() ? '' : stat.mtimeMs}\n`);
    if (stat.isDirectory()) for (const name of readdirSync(path).sort()) add(join(path, name));
  };
  for (const path of paths) add(path);
  return hash.digest('hex').slice(0, 16);
}

/** Runs a tool that must succeed. */
export function tool(program: string, args: readonly string[], cwd = '/'): void {
  const done = spawnSync(program, args, { cwd, encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' } });
  if (done.error) throw new GuestUnavailable(`${program} cannot be run: ${done.error.message}`);
  if (done.status !== 0) throw new GuestUnavailable(`${program} failed: ${(done.stderr || done.stdout).trim().split('\n').slice(-3).join(' | ')}`);
}

function bytesBelow(folder: string): number {
  let total = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    total += 4096 + (entry.isDirectory() ? bytesBelow(path) : Math.ceil(lstatSync(path).size / 4096) * 4096);
  }
  return total;
}

/** An image of what `fill` puts into an empty folder, with `freeMiB` to spare (sparse on the host). */
export function makeDisk(file: string, freeMiB: number, fill: (folder: string) => void): void {
  const folder = mkdtempSync(`${file}.`);
  const fresh = join(folder, 'image');
  const content = join(folder, 'content');
  try {
    tool('mkdir', ['-m', '755', content]);
    fill(content);
    const size = Math.ceil((bytesBelow(content) * 1.1) / mebi) + freeMiB;
    writeFileSync(fresh, '');
    truncateSync(fresh, size * mebi);
    // Without a journal: a guest is never booted twice from what it wrote.
    tool('/sbin/mke2fs', ['-q', '-t', 'ext4', '-O', '^has_journal', '-E', 'lazy_itable_init=1,root_owner=0:0', '-m', '0', '-d', content, fresh]);
    renameSync(fresh, file);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The image of that name and fingerprint from the cache, made if it is not there; older ones of the name are removed after a day without use. */
export function keptDisk(cache: string, name: string, print: string, make: (file: string) => void, now: number): string {
  const file = join(cache, `${name}-${print}.ext4`);
  if (!existsSync(file)) make(file);
  utimesSync(file, now / 1000, now / 1000);
  for (const other of readdirSync(cache).filter((entry) => entry.startsWith(`${name}-`) && join(cache, entry) !== file)) {
    if (now - statSync(join(cache, other)).mtimeMs > 86_400_000) rmSync(join(cache, other), { recursive: true, force: true });
  }
  return file;
}
