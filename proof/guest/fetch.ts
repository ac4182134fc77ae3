/** Brings in what a guest needs: qemu and mke2fs by apt, and Debian's newest 6.12 cloud kernel, unpacked in a cache. */
import { spawnSync } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { GuestUnavailable } from './unavailable.ts';

export interface Kernel {
  /** As `uname -r` says it. */
  readonly release: string;
  /** The bootable image. */
  readonly image: string;
  /** `lib/modules/<release>`. */
  readonly modules: string;
}

/** Where everything that can be made again is kept. */
export const cacheFolder = join(process.env['XDG_CACHE_HOME'] ?? '/var/cache', 'nemoclaw-guest');

const metaPackage = 'linux-image-6.12-cloud-amd64';
const packages: readonly (readonly [program: string, debian: string])[] = [
  ['/usr/bin/qemu-system-x86_64', 'qemu-system-x86'],
  ['/sbin/mke2fs', 'e2fsprogs'],
];

const say = (line: string): void => void process.stderr.write(`guest: ${line}\n`);

function apt(program: string, args: readonly string[], cwd = '/'): string {
  const done = spawnSync(program, args, { cwd, encoding: 'utf8', timeout: 150_000, env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' } });
  if (done.error) throw new GuestUnavailable(`${program} cannot be run: ${done.error.message}`);
  if (done.status !== 0) throw new GuestUnavailable(`${program} ${args.join(' ')}: ${done.stderr.trim().split('\n').at(-1) ?? 'failed'}`);
  return done.stdout;
}

let updated = false;
/** The lists may be old: a failure is tried once more with fresh ones. */
function withFreshLists<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (updated || !(error instanceof GuestUnavailable)) throw error;
    updated = true;
    say('apt-get update');
    apt('apt-get', ['update', '-q']);
    return run();
  }
}

/** Installs the packages whose programs are missing. Throws GuestUnavailable. */
export function fetchPrograms(): void {
  const missing = packages.filter(([program]) => !existsSync(program)).map(([, debian]) => debian);
  if (missing.length === 0) return;
  if (process.getuid?.() !== 0) throw new GuestUnavailable(`these Debian packages are missing and installing needs root: ${missing.join(' ')}`);
  say(`installing ${missing.join(' ')}`);
  withFreshLists(() => apt('apt-get', ['install', '-q', '-y', '--no-install-recommends', ...missing]));
}

function unpacked(folder: string): Kernel | undefined {
  const modules = join(folder, 'lib/modules');
  if (!existsSync(modules)) return undefined;
  const release = readdirSync(modules)[0];
  return release === undefined ? undefined : { release, image: join(folder, 'boot', `vmlinuz-${release}`), modules: join(modules, release) };
}

/** The newest kernel that this machine's apt knows. apt verifies it: the checksum stands in lists that are signed by the archive's key. */
function fetchKernel(): Kernel {
  const depends = apt('apt-cache', ['depends', metaPackage]);
  const name = /Depends: (linux-image-\S+)/.exec(depends)?.[1];
  if (name === undefined) throw new GuestUnavailable(`apt knows no ${metaPackage}`);
  const folder = join(cacheFolder, name);
  const kept = unpacked(folder);
  if (kept) return kept;
  const fresh = join(cacheFolder, `fetch.${process.pid}`);
  mkdirSync(fresh, { recursive: true });
  try {
    say(`fetching ${name}`);
    const owner = spawnSync('id', ['-u', '_apt'], { encoding: 'utf8' });
    // apt downloads as its own user where it may write.
    if (owner.status === 0 && process.getuid?.() === 0) chownSync(fresh, Number(owner.stdout), 0);
    apt('apt-get', ['download', '-q', name], fresh);
    const file = readdirSync(fresh).find((entry) => entry.endsWith('.deb'));
    if (file === undefined) throw new GuestUnavailable(`apt-get download ${name} brought no package`);
    apt('dpkg-deb', ['-x', join(fresh, file), join(fresh, 'x')]);
    renameSync(join(fresh, 'x'), folder);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
  const kernel = unpacked(folder);
  if (!kernel) throw new GuestUnavailable(`${name} has no kernel in it`);
  return kernel;
}

/** A kernel that is in the cache is good enough where apt cannot be asked. Throws GuestUnavailable. */
export function kernel(): Kernel {
  mkdirSync(cacheFolder, { recursive: true, mode: 0o755 });
  try {
    return withFreshLists(fetchKernel);
  } catch (error) {
    const old = readdirSync(cacheFolder)
      .filter((name) => name.startsWith('linux-image-'))
      .sort()
      .map((name) => unpacked(join(cacheFolder, name)))
      .findLast((found) => found !== undefined);
    if (!old) throw error;
    say(`${error instanceof Error ? error.message : String(error)}; using the kept ${old.release}`);
    return old;
  }
}
