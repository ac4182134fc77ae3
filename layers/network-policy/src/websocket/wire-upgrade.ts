/** A WebSocket handshake as a wire: refused like any request, or accepted and then cut by a close frame that says why. */
import type { IncomingMessage } from 'node:http';
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import type { Decision } from '@nemoclaw/contract';
import type { Handshake } from './websocket-handshake.ts';
import { writeClose } from './websocket-frames.ts';
import { Bodiless } from '../http/bodiless.ts';
import type { Wire } from '../http/wire.ts';

// How long a client may take to answer our close frame.
const closeWithin = 1000;

export class UpgradeWire extends Bodiless implements Wire {
  readonly version = '1.1';
  readonly fields: IncomingMessage;
  readonly socket: Socket;
  readonly handshake: Handshake;
  /** What the client sent after its handshake already. */
  readonly early: Buffer;
  readonly body = Readable.from([]);
  headSent = false;
  #accepted = false;

  constructor(req: IncomingMessage, socket: Socket, handshake: Handshake, early: Buffer) {
    super();
    this.fields = req;
    this.socket = socket;
    this.handshake = handshake;
    this.early = early;
    socket.setTimeout(0);
  }

  get gone(): boolean {
    return this.socket.destroyed || this.socket.writableEnded;
  }
  interim(): void {}

  /** The client may send messages from now on. */
  accept(protocol: string | undefined, headers: readonly string[]): void {
    this.#accepted = true;
    this.#head(101, ['upgrade', 'websocket', 'connection', 'Upgrade', 'sec-websocket-accept', this.handshake.accept, ...(protocol === undefined ? [] : ['sec-websocket-protocol', protocol]), ...headers]);
  }

  head(status: number, headers: readonly string[]): void {
    this.#head(status, [...headers, 'connection', 'close']);
  }

  write(chunk: Buffer): boolean {
    return this.gone || this.socket.write(chunk);
  }
  onDrain(listener: () => void): void {
    this.socket.once('drain', listener);
  }
  end(): void {
    this.socket.end();
    this.socket.resume();
  }

  cut(because?: Decision): void {
    if (!this.#accepted || this.gone) {
      this.socket.destroy();
      return;
    }
    const reason = because ? `${because.rules[0]?.id ?? 'default'}: ${because.reason}` : 'the connection to the origin failed';
    this.close(because ? 1008 : 1011, reason);
  }

  /** Says goodbye and gives the client a moment to answer. */
  close(code: number, reason: string): void {
    if (this.gone) return;
    this.socket.end(writeClose(code, reason, false));
    this.socket.resume();
    const timer = setTimeout(() => this.socket.destroy(), closeWithin);
    this.socket.once('close', () => clearTimeout(timer));
  }

  onClose(listener: () => void): void {
    this.socket.once('close', listener);
  }
  distrust(): void {}

  #head(status: number, headers: readonly string[]): void {
    this.headSent = true;
    let text = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`;
    for (let i = 0; i + 1 < headers.length; i += 2) text += `${headers[i] ?? ''}: ${(headers[i + 1] ?? '').replace(/[\r\n\0]/g, ' ')}\r\n`;
    this.socket.write(`${text}\r\n`, 'latin1');
  }
}
