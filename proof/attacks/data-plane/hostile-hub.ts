/** The proof's side of the hostile worker: waits for it to come up, gives it orders. */
import { chmodSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import type { FromHostile, Heard, Order } from './hostile-orders.ts';

export type Up = Extract<FromHostile, { k: 'up' }>;
const patienceMs = 60_000;

export class HostileHub {
  readonly #server: Server;
  readonly #waiting = new Map<number, { readonly done: (value: unknown) => void; readonly failed: (error: Error) => void }>();
  #socket: Socket | undefined;
  #up: Up | undefined;
  #wake: (() => void)[] = [];
  #next = 1;

  constructor() {
    this.#server = createServer((socket) => this.#accept(socket));
  }

  async listen(path: string): Promise<void> {
    await new Promise<void>((done) => this.#server.listen(path, done));
    chmodSync(path, 0o777);
  }

  /** The hostile worker that runs now; `notPid`: a successor of that one. */
  async up(notPid = 0): Promise<Up> {
    const end = performance.now() + patienceMs;
    for (;;) {
      if (this.#up && this.#up.pid !== notPid) return this.#up;
      if (performance.now() > end) throw new Error('the hostile worker did not come up');
      await Promise.race([new Promise<void>((wake) => this.#wake.push(wake)), new Promise((next) => setTimeout(next, 200))]);
    }
  }

  /** Rejects if the worker ends before it has done it. */
  order(order: Order): Promise<unknown> {
    const socket = this.#socket;
    if (!socket) return Promise.reject(new Error('the hostile worker is not there'));
    const id = this.#next;
    this.#next += 1;
    return new Promise((done, failed) => {
      const timer = setTimeout(() => failed(new Error(`${order.op}: no answer`)), patienceMs);
      this.#waiting.set(id, { done: (value) => (clearTimeout(timer), done(value)), failed: (error) => (clearTimeout(timer), failed(error)) });
      socket.write(`${JSON.stringify({ id, order })}\n`);
    });
  }

  async heard(): Promise<Heard[]> {
    return (await this.order({ op: 'heard' })) as Heard[];
  }

  close(): void {
    this.#socket?.destroy();
    this.#server.close();
  }

  #accept(socket: Socket): void {
    let pending = '';
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      if (this.#socket !== socket) return;
      this.#socket = undefined;
      this.#up = undefined;
      for (const [id, { failed }] of this.#waiting) {
        this.#waiting.delete(id);
        failed(new Error('the hostile worker ended'));
      }
    });
    socket.on('data', (data) => {
      pending += data.toString();
      for (let end = pending.indexOf('\n'); end >= 0; end = pending.indexOf('\n')) {
        const message = JSON.parse(pending.slice(0, end)) as FromHostile;
        pending = pending.slice(end + 1);
        if (message.k === 'up') {
          this.#socket = socket;
          this.#up = message;
          for (const wake of this.#wake.splice(0)) wake();
          continue;
        }
        const waiting = this.#waiting.get(message.id);
        this.#waiting.delete(message.id);
        if (message.error === undefined) waiting?.done(message.value);
        else waiting?.failed(new Error(message.error));
      }
    });
  }
}
