/** HTTP/1.1 towards one origin: kept connections, one request at a time on each, told to the handlers of undici's kind that HTTP/2 has too. */
import type { Socket } from 'node:net';
import type { Dispatcher } from 'undici';
import { AnswerReader } from '../http/answer-reader.ts';
import type { AnswerEvents } from '../http/answer-reader.ts';
import { checkTarget, fieldLine } from '../http/field-lines.ts';
import { isStreamed } from '../http/streamed.ts';
import { leaveBody } from '../body/outgoing-body.ts';
import type { OutgoingBody } from '../body/outgoing-body.ts';
import { hearLastWords } from './last-words.ts';

export interface Http1Request {
  readonly method: string;
  readonly path: string;
  /** Name, value, name, value… */
  readonly headers: readonly string[];
  readonly body: Buffer | OutgoingBody | null;
}

export interface Http1PoolOptions {
  readonly connect: () => Promise<Socket>;
  readonly connections: number;
  /** ms without a request until a connection is closed; and in which nothing may come or go while an answer is waited for, or for the rest of one. */
  readonly idleMs: number;
  readonly answerMs: number;
}

/** An origin that says how long it keeps a connection may close it that much earlier. */
const keepMargin = 2000;
const closedAtOnce = (): Error => new Error('the origin closed the connection at once');
const expectsBody = new Set(['POST', 'PUT', 'PATCH']);
/** Connections that may close before a request is sent on them, until it fails. */
const mostTries = 64;
/** Bytes of a body that are copied to go out in one write with the head. */
const joined = 16 * 1024;

export class Http1Pool {
  readonly #options: Http1PoolOptions;
  readonly #all = new Set<Connection>();
  readonly #idle: Connection[] = [];
  /** Those that no connection was free for. */
  readonly #waiting = new Set<Call>();
  #connecting = 0;
  #closed = false;

  constructor(options: Http1PoolOptions) {
    this.#options = options;
  }

  /** Requests that wait for a connection. */
  get waiting(): number {
    return this.#waiting.size;
  }
  get busy(): boolean {
    return this.#connecting > 0 || this.#waiting.size > 0 || this.#all.size > this.#idle.length;
  }

  /** Takes over a socket that is connected already. */
  adopt(socket: Socket): void {
    const connection = this.#made(socket);
    if (connection.usable) this.#add(connection);
  }

  /** Never throws; failures go to `handler`. */
  dispatch(request: Http1Request, handler: Dispatcher.DispatchHandler): void {
    const call: Call = new Call(request, handler, () => this.#waiting.delete(call));
    handler.onRequestStart?.(call, {});
    this.#place(call);
  }

  /** No new requests; those that run may end. */
  close(): void {
    this.#closed = true;
    for (const connection of this.#idle.splice(0)) connection.destroy();
  }

  destroy(): void {
    this.#closed = true;
    for (const call of [...this.#waiting]) call.fail(new Error('the connections to this origin were closed'));
    for (const connection of this.#all) connection.destroy();
  }

  #place(call: Call): void {
    if (call.settled) return;
    const connection = this.#idle.pop();
    if (connection) this.#start(connection, call);
    else {
      this.#waiting.add(call);
      if (this.#connecting < this.#waiting.size) this.#connect();
    }
  }

  /** What the origin sent unasked is read before anything is asked of it, so that it is not taken for the answer. */
  #start(connection: Connection, call: Call): void {
    setImmediate(() => {
      call.tries += 1;
      if (!connection.usable && call.tries > mostTries) call.fail(closedAtOnce());
      else if (!connection.usable) this.#place(call);
      else if (call.settled) this.#free(connection);
      else connection.run(call);
    });
  }

  #connect(): void {
    if (this.#all.size + this.#connecting >= this.#options.connections) return;
    this.#connecting += 1;
    this.#options.connect().then((socket) => {
      const connection = this.#made(socket);
      if (!connection.usable) throw closedAtOnce();
      return connection;
    }).then((connection) => {
      this.#connecting -= 1;
      this.#add(connection);
    }, (error: unknown) => {
      this.#connecting -= 1;
      this.#next()?.fail(error instanceof Error ? error : new Error(String(error)));
      if (this.#connecting < this.#waiting.size) this.#connect();
    });
  }

  #made(socket: Socket): Connection {
    return new Connection(socket, this.#options, (one) => this.#free(one), (one) => this.#gone(one));
  }

  #add(connection: Connection): void {
    this.#all.add(connection);
    this.#free(connection);
  }

  #free(connection: Connection): void {
    if (!connection.usable) return;
    const call = this.#next();
    if (call) this.#start(connection, call);
    else if (this.#closed) connection.destroy();
    else this.#idle.push(connection);
  }

  /** One that still waits. */
  #next(): Call | undefined {
    const [call] = this.#waiting;
    if (call) this.#waiting.delete(call);
    return call;
  }

  #gone(connection: Connection): void {
    this.#all.delete(connection);
    const at = this.#idle.indexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
    if (this.#connecting < this.#waiting.size) this.#connect();
  }
}

/** One request and its answer; what its handler steers by. */
class Call implements Dispatcher.DispatchController {
  readonly request: Http1Request;
  readonly handler: Dispatcher.DispatchHandler;
  rawHeaders: string[] | null = null;
  rawTrailers: string[] | null = null;
  paused = false;
  reason: Error | null = null;
  settled = false;
  connection: Connection | undefined;
  /** Connections that it was to go out on. */
  tries = 0;
  readonly #settled: () => void;

  constructor(request: Http1Request, handler: Dispatcher.DispatchHandler, settled: () => void) {
    this.#settled = settled;
    this.request = request;
    this.handler = handler;
  }
  get aborted(): boolean {
    return this.reason !== null;
  }
  abort(reason: Error): void {
    this.reason ??= reason;
    const { connection } = this;
    this.fail(reason);
    connection?.destroy();
  }
  pause(): void {
    this.paused = true;
    this.connection?.pause();
  }
  resume(): void {
    this.paused = false;
    this.connection?.resume();
  }

  fail(error: Error): void {
    if (!this.#settle()) return;
    this.handler.onResponseError?.(this, error);
  }
  end(trailers: string[]): void {
    if (!this.#settle()) return;
    this.rawTrailers = trailers;
    this.handler.onResponseEnd?.(this, {});
  }
  #settle(): boolean {
    if (this.settled) return false;
    this.settled = true;
    this.connection = undefined;
    this.#settled();
    leaveBody(this.request.body);
    return true;
  }
}

class Connection implements AnswerEvents {
  readonly #socket: Socket;
  readonly #options: Http1PoolOptions;
  readonly #free: (connection: Connection) => void;
  #call: Call | undefined;
  #reader: AnswerReader | undefined;
  /** The body of the request is not out yet. */
  #uploading = false;
  #failure: Error | undefined;
  /** The origin says nothing more. */
  #closed = false;
  #idleMs: number;

  constructor(socket: Socket, options: Http1PoolOptions, free: (connection: Connection) => void, gone: (connection: Connection) => void) {
    this.#socket = socket;
    this.#options = options;
    this.#free = free;
    this.#idleMs = options.idleMs;
    hearLastWords(socket, () => this.#uploading && this.#call !== undefined, this.#data, this.#ended);
    socket.setTimeout(this.#idleMs);
    socket.on('timeout', this.#quiet);
    socket.on('error', (error) => { this.#failure ??= error; });
    socket.on('data', this.#data);
    socket.once('end', this.#ended);
    socket.once('close', () => {
      this.#ended();
      gone(this);
    });
  }

  get usable(): boolean {
    return !this.#closed && this.#socket.writable && this.#call === undefined;
  }
  pause(): void {
    this.#reader?.hold();
    this.#socket.pause();
  }
  resume(): void {
    this.#socket.resume();
    try {
      this.#reader?.goOn();
    } catch (error) {
      this.#broken(error);
    }
    if (this.#closed) this.#ended();
  }
  destroy(): void {
    this.#socket.destroy();
  }

  run(call: Call): void {
    this.#call = call;
    this.#reader = new AnswerReader(call.request.method, this);
    call.connection = this;
    try {
      this.#send(call);
    } catch (error) {
      this.#broken(error);
    }
  }

  head(status: number, fields: string[]): void {
    const call = this.#call;
    // What the origin may say at any time is nothing that anybody waits for.
    if (!call || call.settled || status === 100) return;
    call.rawHeaders = fields;
    call.handler.onResponseStart?.(call, status, {});
  }
  data(bytes: Buffer): void {
    const call = this.#call;
    if (call && !call.settled) call.handler.onResponseData?.(call, bytes);
  }
  end(trailers: string[]): void {
    const call = this.#call;
    const reader = this.#reader;
    this.#call = undefined;
    const { keepMs = this.#options.idleMs + keepMargin } = reader ?? {};
    const idleMs = Math.min(this.#options.idleMs, keepMs - keepMargin);
    const kept = reader?.reusable === true && !this.#uploading && idleMs > 0;
    call?.end(trailers);
    if (!kept) this.#socket.destroy();
    else {
      if (call?.paused) this.#socket.resume();
      if (idleMs !== this.#idleMs) this.#socket.setTimeout((this.#idleMs = idleMs));
      this.#free(this);
    }
  }

  readonly #data = (bytes: Buffer): void => {
    const reader = this.#reader;
    // Nothing was asked.
    if (!reader || reader.done) {
      this.#socket.destroy();
      return;
    }
    try {
      reader.push(bytes);
    } catch (error) {
      this.#broken(error);
    }
  };

  readonly #ended = (): void => {
    const reader = this.#reader;
    this.#closed = true;
    // Its handler has not heard all of what came before.
    if (this.#call?.paused === true && !this.#failure) return;
    if (this.#call && reader) {
      try {
        if (this.#failure) throw this.#failure;
        reader.close();
      } catch (error) {
        this.#broken(error);
      }
    }
    this.#socket.destroy();
  };

  /** Nothing has come or gone for long. */
  readonly #quiet = (): void => {
    const call = this.#call;
    const answering = this.#reader?.answering === true;
    if (!call) this.#socket.destroy();
    // It is the client that is waited for, or something to happen.
    else if (call.paused || (this.#uploading && !this.#socket.writableNeedDrain) || (answering && isStreamed(call.rawHeaders ?? []))) this.#socket.setTimeout(this.#idleMs);
    else if (this.#idleMs === this.#options.answerMs) this.#broken(new Error(answering ? 'the origin stopped in the middle of its answer' : 'the origin did not answer in time'));
    else this.#socket.setTimeout((this.#idleMs = this.#options.answerMs));
  };

  #broken(thrown: unknown): void {
    const error = thrown instanceof Error ? thrown : new Error('the answer could not be read');
    const call = this.#call;
    this.#call = undefined;
    this.#socket.destroy();
    call?.fail(error);
  }

  #send(call: Call): void {
    const { method, path, headers, body } = call.request;
    checkTarget(path);
    let text = `${method} ${path} HTTP/1.1\r\n`;
    let said: number | undefined;
    for (let i = 0; i + 1 < headers.length; i += 2) {
      const name = headers[i] ?? '';
      const value = headers[i + 1] ?? '';
      if (name.length === 14 && name.toLowerCase() === 'content-length') said = Number(value);
      else text += fieldLine(name, value);
    }
    text += 'connection: keep-alive\r\n';
    if (body === null || Buffer.isBuffer(body)) {
      const length = body?.length ?? 0;
      text += length > 0 || expectsBody.has(method) ? `content-length: ${length}\r\n\r\n` : '\r\n';
      if (!body || length === 0) this.#socket.write(text, 'latin1');
      else if (length <= joined) this.#socket.write(Buffer.concat([Buffer.from(text, 'latin1'), body]));
      else {
        this.#socket.cork();
        this.#socket.write(text, 'latin1');
        this.#socket.write(body);
        this.#socket.uncork();
      }
      return;
    }
    this.#socket.write(`${text}${said === undefined ? 'transfer-encoding: chunked' : `content-length: ${said}`}\r\n\r\n`, 'latin1');
    this.#upload(call, body, said);
  }

  /** Follows the pace of the origin. */
  #upload(call: Call, body: OutgoingBody, length: number | undefined): void {
    const socket = this.#socket;
    let sent = 0;
    this.#uploading = true;
    const drained = (): void => void body.resume();
    const stop = (): void => {
      socket.off('drain', drained);
      body.off('data', next);
      body.off('end', whole);
      body.off('error', failed);
      body.off('close', closed);
      body.on('error', () => undefined);
    };
    const failed = (error: Error): void => {
      stop();
      call.abort(error);
    };
    const closed = (): void => failed(new Error('the body of the request ended early'));
    const next = (chunk: Buffer): void => {
      // As a chunk it would be the end of the request, and what follows another one.
      if (chunk.length === 0) return;
      sent += chunk.length;
      if (length !== undefined && sent > length) {
        failed(new Error('the body of the request is longer than it says'));
        return;
      }
      if (length === undefined) {
        socket.cork();
        socket.write(`${chunk.length.toString(16)}\r\n`, 'latin1');
        socket.write(chunk);
      }
      const room = length === undefined ? socket.write('\r\n', 'latin1') : socket.write(chunk);
      if (length === undefined) socket.uncork();
      if (!room) body.pause();
    };
    const whole = (): void => {
      if (length !== undefined && sent !== length) {
        failed(new Error('the body of the request is shorter than it says'));
        return;
      }
      stop();
      this.#uploading = false;
      if (length === undefined) socket.write('0\r\n\r\n', 'latin1');
    };
    socket.on('drain', drained);
    body.on('data', next);
    body.once('end', whole);
    body.once('error', failed);
    body.once('close', closed);
  }
}
