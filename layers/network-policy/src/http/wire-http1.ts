/** HTTP/1.1 of Node as a wire. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { valuesOf } from './fields.ts';
import type { Wire } from './wire.ts';

const drainFor = 500;
/** Connections on which a request was none: where it ended is not known, so what follows is not read as another. */
const distrusted = new WeakSet<Socket>();
export const isDistrusted = (socket: Socket): boolean => distrusted.has(socket);

export class Http1Wire implements Wire {
  readonly version = '1.1';
  readonly #req: IncomingMessage;
  readonly #res: ServerResponse;
  #expects: boolean;
  #wrote = false;
  #last = false;
  #corked = false;
  #closing: (() => void)[] | undefined;

  constructor(req: IncomingMessage, res: ServerResponse, expects: boolean) {
    this.#req = req;
    this.#res = res;
    this.#expects = expects;
  }

  get fields(): IncomingMessage {
    return this.#req;
  }
  get body(): IncomingMessage {
    return this.#req;
  }
  get headSent(): boolean {
    return this.#res.headersSent;
  }
  get gone(): boolean {
    return this.#res.destroyed;
  }

  // While its head is being handled, Node does not yet call a request without a body complete.
  uploaded(): boolean {
    const req = this.#req;
    return req.complete || (req.headers['transfer-encoding'] === undefined && Number(req.headers['content-length'] ?? 0) === 0);
  }
  complete(): boolean {
    return this.#req.complete;
  }
  trailers(): readonly string[] {
    return this.#req.rawTrailers;
  }

  goOn(): void {
    if (!this.#expects) return;
    this.#expects = false;
    this.#res.writeContinue();
  }

  interim(status: number, headers: readonly string[]): void {
    // HTTP/1.0 has no interim answers (RFC 9110 §15.2).
    if (status !== 103 || this.#res.headersSent || this.#res.destroyed || this.#req.httpVersion === '1.0') return;
    const links = valuesOf(headers, 'link');
    try {
      if (links.length > 0) this.#res.writeEarlyHints({ link: links });
    } catch {
      // Node takes one link a line. A hint is no reason to end a request.
    }
  }

  head(status: number, headers: readonly string[]): void {
    const res = this.#res;
    res.sendDate = false;
    res.writeHead(status, this.#last || !this.uploaded() ? [...headers, 'connection', 'close'] : (headers as string[]));
    // Head and what came with it go out in one write. A stream may take long to its first byte: its head does not wait for it.
    res.cork();
    this.#corked = true;
    process.nextTick(() => {
      if (res.destroyed || res.writableEnded) return;
      if (!this.#wrote) res.flushHeaders();
      this.#uncork();
    });
  }

  #uncork(): void {
    if (!this.#corked) return;
    this.#corked = false;
    this.#res.uncork();
  }

  write(chunk: Buffer): boolean {
    this.#wrote = true;
    return this.#res.write(chunk);
  }

  onDrain(listener: () => void): void {
    this.#res.once('drain', listener);
  }

  /** If the upload still runs, it is read to its end for a short while first: closing on unread bytes would reset the connection and lose the answer. */
  end(trailers: readonly string[] = []): void {
    const req = this.#req;
    const res = this.#res;
    // What Node gathers in a corked answer in chunks it would write behind the last chunk. Any other goes out whole, in one write.
    if (res.chunkedEncoding) this.#uncork();
    if (trailers.length > 0 && res.chunkedEncoding) res.addTrailers(pairs(trailers));
    if (this.uploaded() || req.destroyed) {
      res.end();
      return;
    }
    let ended = false;
    const end = (): void => {
      if (ended) return;
      ended = true;
      clearTimeout(timer);
      res.end();
    };
    const timer = setTimeout(end, drainFor);
    req.once('end', end);
    req.once('close', end);
    req.on('data', () => undefined);
    req.resume();
  }

  cut(): void {
    this.#res.destroy();
  }

  onClose(listener: () => void): void {
    if (this.#closing) {
      this.#closing.push(listener);
      return;
    }
    const closing = [listener];
    this.#closing = closing;
    this.#res.on('close', () => {
      for (const each of closing.splice(0)) each();
    });
  }

  onHalfClose(listener: () => void): void {
    const { socket } = this.#req;
    if (socket.readableEnded) {
      listener();
      return;
    }
    socket.once('end', listener);
    this.onClose(() => socket.off('end', listener));
  }

  distrust(): void {
    this.#last = true;
    distrusted.add(this.#req.socket);
  }
}

function pairs(flat: readonly string[]): [string, string][] {
  const out: [string, string][] = [];
  for (let i = 0; i + 1 < flat.length; i += 2) out.push([flat[i] ?? '', flat[i + 1] ?? '']);
  return out;
}
