/** HTTP/1.1 as a wire of our own, for plain requests: most there are, and Node's server would take longer for each than all decisions on it. What is not plain is left to that, with its connection. */
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { Bodiless } from './bodiless.ts';
import { fieldLine } from './field-lines.ts';
import { valuesOf } from './fields.ts';
import { readPlainRequest } from './plain-request.ts';
import type { PlainRequest } from './plain-request.ts';
import type { Wire } from './wire.ts';

export interface PlainService {
  /** ms until the first request of a connection, and between two. */
  readonly headMs: number;
  readonly idleMs: number;
  request(wire: PlainWire): void;
  /** Node's server takes over: what is not read yet was put back. */
  other(): void;
  /** No request came in time. */
  late(): void;
}

/** Bytes of later requests that are read while somebody waits for the end of what the client says. */
const mostAhead = 64 * 1024;
/** Bytes that are copied to go out in one write with what stands before them. */
const joined = 16 * 1024;

/** Serves the plain requests of a connection, which may be closed on one side, one after the other. */
export function servePlain(socket: Socket, service: PlainService): void {
  new PlainConnection(socket, service);
}

class PlainConnection {
  readonly #socket: Socket;
  readonly #service: PlainService;
  /** The one that is being answered. */
  #wire: PlainWire | undefined;
  #first = true;
  /** The client says nothing more. */
  #ended = false;
  /** Read while the end of what the client says is looked for: it comes behind these. */
  #looking = false;
  #ahead: Buffer[] = [];
  #aheadBytes = 0;

  constructor(socket: Socket, service: PlainService) {
    this.#socket = socket;
    this.#service = service;
    socket.setTimeout(service.headMs);
    socket.on('timeout', this.#silent);
    socket.on('end', this.#end);
    socket.on('close', this.#close);
    socket.on('data', this.#data);
  }

  readonly #data = (chunk: Buffer): void => {
    if (!this.#wire) this.#take(chunk);
    else if (this.#looking && this.#aheadBytes < mostAhead) {
      this.#ahead.push(chunk);
      this.#aheadBytes += chunk.length;
    } else this.#putBack(chunk);
  };

  readonly #lookForEnd = (): void => {
    if (!this.#wire) return;
    this.#looking = true;
    this.#socket.resume();
  };

  #take(bytes: Buffer): void {
    const socket = this.#socket;
    const read = readPlainRequest(bytes);
    if (!read && this.#ended) {
      // Nobody else can be told of that end any more.
      socket.destroySoon();
      return;
    }
    if (!read) {
      this.#leave();
      this.#putBack(bytes);
      this.#service.other();
      socket.resume();
      return;
    }
    if (this.#first) {
      this.#first = false;
      socket.setTimeout(this.#service.idleMs);
    }
    if (read.end < bytes.length) this.#putBack(bytes.subarray(read.end));
    this.#wire = new PlainWire(socket, read, this.#answered, this.#lookForEnd);
    this.#service.request(this.#wire);
  }

  /** It is read once the answer before it is out; so is the end of what the client says, if that follows. */
  #putBack(bytes: Buffer): void {
    if (this.#ended) {
      this.#ahead.push(bytes);
      return;
    }
    this.#socket.pause();
    this.#socket.unshift(bytes);
  }

  readonly #answered = (wire: PlainWire): void => {
    if (wire !== this.#wire || this.#socket.destroyed) return;
    this.#wire = undefined;
    wire.closed();
    const ahead = Buffer.concat(this.#ahead.splice(0));
    this.#looking = false;
    this.#aheadBytes = 0;
    if (wire.last) this.#socket.destroySoon();
    else if (!this.#ended) {
      if (ahead.length > 0) this.#putBack(ahead);
      if (this.#socket.isPaused()) this.#socket.resume();
    } else if (ahead.length > 0) this.#take(ahead);
    else this.#socket.destroySoon();
  };

  readonly #end = (): void => {
    this.#ended = true;
    if (this.#wire) this.#wire.halfClosed();
    else this.#socket.end();
  };

  readonly #silent = (): void => {
    if (this.#wire && !this.#ended) return;
    if (this.#first) {
      // What comes now comes too late.
      this.#leave();
      this.#service.late();
    } else this.#socket.destroy();
  };

  #leave(): void {
    const socket = this.#socket;
    socket.off('data', this.#data);
    socket.off('end', this.#end);
    socket.off('close', this.#close);
    socket.off('timeout', this.#silent);
    socket.setTimeout(0);
  }

  readonly #close = (): void => {
    const wire = this.#wire;
    this.#wire = undefined;
    wire?.closed();
  };
}

/** No body follows it, or none that is counted. */
const bodiless = (method: string, status: number): boolean => method === 'HEAD' || status === 204 || status === 304;

export class PlainWire extends Bodiless implements Wire {
  readonly version = '1.1';
  readonly fields: { readonly method: string; readonly url: string; readonly rawHeaders: readonly string[]; readonly httpVersion: '1.1' };
  headSent = false;
  /** The connection ends with this answer. */
  last = false;
  readonly #socket: Socket;
  readonly #answered: (wire: PlainWire) => void;
  readonly #lookForEnd: () => void;
  #body: Readable | undefined;
  /** Of the answer's body, where its head says it; 0 where it has none. */
  #length: number | undefined;
  #chunked = false;
  #mute = false;
  #sent = 0;
  /** The head and what came with it: one write. */
  #held: Buffer | string | undefined;
  /** Writes that are under way. */
  #writing = 0;
  #ended = false;
  #over = false;
  readonly #closing: (() => void)[] = [];
  readonly #halfClosing: (() => void)[] = [];

  constructor(socket: Socket, { method, url, rawHeaders }: PlainRequest, answered: (wire: PlainWire) => void, lookForEnd: () => void) {
    super();
    this.#socket = socket;
    this.fields = { method, url, rawHeaders, httpVersion: '1.1' };
    this.#answered = answered;
    this.#lookForEnd = lookForEnd;
  }

  get body(): Readable {
    return (this.#body ??= Readable.from([]));
  }
  get gone(): boolean {
    return this.#over || this.#socket.destroyed;
  }

  interim(status: number, headers: readonly string[]): void {
    if (status !== 103 || this.headSent || this.gone) return;
    let text = '';
    for (const link of valuesOf(headers, 'link')) text += fieldLine('link', link);
    if (text !== '') this.#write(`HTTP/1.1 103 Early Hints\r\n${text}\r\n`);
  }

  head(status: number, headers: readonly string[]): void {
    let text = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Unknown'}\r\n`;
    let length: number | undefined;
    for (let i = 0; i + 1 < headers.length; i += 2) {
      const name = headers[i] ?? '';
      const value = headers[i + 1] ?? '';
      text += fieldLine(name, value);
      if (name.length !== 14 || name.toLowerCase() !== 'content-length') continue;
      if (length !== undefined || !/^\d{1,15}$/.test(value)) throw new Error('the answer says no one length');
      length = Number(value);
    }
    this.#mute = bodiless(this.fields.method, status);
    this.#length = this.#mute ? undefined : length;
    this.#chunked = !this.#mute && length === undefined;
    if (this.#chunked) text += 'transfer-encoding: chunked\r\n';
    this.#held = `${text}connection: ${this.last ? 'close' : 'keep-alive'}\r\n\r\n`;
    this.headSent = true;
    // A stream may take long to its first byte: its head does not wait for it.
    process.nextTick(flush, this);
  }

  write(chunk: Buffer): boolean {
    if (this.#mute || chunk.length === 0 || this.gone) return true;
    this.#sent += chunk.length;
    if (this.#length !== undefined && this.#sent > this.#length) throw new Error('the answer is longer than it says');
    const before = typeof this.#held === 'string' ? this.#held : '';
    if (before === '') this.flush();
    const open = this.#chunked ? `${before}${chunk.length.toString(16)}\r\n` : before;
    const close = this.#chunked ? '\r\n' : '';
    if (open === '') return this.#write(chunk);
    if (chunk.length <= joined) {
      const all = Buffer.allocUnsafe(open.length + chunk.length + close.length);
      all.write(open, 0, 'latin1');
      all.set(chunk, open.length);
      all.write(close, open.length + chunk.length, 'latin1');
      if (before === '') return this.#write(all);
      this.#held = all;
      return true;
    }
    this.#held = undefined;
    this.#socket.cork();
    this.#write(open);
    let room = this.#write(chunk);
    if (close !== '') room = this.#write(close);
    this.#socket.uncork();
    return room;
  }

  /** What is held goes out. */
  flush(): void {
    const held = this.#held;
    this.#held = undefined;
    if (held !== undefined && !this.gone) this.#write(held);
  }

  end(trailers: readonly string[] = []): void {
    if (this.#ended || this.gone) return;
    // Its client would wait for the rest, and take the next answer for it.
    if (this.#length !== undefined && this.#sent !== this.#length) {
      this.cut();
      return;
    }
    this.#ended = true;
    if (this.#chunked) {
      let text = '0\r\n';
      for (let i = 0; i + 1 < trailers.length; i += 2) text += fieldLine(trailers[i] ?? '', trailers[i + 1] ?? '');
      const held = this.#held;
      if (typeof held === 'string') this.#held = `${held}${text}\r\n`;
      else if (held) this.#held = Buffer.concat([held, Buffer.from(`${text}\r\n`, 'latin1')]);
      else this.#write(`${text}\r\n`);
    }
    this.flush();
    if (this.#writing === 0) process.nextTick(this.#answered, this);
  }

  cut(): void {
    this.#socket.destroy();
  }
  onDrain(listener: () => void): void {
    this.#socket.once('drain', listener);
  }
  onClose(listener: () => void): void {
    this.#closing.push(listener);
  }
  onHalfClose(listener: () => void): void {
    if (this.#socket.readableEnded) {
      listener();
      return;
    }
    this.#halfClosing.push(listener);
    this.#lookForEnd();
  }
  halfClosed(): void {
    for (const each of this.#halfClosing.splice(0)) each();
  }
  distrust(): void {
    this.last = true;
  }

  /** The answer is out, or the client is gone. */
  closed(): void {
    this.#over = true;
    this.#held = undefined;
    for (const each of this.#closing.splice(0)) each();
  }

  #write(bytes: Buffer | string): boolean {
    this.#writing += 1;
    return typeof bytes === 'string' ? this.#socket.write(bytes, 'latin1', this.#written) : this.#socket.write(bytes, this.#written);
  }

  readonly #written = (): void => {
    this.#writing -= 1;
    if (this.#ended && this.#writing === 0) this.#answered(this);
  };
}

const flush = (wire: PlainWire): void => wire.flush();
