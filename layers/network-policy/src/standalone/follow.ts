/** A policy file that is read anew when it changed: whole, and when nobody writes to it any more. */
import { existsSync, realpathSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { NemoError } from '@nemoclaw/contract';

/** ms between two looks. A file that is not the same at both is still being written. */
const every = 250;
/** Bytes; no policy file is as long. */
const longest = 4 << 20;

/** Changes with every change of the file behind the path, also of what links on the way lead to (stat(2)). */
export function markOf(file: string): string {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = statSync(file, { bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].join(' ');
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code);
  }
}

export interface Follower<T> {
  /** Reads the file; what it throws goes to `refused`. */
  readonly read: () => Promise<T>;
  readonly use: (next: T) => void;
  /** Told once for each state of the file. */
  readonly refused: (error: unknown) => void;
}

/** `began`: the mark of what is in force. Gives what ends it. A path that leads to no file now (a pipe) is not followed. */
export function follow<T>(file: string, began: string, { read, use, refused }: Follower<T>): () => void {
  if (statSync(file, { throwIfNoEntry: false })?.isFile() === false) return () => undefined;
  let [seen, done] = [began, began];
  let [reading, ended] = [false, false];
  const look = async (): Promise<void> => {
    const now = markOf(file);
    const still = now === seen;
    seen = now;
    if (!still || now === done) return;
    let then: () => void;
    try {
      refuseOdd(file);
      const next = await read();
      then = () => use(next);
    } catch (error) {
      then = () => refused(error);
    }
    // Of a file that changed while it was read nothing is known.
    if (ended || markOf(file) !== now) return;
    done = now;
    then();
  };
  const timer = setInterval(() => {
    if (reading) return;
    reading = true;
    void look().finally(() => (reading = false));
  }, every);
  timer.unref();
  return () => {
    ended = true;
    clearInterval(timer);
  };
}

/** Reading a pipe could take for ever, and a file without end all memory. */
function refuseOdd(file: string): void {
  const found = statSync(file, { throwIfNoEntry: false });
  if (found === undefined || (found.isFile() && found.size <= longest)) return;
  throw new NemoError('NEMO_E_POLICY_YAML', { what: found.isFile() ? `The file is larger than ${longest} bytes.` : 'This is no file.', where: { file, line: 1, column: 1 } });
}

/** Whether a user could write to the file, or put another in its place; true of root, of owners, where anybody or a group may, and of a path through links. */
export function couldChange(file: string, uid: number): boolean {
  let at = resolve(file);
  if (uid === 0 || !existsSync(at) || realpathSync(at) !== at) return true;
  for (let above = false; ; above = true) {
    const { uid: owner, mode } = statSync(at);
    // In a sticky folder only its owner moves what is somebody else's.
    const shared = (mode & 0o022) !== 0 && !(above && (mode & 0o1000) !== 0);
    if (owner === uid || shared) return true;
    if (at === '/') return false;
    at = dirname(at);
  }
}
