/** The folder an agent works in: made for the person if absent, filled from the blueprint if empty, registered as that person. */
import { execFileSync } from 'node:child_process';
import { chownSync, cpSync, existsSync, lstatSync, mkdirSync, readdirSync, realpathSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { homedir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { decodeRegisterReply, encodeRegister, type RegisterReply, type SandboxView } from '@nemoclaw/contract';
import type { CliContext } from '../context.ts';
import { AnsweredFailure, Failure } from '../failure.ts';

interface Person {
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

/** Who the workspace belongs to: the caller, or who called sudo. */
export function personOf(context: CliContext): Person {
  const { SUDO_UID, SUDO_GID } = context.world.env;
  if (context.world.uid === 0 && SUDO_UID !== undefined && Number(SUDO_UID) > 0) {
    const home = execFileSync('getent', ['passwd', SUDO_UID], { encoding: 'utf8' }).split(':')[5] ?? '/';
    return { uid: Number(SUDO_UID), gid: Number(SUDO_GID ?? SUDO_UID), home };
  }
  return { uid: context.world.uid, gid: process.getgid?.() ?? context.world.uid, home: homedir() };
}

/** The folder meant: the one named, or one of the sandbox's own in the person's home (below a private root, there). */
export function workspacePath(context: CliContext, sandbox: string, named: string | undefined): string {
  if (named !== undefined) return resolve(context.world.cwd, named);
  if (context.places.root !== '') return join(context.places.root, 'workspaces', sandbox);
  const { home } = personOf(context);
  return join(existsSync(home) ? realpathSync(home) : home, 'nemoclaw', sandbox);
}

export interface Prepared {
  /** Whether the blueprint's files were put there. */
  readonly filled: boolean;
  /** Takes away what was made: the folders, or what was put into one that was empty. */
  undo(): void;
}

/** What of the path is there, and the folders below it that are not. Throws Failure where it cannot be a workspace. */
export function checkWorkspace(path: string): { at: string; absent: string[] } {
  const absent: string[] = [];
  let at = path;
  for (; !existsSync(at); at = dirname(at)) absent.unshift(at);
  // openshelld follows no link to a folder that an agent gets.
  if (realpathSync(at) !== at) throw new Failure('NEMO_E_WORKSPACE', { what: `${at} is reached by a link.`, fix: `Name the folder itself: --workspace ${join(realpathSync(at), relative(at, path))}` });
  if (!statSync(at).isDirectory()) throw new Failure('NEMO_E_WORKSPACE', { what: `${at} is not a folder.`, fix: 'Name a folder with --workspace.' });
  return { at, absent };
}

/** Makes the folder if absent, for the person; copies `seed` into it if it is empty. Where that fails, on a full disk for one, what was made is taken away again. */
export function prepareWorkspace(path: string, seed: string | undefined, person: Person): Prepared {
  const { at, absent } = checkWorkspace(path);
  const files = seed === undefined || !existsSync(seed) || (at === path && readdirSync(path).length > 0) ? [] : readdirSync(seed);
  const made: string[] = [];
  const undo = (): void => {
    for (const file of files) rmSync(join(path, file), { recursive: true, force: true });
    for (const folder of made.toReversed()) if (readdirSync(folder).length === 0) rmdirSync(folder);
  };
  try {
    for (const folder of absent) {
      mkdirSync(folder, { mode: 0o755 });
      made.push(folder);
      if (process.getuid?.() === 0) chownSync(folder, person.uid, person.gid);
    }
    for (const file of files) cpSync(join(seed ?? '', file), join(path, file), { recursive: true });
    if (files.length > 0 && process.getuid?.() === 0) giveTo(path, person);
  } catch (error) {
    undo();
    throw new Failure('NEMO_E_WORKSPACE', { what: `${path} could not be made or filled.`, why: error instanceof Error ? error.message : String(error), fix: 'Make room there, or name another folder with --workspace.', cause: error });
  }
  return { filled: files.length > 0, undo };
}

function giveTo(path: string, person: Person): void {
  const stat = lstatSync(path);
  if (stat.isSymbolicLink()) return;
  chownSync(path, person.uid, person.gid);
  if (stat.isDirectory()) for (const name of readdirSync(path)) giveTo(join(path, name), person);
}

/** Prepares the folder, registers it and has `use` do what needs the registration. What was made is taken away again where either is refused: nothing works there. Where no answer came to `use`, something may. */
export async function withWorkspace<T>(context: CliContext, path: string, seed: string | undefined, use: (registration: string) => Promise<T>): Promise<T> {
  const prepared = prepareWorkspace(path, seed, personOf(context));
  let registered = false;
  try {
    const registration = await registerWorkspace(context, path);
    registered = true;
    return await use(registration);
  } catch (error) {
    if (!registered || error instanceof AnsweredFailure) prepared.undo();
    throw error;
  }
}

/** Registers the folder as the person it belongs to; returns the registration's id. */
async function registerWorkspace(context: CliContext, path: string): Promise<string> {
  const person = personOf(context);
  const reply = person.uid === context.world.uid ? await register(context.places.registerSocket, path) : registerAs(person, context.places.registerSocket, path);
  if (reply.ok) return reply.id;
  throw new Failure('NEMO_E_WORKSPACE', { what: `${path} cannot be the workspace.`, why: `${reply.error} (${reply.code})`, fix: 'Name a folder of your own with --workspace.' });
}

/**
 * Registers again the workspace of a sandbox that is to be started: openshelld forgets folders when it is stopped. As the caller, or, for root, as the folder's owner.
 * A folder that is gone, or is somebody else's now, is left alone: the start then says that it has no workspace.
 */
export async function restoreWorkspace(context: CliContext, sandbox: SandboxView): Promise<void> {
  if (sandbox.workspace === null) return;
  const { path } = sandbox.workspace;
  const folder = statSync(path, { throwIfNoEntry: false });
  if (!folder?.isDirectory()) return;
  const owner = { uid: folder.uid, gid: folder.gid };
  if (owner.uid === context.world.uid) await register(context.places.registerSocket, path);
  else if (context.world.uid === 0) registerAs(owner, context.places.registerSocket, path);
}

/** One line each way on the registration socket. */
export function register(socketPath: string, path: string): Promise<RegisterReply> {
  return new Promise((done, failed) => {
    const socket = connect(socketPath);
    let text = '';
    socket.setEncoding('utf8');
    socket.on('connect', () => socket.write(encodeRegister(path)));
    socket.on('data', (chunk: string) => (text += chunk));
    socket.on('error', (error) => failed(new Failure('NEMO_E_NO_DAEMON', { what: 'The workspace could not be registered: openshelld does not answer.', why: error.message, cause: error })));
    socket.on('close', () => {
      try {
        done(decodeRegisterReply(text));
      } catch (error) {
        failed(new Failure('NEMO_E_WORKSPACE', { what: 'openshelld gave no answer about the workspace.', cause: error }));
      }
    });
    socket.on('data', () => {
      if (text.includes('\n')) socket.end();
    });
  });
}

/** openshelld takes the identity from the socket, so a process of that person must ask. */
function registerAs(person: Pick<Person, 'uid' | 'gid'>, socketPath: string, path: string): RegisterReply {
  const program = new URL('register-main.ts', import.meta.url).pathname;
  const said = execFileSync('setpriv', [`--reuid=${person.uid}`, `--regid=${person.gid}`, '--init-groups', process.execPath, program, socketPath, path], {
    encoding: 'utf8',
    env: { PATH: '/usr/bin:/bin' },
  });
  return decodeRegisterReply(said);
}
