/** Reads a socket by lines and lengths, at the reader's pace and with bounds. */
import type { Socket } from 'node:net';
import { Pieces } from '../body/pieces.ts';

/** The other side ended, was too slow, or sent more than is read at once. `message` is for the record. */
export class ReadEnded extends Error {}

/** Bytes from which on nothing is read ahead. */
const mostAhead = 64 * 1024;

export class ByteReader {
  readonly #socket: Socket;
  readonly #idleMs: number;
  #kept: Buffer = Buffer.alloc(0);
  /** What came behind it: joined when it is enough, so that nobody pays for each piece of a long one. */
  readonly #behind = new Pieces();
  #ended = false;
  #wake: (() => void) | undefined;
  #attached = true;

  /** The socket is read in paused mode from now on. `idleMs`: longest wait for more bytes. */
  constructor(socket: Socket, idleMs: number) {
    this.#socket = socket;
    this.#idleMs = idleMs;
    socket.on('readable', this.#look);
    socket.on('end', this.#end);
    socket.on('close', this.#end);
    socket.on('error', this.#end);
  }

  /** Bytes that came but are not read yet, as far as is known without waiting. */
  get waiting(): number {
    this.#take();
    return this.#size;
  }

  get #size(): number {
    return this.#kept.length + this.#behind.size;
  }

  #join(): void {
    if (this.#behind.size > 0) this.#kept = Buffer.concat([this.#kept, ...this.#behind.take()]);
  }

  /** The bytes before the next CRLF, which is consumed too. Rejects with ReadEnded; `limit`: bytes without the CRLF. */
  async line(limit: number): Promise<Buffer> {
    let from = 0;
    for (;;) {
      this.#join();
      const at = this.#kept.indexOf('\r\n', from, 'latin1');
      if (at >= 0 && at <= limit) return this.#give(at, 2);
      if (at > limit || this.#kept.length > limit + 1) throw new ReadEnded('a line is too long');
      from = Math.max(0, this.#kept.length - 1);
      await this.#more();
    }
  }

  async exactly(count: number): Promise<Buffer> {
    while (this.#size < count) await this.#more();
    this.#join();
    return this.#give(count, 0);
  }

  /** Waits until something is there, as long as it takes; false at the end. */
  async anything(): Promise<boolean> {
    if (this.waiting > 0) return true;
    try {
      await this.#more(true);
      return true;
    } catch (error) {
      if (error instanceof ReadEnded) return false;
      throw error;
    }
  }

  /** Reads on, a little, while nobody waits for bytes: the end of the socket is seen only behind them. Until what is given back is called. */
  ahead(): () => void {
    const look = (): void => {
      while (this.#size < mostAhead && this.#take());
    };
    this.#socket.on('readable', look);
    look();
    return () => void this.#socket.off('readable', look);
  }

  /** Lets the socket go; what was not consumed is put back. */
  detach(): void {
    if (!this.#attached) return;
    this.#attached = false;
    this.#socket.off('readable', this.#look);
    this.#socket.off('end', this.#end);
    this.#socket.off('close', this.#end);
    this.#socket.off('error', this.#end);
    this.#join();
    if (this.#kept.length > 0 && !this.#socket.destroyed) this.#socket.unshift(this.#kept);
    this.#kept = Buffer.alloc(0);
    // Whoever still waits for bytes gets none.
    this.#wake?.();
  }

  #give(count: number, skip: number): Buffer {
    const out = this.#kept.subarray(0, count);
    this.#kept = this.#kept.subarray(count + skip);
    return out;
  }

  #take(): boolean {
    const bytes: unknown = this.#attached ? this.#socket.read() : null;
    if (!Buffer.isBuffer(bytes) || bytes.length === 0) return false;
    if (this.#size === 0) this.#kept = bytes;
    else this.#behind.add(bytes);
    return true;
  }

  /** `patient`: an open conversation may be silent as long as both want. */
  async #more(patient = false): Promise<void> {
    while (!this.#take()) {
      if (this.#ended || !this.#attached) throw new ReadEnded('the other side ended');
      let late = false;
      await new Promise<void>((resolve) => {
        const timer = patient ? undefined : setTimeout(() => { late = true; resolve(); }, this.#idleMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = undefined;
      if (late) throw new ReadEnded('nothing came in time');
    }
  }

  readonly #look = (): void => this.#wake?.();
  readonly #end = (): void => {
    this.#ended = true;
    this.#wake?.();
  };
}
