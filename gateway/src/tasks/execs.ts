/** Commands that run in sandboxes: starts them and knows when they end, also across a restart of openshelld. */
import { PassThrough } from 'node:stream';
import { NemoError, type Ids } from '@nemoclaw/contract';
import type { Backend, ExecRequest, Started } from '../backend.ts';

/** How a command ended; both null: it ended while nobody was there to see. */
export interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
}
export interface Running extends Started {
  readonly sandbox: string;
  readonly ended: Promise<Ended>;
}

export class Execs {
  readonly #backend: Backend;
  readonly #ids: Ids;
  readonly #running = new Map<string, { readonly sandbox: string; readonly end: (ended: Ended) => void }>();
  /** Those of the last gateway, until somebody takes them. */
  readonly #left = new Map<string, Promise<Ended>>();

  constructor(backend: Backend, ids: Ids) {
    this.#backend = backend;
    this.#ids = ids;
  }

  /** Throws NEMO_E_EXEC with the reason if it cannot be started. */
  async start(request: Omit<ExecRequest, 'execId'> & { readonly execId?: string }): Promise<Running> {
    const execId = request.execId ?? this.#ids.next('ex');
    let end: (ended: Ended) => void = () => undefined;
    const ended = new Promise<Ended>((resolve) => {
      end = resolve;
    });
    this.#running.set(execId, { sandbox: request.sandbox, end });
    try {
      const started = await this.#backend.exec({ ...request, execId });
      return { ...started, sandbox: request.sandbox, ended };
    } catch (cause) {
      this.#running.delete(execId);
      throw new NemoError('NEMO_E_EXEC', { what: `'${request.argv[0] ?? ''}' could not be started in the sandbox.`, why: cause instanceof Error ? cause.message : String(cause), cause });
    }
  }

  /** After a start: what the last gateway left running. At once, since their ends may follow. */
  expect(sandboxes: readonly { readonly sandbox: string; readonly execs: readonly string[] }[]): void {
    for (const { sandbox, execs } of sandboxes) {
      for (const execId of execs) this.#left.set(execId, new Promise((resolve) => this.#running.set(execId, { sandbox, end: resolve })));
    }
  }

  /** Takes up a command that was left, with what it has written and nobody has read; without input. Undefined: it is not there. */
  async takeUp(sandbox: string, execId: string): Promise<Running | undefined> {
    const ended = this.#left.get(execId);
    if (ended === undefined) return undefined;
    this.#left.delete(execId);
    const attached = await this.#backend.attach(sandbox, execId).catch(() => undefined); // it has ended, and its output with it
    const none = (): PassThrough => new PassThrough().end();
    return { execId, pid: attached?.pid ?? 0, stdin: none(), stdout: attached?.stdout ?? none(), stderr: attached?.stderr ?? null, sandbox, ended };
  }

  /** Ends what was left and nobody took: whoever ran it lost it with the last gateway. Hang-up first, then for good. */
  endLeft(graceMs: number): void {
    for (const [execId] of this.#left) {
      const sandbox = this.#running.get(execId)?.sandbox;
      if (sandbox === undefined) continue;
      const send = (signal: number): void => void this.#backend.signal(sandbox, execId, signal).catch(() => undefined);
      send(1);
      setTimeout(() => this.#running.has(execId) && send(9), graceMs).unref();
    }
    this.#left.clear();
  }

  async signal(running: Running, signal: number): Promise<void> {
    await this.#backend.signal(running.sandbox, running.execId, signal);
  }

  async resize(running: Running, rows: number, cols: number): Promise<void> {
    await this.#backend.resize(running.sandbox, running.execId, rows, cols);
  }

  exited(execId: string, ended: Ended): void {
    this.#running.get(execId)?.end(ended);
    this.#running.delete(execId);
  }

  /** What runs, as openshelld says after its restart; everything else of ours has ended unseen. */
  alive(execIds: ReadonlySet<string>): void {
    for (const execId of [...this.#running.keys()]) if (!execIds.has(execId)) this.exited(execId, { code: null, signal: null });
  }

  gone(sandbox: string): void {
    for (const [execId, { sandbox: of }] of [...this.#running]) if (of === sandbox) this.exited(execId, { code: null, signal: 'SIGKILL' });
  }
}
