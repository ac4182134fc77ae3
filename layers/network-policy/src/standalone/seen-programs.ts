/** Which program opened a connection, seen by a native helper from the moment that a policy first speaks of programs. A hint; what is not seen allows nothing. */
import { isUtf8 } from 'node:buffer';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fstatSync, openSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { ProgramOf } from '../capture/programs.ts';

const helperPath = fileURLToPath(new URL('../../native/build/network-programs', import.meta.url));

export class SeenPrograms {
  #began: Promise<boolean> | undefined;
  #child: ChildProcess | undefined;
  #place: { readonly words: string; readonly fd: number } | undefined;
  /** Who waits for an answer, in the order of the questions. */
  readonly #waiting: ((path: string | undefined) => void)[] = [];

  /** Begins, once: whether connections are seen from now on. Where not, standard error says why. */
  readonly see = (): Promise<boolean> => (this.#began ??= this.#begin());

  /** Nothing is seen, whoever asks. */
  refuse(): void {
    this.#began = Promise.resolve(false);
  }

  /** Whose connections are asked about: the network by its cookie, and the file of the mount namespace in which paths count. It stays open, so that no other gets its number. */
  within(network: string, mounts: string): void {
    const fd = openSync(mounts, 'r');
    this.#place = { words: `${network} ${fstatSync(fd).ino}`, fd };
  }

  readonly of: ProgramOf = async ({ source, sourcePort, destination, destinationPort }) => {
    if (!(await this.#began) || this.#place === undefined) return undefined;
    return (await this.#ask(`${this.#place.words} ${source} ${sourcePort} ${destination} ${destinationPort}\n`)) ?? '';
  };

  async close(): Promise<void> {
    if (this.#place) closeSync(this.#place.fd);
    this.#place = undefined;
    const child = this.#child;
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.stdin?.end();
    await ended;
  }

  async #begin(): Promise<boolean> {
    // Of a session of its own: keys at the terminal are for the command.
    const child = spawn(helperPath, [], { stdio: ['pipe', 'pipe', 'inherit'], env: {}, detached: true });
    this.#child = child;
    let rest = Buffer.alloc(0);
    child.stdout.on('data', (part: Buffer) => {
      rest = Buffer.concat([rest, part]);
      for (let end = rest.indexOf(0); end >= 0; end = rest.indexOf(0)) {
        const path = rest.subarray(0, end);
        rest = rest.subarray(end + 1);
        this.#waiting.shift()?.(isUtf8(path) ? path.toString('utf8') : '');
      }
    });
    const gone = (): void => {
      for (const answer of this.#waiting.splice(0)) answer(undefined);
    };
    child.stdin.on('error', gone);
    child.on('error', gone).on('close', gone);
    return (await this.#ask('')) !== undefined;
  }

  /** The answer; undefined where nobody gives one any more. */
  #ask(question: string): Promise<string | undefined> {
    const stdin = this.#child?.stdin;
    return new Promise((resolve) => {
      if (!stdin?.writable) return resolve(undefined);
      this.#waiting.push(resolve);
      if (question !== '') stdin.write(question);
    });
  }
}

/** Does it, and sees no more programs after it. */
export async function withPrograms<T>(does: (programs: SeenPrograms) => Promise<T>): Promise<T> {
  const programs = new SeenPrograms();
  try {
    return await does(programs);
  } finally {
    await programs.close();
  }
}
