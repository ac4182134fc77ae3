/** A workspace that is used without a daemon: what its check needs lies in a file until the folder has been checked, by whoever is left to do it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, lstatSync, mkdirSync, openSync, readdirSync, readFileSync, realpathSync, rmSync, statSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { NemoError, type Released } from '@nemoclaw/contract';
import { launcherPath } from './native.ts';

interface Person {
  readonly uid: number;
  readonly gid: number;
}

/** Of a manifest: JSON of whoever watches over the sandbox, empty before it starts and when nothing is left to be checked. */
interface Manifest {
  readonly path: string;
  readonly ino: number;
  readonly writable: boolean;
}

/** Exit code of `openshell-launch --release` where another process has the manifest. */
const busy = 75;
const patience = { tries: 500, ms: 30 };
let made = 0;

/** Whether one folder is the other, or lies in it. */
const within = (inner: string, outer: string): boolean => inner === outer || inner.startsWith(`${outer}/`);

/** Where what outlives a process is kept: by the user database, so that the next start finds it whatever its environment says. */
function stateHome(): string {
  const uid = process.getuid?.();
  const said = process.env['XDG_STATE_HOME'];
  if (said) return said;
  if (uid === 0) return '/var/lib';
  try {
    const { homedir } = userInfo();
    if (statSync(homedir).uid === uid) return join(homedir, '.local/state');
  } catch {
    // no home
  }
  return `/var/tmp/openshell-${uid ?? ''}`;
}

/** Where manifests lie: nobody else can write there, and no sandbox that works in `workspace`. Throws NEMO_E_WORKSPACE. */
function manifests(workspace: string): string {
  const home = stateHome();
  const folder = join(home, 'openshell', 'workspaces');
  const refuse = (why: string, cause?: unknown): NemoError => new NemoError('NEMO_E_WORKSPACE', { what: `That ${workspace} is in use cannot be kept in ${folder}.`, why, fix: 'Let XDG_STATE_HOME name a folder of your own outside of the workspace.', cause });
  if (!folder.startsWith('/')) throw refuse('It is not an absolute path.');
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    for (const path of [home, join(home, 'openshell'), folder]) {
      const found = lstatSync(path);
      if (!found.isDirectory() || found.uid !== process.getuid?.() || (found.mode & 0o022) !== 0) throw new Error(`${path} must be a folder of your own, and nobody else may write there.`);
    }
  } catch (cause) {
    throw refuse(cause instanceof Error ? cause.message : String(cause), cause);
  }
  if (within(realpathSync(folder), workspace)) throw refuse('It lies in the workspace, where the command could change it.');
  return folder;
}

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

interface Check {
  readonly code: number;
  readonly released: Released | undefined;
}

/** One try of the check that `file` speaks of, as `openshell-launch` makes it at the end of a command. Nothing found where the file is gone: somebody else has made it. */
async function check(file: string, workspace: string, as?: Person): Promise<Check> {
  let fd = -1;
  try {
    fd = openSync(file, 'r+');
    const child = spawn(launcherPath, ['--release', '--manifest-fd', '3', '--release-fd', '4', '--workspace', workspace], { stdio: ['ignore', 'ignore', 'ignore', fd, 'pipe'], ...as });
    const told: Buffer[] = [];
    child.stdio[4]?.on('data', (data: Buffer) => told.push(data));
    const [code] = (await once(child, 'close')) as [number | null];
    const text = Buffer.concat(told).toString('utf8');
    return { code: code ?? 1, released: text === '' ? undefined : (JSON.parse(text) as Released) };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' && fd < 0) return { code: 0, released: undefined };
    throw error;
  } finally {
    if (fd >= 0) closeSync(fd);
  }
}

/** What `file` says is to be checked; undefined: nothing. One that cannot be read is any folder's: half written, if somebody has it, or damaged. */
function toCheck(file: string): Partial<Manifest> | undefined {
  try {
    const text = readFileSync(file, 'utf8');
    const manifest = text === '' ? undefined : (JSON.parse(text) as Manifest);
    return manifest?.writable === false ? undefined : manifest;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? undefined : {};
  }
}

function unchecked(folder: string, file: string, why: string, cause?: unknown): NemoError {
  const fix = `Look at what changed in it at names that shells, git, editors or agents obey by themselves (.envrc, .git/hooks, .vscode), then remove ${file}.`;
  return new NemoError('NEMO_E_UNCHECKED', { what: `What a command left in ${folder} was not checked.`, why, fix, cause });
}

/** What `one` found, a line each; a workspace that has nothing to tell gives none. */
export function releasedLines(one: Released): string[] {
  const lines = one.found.map(({ path, why, moved }) => `${why} ${path}: ${moved ? 'moved away' : 'COULD NOT BE MOVED AWAY'}`);
  if (one.quarantine !== '') lines.push(`what was moved away is in ${one.quarantine}; to take it back: chmod u+rwx that folder, look at it, move it`);
  return one.problem === '' ? lines : [...lines, `the workspace: ${one.problem}`];
}

/** Checks first what earlier commands left in this folder, above or below it, whose check nobody made. Throws NEMO_E_UNCHECKED where that cannot be done. */
async function settleEarlier(folder: string, workspace: string, say: (line: string) => void): Promise<void> {
  const { ino } = statSync(workspace);
  for (const name of readdirSync(folder)) {
    const file = join(folder, name);
    const earlier = toCheck(file);
    if (earlier === undefined) {
      // Whoever made it may be about to start.
      if (!lives(Number.parseInt(name, 10))) rmSync(file, { force: true });
      continue;
    }
    const { path = workspace } = earlier;
    if (earlier.ino !== ino && !within(path, workspace) && !within(workspace, path)) continue;
    const { code, released } = await check(file, workspace);
    if (code === busy) continue; // it runs
    if (toCheck(file) !== undefined) throw unchecked(path, file, released?.problem ?? 'An earlier command and what watched over it were killed, and the check of what it left failed.');
    rmSync(file, { force: true });
    if (released !== undefined) [`an earlier command in ${path} was killed together with what watched over it; the folder was checked now`, ...releasedLines(released)].forEach(say);
  }
}

/** Says that `workspace` is in use, from before a sandbox starts until `settle`. */
export class WorkspaceUse {
  /** The manifest, for whoever watches over the sandbox. */
  readonly file: string;
  readonly #workspace: string;
  readonly #as: Person | undefined;

  private constructor(file: string, workspace: string, as: Person | undefined) {
    this.file = file;
    this.#workspace = workspace;
    this.#as = as;
  }

  /**
   * `say` gets a line for each thing that an earlier command left in the folder unchecked. `as`: for tests, where the caller is root: who checks.
   * Rejects with NEMO_E_WORKSPACE (it cannot be kept that the folder is in use), NEMO_E_UNCHECKED (an earlier command's check cannot be made).
   */
  static async begin(workspace: string, say: (line: string) => void, as?: Person): Promise<WorkspaceUse> {
    const folder = manifests(workspace);
    await settleEarlier(folder, workspace, say);
    for (;;) {
      made += 1;
      const file = join(folder, `${process.pid}-${made}.json`);
      try {
        closeSync(openSync(file, 'wx', 0o600));
        return new WorkspaceUse(file, workspace, as);
      } catch (error) {
        // Of an earlier process with our number, for another folder.
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw new NemoError('NEMO_E_WORKSPACE', { what: `That ${workspace} is in use cannot be kept.`, why: String(error), cause: error });
      }
    }
  }

  /**
   * When nothing watches over the sandbox any more. Undefined: it was checked, as ever; else it was not, and is now: what was found.
   * Rejects with NEMO_E_UNCHECKED: it could not be checked; the next start in the folder tries again.
   */
  async settle(): Promise<Released | undefined> {
    let last: Check = { code: 0, released: undefined };
    // A helper that was killed may still have the manifest for a moment.
    for (let tries = 0; toCheck(this.file) !== undefined; tries += 1) {
      if (tries > 0) await setTimeout(patience.ms);
      if (tries > 0 && (last.code !== busy || tries > patience.tries)) throw unchecked(this.#workspace, this.file, last.released?.problem ?? 'What watched over the sandbox was killed, and the check failed.');
      last = await check(this.file, this.#workspace, this.#as);
    }
    rmSync(this.file, { force: true });
    return last.released;
  }
}
