/** One end of a control channel to openshelld: JSON packets with descriptors, in order, queued while the socket is full. */
import type { FromOpenshelld, ToOpenshelld } from '@nemoclaw/contract';
import { binding } from './native.ts';
import type { ChannelHandle } from './native.ts';

/** Bytes of one packet at most; the C side has the same bound. */
export const maxPacket = 256 * 1024;
const maxQueued = 4096;
const retryMs = 2;
/** What JSON.stringify escapes and the C side refuses: NUL, and surrogates without their other half. */
const notText = /(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f][0-9a-f]{2})/i;

/** Descriptors handed to a listener belong to it: wrap or close each. */
export type MessageListener<In> = (message: In, fds: number[]) => void;

/** `In` and `Out` are swapped in tests that play openshelld. */
export class PacketChannel<In, Out> {
  readonly #fd: number;
  readonly #handle: ChannelHandle;
  readonly #listeners: MessageListener<In>[] = [];
  readonly #closeListeners: ((error: Error | undefined) => void)[] = [];
  /** What came before the first listener. */
  #early: [In, number[]][] = [];
  #queue: [Buffer, readonly number[]][] = [];
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  /** Takes over `fd`, a connected SEQPACKET socket. */
  constructor(fd: number) {
    this.#fd = fd;
    this.#handle = binding().open(fd, (packet, fds) => this.#take(packet, fds));
  }

  /** Messages that came before the first listener are handed to it now, in order. */
  onMessage(listener: MessageListener<In>): void {
    this.#listeners.push(listener);
    const early = this.#early;
    this.#early = [];
    for (const [message, fds] of early) listener(message, fds);
  }

  /** Called once when the channel ends; with an error if the other side broke the protocol. */
  onClose(listener: (error: Error | undefined) => void): void {
    this.#closeListeners.push(listener);
  }

  /** Sends in order; never waits. The caller keeps `fds` open until the other side has answered. Throws RangeError if the packet or the queue is too large, or a text in it is none (NUL, half a surrogate pair). */
  send(message: Out, fds: readonly number[] = []): void {
    if (this.#closed) return;
    const text = JSON.stringify(message);
    if (notText.test(text)) throw new RangeError('control message with a NUL or half a character in a text');
    const packet = Buffer.from(text);
    if (packet.length > maxPacket) throw new RangeError(`control message of ${packet.length} bytes is over ${maxPacket}`);
    if (this.#queue.length >= maxQueued) throw new RangeError('openshelld does not read its control channel');
    this.#queue.push([packet, fds]);
    if (this.#timer === undefined) this.#flush();
  }

  close(): void {
    this.#end(undefined);
  }

  #flush(): void {
    this.#timer = undefined;
    while (!this.#closed) {
      const next = this.#queue[0];
      if (!next) return;
      try {
        if (!binding().send(this.#fd, next[0], next[1])) {
          this.#timer = setTimeout(() => this.#flush(), retryMs);
          return;
        }
      } catch (error) {
        this.#end(error instanceof Error ? error : new Error(String(error)));
        return;
      }
      this.#queue.shift();
    }
  }

  #take(packet: Buffer | null, fds: number[]): void {
    if (packet === null) {
      this.#end(undefined);
      return;
    }
    let message: In;
    try {
      message = JSON.parse(packet.toString('utf8')) as In;
    } catch (error) {
      for (const fd of fds) binding().closeFd(fd);
      this.#end(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    if (this.#listeners.length === 0) this.#early.push([message, fds]);
    for (const listener of this.#listeners) listener(message, fds);
  }

  #end(error: Error | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    this.#queue = [];
    binding().close(this.#handle);
    for (const listener of this.#closeListeners) listener(error);
  }
}

/** A service's end of its control channel. */
export class ControlChannel extends PacketChannel<FromOpenshelld, ToOpenshelld> {
  /** openshelld gives every service its channel as descriptor 3. */
  constructor(fd = 3) {
    super(fd);
  }
}
