/** Installs agents for sandboxes: pinned by a lockfile, root-owned, without running any package's scripts. */
import { execFile } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Failure } from '../failure.ts';
import type { Places } from '../places.ts';

const pinned = new URL('../../agents/', import.meta.url).pathname;

/** Kinds of agents that are programs of their own and so must be installed. */
export function installableAgents(): string[] {
  return readdirSync(pinned).sort();
}

export const agentFolder = (places: Places, kind: string): string => join(places.state, 'agents', kind);

/** True if the pinned tree of this agent is installed, whole. */
export function isInstalled(places: Places, kind: string): boolean {
  const mark = join(agentFolder(places, kind), 'installed.lock');
  return existsSync(mark) && readFileSync(mark, 'utf8') === readFileSync(join(pinned, kind, 'package-lock.json'), 'utf8');
}

/** Installs the agent beside the former one and swaps them. Throws Failure with npm's own words. */
export async function installAgent(places: Places, kind: string): Promise<void> {
  const to = agentFolder(places, kind);
  const fresh = `${to}.new`;
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(fresh, { recursive: true, mode: 0o755 });
  for (const file of ['package.json', 'package-lock.json']) copyFileSync(join(pinned, kind, file), join(fresh, file));
  try {
    // Without its cache of compiled code: that lies in /tmp, where anybody may have made it first, and this runs as root.
    await promisify(execFile)('env', ['NODE_DISABLE_COMPILE_CACHE=1', 'npm', 'ci', '--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: fresh, encoding: 'utf8' });
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true });
    const said = typeof error === 'object' && error !== null && 'stderr' in error ? String(error.stderr).trim().split('\n').slice(-5).join('\n') : String(error);
    throw new Failure('NEMO_E_SETUP', { what: `The agent ${kind} could not be installed.`, why: said, fix: 'Check that the npm registry can be reached, and run the command again.', cause: error });
  }
  readableByAll(fresh);
  copyFileSync(join(pinned, kind, 'package-lock.json'), join(fresh, 'installed.lock'));
  const old = `${to}.old`;
  rmSync(old, { recursive: true, force: true });
  if (existsSync(to)) renameSync(to, old);
  renameSync(fresh, to);
  rmSync(old, { recursive: true, force: true });
}

function readableByAll(path: string): void {
  const stat = lstatSync(path);
  if (stat.isSymbolicLink()) return;
  chmodSync(path, stat.isDirectory() || (stat.mode & 0o100) !== 0 ? 0o755 : 0o644);
  if (stat.isDirectory()) for (const name of readdirSync(path)) readableByAll(join(path, name));
}
