/** Clients of the benchmark table: one connection each, one request at a time, every byte of every answer compared with what it has to be. */
import { connect as connectHttp2 } from 'node:http2';
import type { ClientHttp2Session } from 'node:http2';
import type { TLSSocket } from 'node:tls';
import { content } from './bench-files.ts';

export type Version = 'http1' | 'http2';

export interface Client {
  /** Resolves with ms from the first byte sent to the last received; rejects unless the answer is 200 with exactly the first `size` bytes. */
  get(size: number): Promise<number>;
  close(): void;
}

let asked = 0;
/** A thousand different paths. */
const pathOf = (size: number): string => `/v1/bytes/${size}/${(asked += 1) % 1000}`;

/** Over a connection on which TLS is done. */
export function clientOf(version: Version, socket: TLSSocket, host: string): Client {
  return version === 'http1' ? new Http1Client(socket, host) : new Http2Client(socket, host);
}

class Http1Client implements Client {
  readonly #socket: TLSSocket;
  readonly #host: string;
  #waiting: { readonly size: number; readonly sent: number; readonly resolve: (ms: number) => void; readonly reject: (error: Error) => void } | undefined;
  #head: Buffer | undefined;
  /** Bytes of the body that came; -1: the head is not whole. */
  #got = -1;

  constructor(socket: TLSSocket, host: string) {
    this.#socket = socket;
    this.#host = host;
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('error', (error) => this.#fail(error));
    socket.on('close', () => this.#fail(new Error('the connection was closed')));
  }

  get(size: number): Promise<number> {
    this.#head = undefined;
    this.#got = -1;
    return new Promise((resolve, reject) => {
      if (this.#socket.destroyed) {
        reject(new Error('the connection is closed'));
        return;
      }
      this.#waiting = { size, sent: performance.now(), resolve, reject };
      this.#socket.write(`GET ${pathOf(size)} HTTP/1.1\r\nHost: ${this.#host}\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n`);
    });
  }

  close(): void {
    this.#waiting = undefined;
    this.#socket.destroy();
  }

  #take(chunk: Buffer): void {
    const waiting = this.#waiting;
    if (!waiting) return;
    let body = chunk;
    if (this.#got < 0) {
      const whole = this.#head ? Buffer.concat([this.#head, chunk]) : chunk;
      const end = whole.indexOf('\r\n\r\n');
      if (end < 0) {
        this.#head = whole;
        return;
      }
      const head = whole.toString('latin1', 0, end + 2);
      const length = /\r\ncontent-length: *(\d+)\r\n/i.exec(head)?.[1];
      if (!/^HTTP\/1\.[01] 200 /.test(head) || Number(length) !== waiting.size) {
        this.#fail(new Error(`a wrong answer: ${head.slice(0, 300)}`));
        return;
      }
      this.#got = 0;
      body = whole.subarray(end + 4);
    }
    if (this.#got + body.length > waiting.size || !same(body, this.#got)) {
      this.#fail(new Error('wrong bytes in the answer'));
      return;
    }
    this.#got += body.length;
    if (this.#got < waiting.size) return;
    this.#waiting = undefined;
    waiting.resolve(performance.now() - waiting.sent);
  }

  #fail(error: Error): void {
    this.#waiting?.reject(error);
    this.#waiting = undefined;
    this.#socket.destroy();
  }
}

class Http2Client implements Client {
  readonly #session: ClientHttp2Session;
  readonly #host: string;

  constructor(socket: TLSSocket, host: string) {
    this.#host = host;
    this.#session = connectHttp2(`https://${host}`, { createConnection: () => socket });
    this.#session.on('error', () => undefined);
  }

  get(size: number): Promise<number> {
    const sent = performance.now();
    return new Promise((resolve, reject) => {
      const stream = this.#session.request({ ':path': pathOf(size), ':authority': this.#host, 'user-agent': 'bench', accept: '*/*' }, { endStream: true });
      let got = 0;
      let status = 0;
      stream.on('response', (headers) => { status = headers[':status'] ?? 0; });
      stream.on('data', (chunk: Buffer) => {
        if (got + chunk.length > size || !same(chunk, got)) stream.destroy(new Error('wrong bytes in the answer'));
        got += chunk.length;
      });
      stream.on('error', reject);
      stream.on('close', () => {
        if (status === 200 && got === size) resolve(performance.now() - sent);
        else reject(new Error(`an answer with status ${status} and ${got} of ${size} bytes`));
      });
    });
  }

  close(): void {
    this.#session.destroy();
  }
}

const same = (chunk: Buffer, from: number): boolean => content.compare(chunk, 0, chunk.length, from, from + chunk.length) === 0;
