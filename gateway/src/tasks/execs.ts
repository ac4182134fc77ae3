/** Commands that run in sandboxes: starts them and knows when they end, also across a restart of openshelld. */
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

  constructor(backend: Backend, ids: Ids) {
    this.#backend = backend;
    this.#ids = ids;
  }

  /** Throws NEMO_E_EXEC with the reason if it cannot be started. */
  async start(request: Omit<ExecRequest, 'execId'>): Promise<Running> {
    const execId = this.#ids.next('ex');
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
