/** HTTP/2 towards one origin: few sessions, many streams, each dispatched like a request of undici. */
import { connect, constants } from 'node:http2';
import type { ClientHttp2Session, ClientHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { leaveBody } from '../body/outgoing-body.ts';
import type { OutgoingBody } from '../body/outgoing-body.ts';
import { mostInterim } from '../http/answer-reader.ts';
import { endedInOrder } from '../http/ended-in-order.ts';
import { checkField, checkTarget } from '../http/field-lines.ts';
import { isStreamed } from '../http/streamed.ts';

export interface Http2Request {
  readonly method: string;
  readonly path: string;
  /** Name, value, name, value…; `host` becomes `:authority`. */
  readonly headers: readonly string[];
  readonly body: Buffer | OutgoingBody | null;
  /** The fields after the body, once it ended. */
  readonly trailers: () => readonly string[];
}

export interface Http2PoolOptions {
  readonly tls: boolean;
  readonly authority: string;
  /** A connection that speaks HTTP/2; undefined where the origin does not any more. */
  readonly connect: () => Promise<Socket | undefined>;
  /** The origin said so of a request that it did not process. */
  readonly http1Only?: () => void;
  /** Sends by HTTP/1.1 what the origin did not take by HTTP/2; nothing of it was processed. */
  readonly instead?: (request: Http2Request, handler: Dispatcher.DispatchHandler) => void;
  readonly sessions: number;
  /** ms without a stream until a session is closed; and in which nothing may come or go on one while an answer is waited for, or for the rest of one. */
  readonly idleMs: number;
  readonly answerMs: number;
}

const streamsWanted = 100;
// Bytes that may be under way, and so wait in memory for a client that does not read: of a far origin, no more than so many come in one round trip.
const streamWindow = 1 << 20;
/** A list may stand on several lines (RFC 9110 §5.3), also where Node sends one only; not in its types yet. */
const asWritten = { strictSingleValueFields: false };
const connectionWindow = 4 << 20;
/** Bytes of a held body that are given to a stream at once: what waits in one for its origin counts towards `maxSessionMemory` of all. */
const uploadPiece = 16 << 10;
/** Behind its whole answer the rest of a request may still go where all of it is here: for so many ms without a byte, and of an origin's requests together so many bytes. */
const restMs = 10_000;
const mostRest = 4 << 20;
/** Requests of a session that end unsent: Node (24) counts what they had written towards `maxSessionMemory` for ever, so that it would refuse all at last. */
const mostUnsent = 64;

export class Http2Pool {
  readonly #options: Http2PoolOptions;
  readonly #sessions = new Map<ClientHttp2Session, { open: number; unsent: number }>();
  #connecting: Promise<ClientHttp2Session | undefined> | undefined;
  #closed = false;
  #rest = 0;

  constructor(options: Http2PoolOptions) {
    this.#options = options;
  }

  get busy(): boolean {
    return this.#connecting !== undefined || [...this.#sessions.values()].some(({ open }) => open > 0);
  }

  /** Takes over a socket that is connected already. */
  adopt(socket: Socket): void {
    this.#session(socket);
  }

  /** Never throws; failures go to `handler`. */
  dispatch(request: Http2Request, handler: Dispatcher.DispatchHandler): void {
    const controller = new Controller();
    handler.onRequestStart?.(controller, {});
    void this.#send(request, handler, controller, true);
  }

  /** No new streams; those that run may end. */
  close(): void {
    this.#closed = true;
    for (const session of this.#sessions.keys()) session.close();
  }

  destroy(): void {
    this.#closed = true;
    for (const session of this.#sessions.keys()) session.destroy();
  }

  async #send(request: Http2Request, handler: Dispatcher.DispatchHandler, controller: Controller, again: boolean): Promise<void> {
    let session: ClientHttp2Session | undefined;
    try {
      session = this.#free() ?? (await (this.#connecting ??= this.#open()));
      // Many may have waited for the same session.
      if (session && this.#full(session)) session = this.#free() ?? session;
    } catch (error) {
      fail(request, handler, controller, error instanceof Error ? error : new Error('no connection'));
      return;
    }
    if (controller.aborted) {
      fail(request, handler, controller, controller.reason ?? new Error('ended before it was sent'));
      return;
    }
    if (!session) {
      this.#instead(request, handler, controller);
      return;
    }
    const state = this.#sessions.get(session);
    if (!state || session.destroyed || session.closed) {
      if (again && !this.#closed) void this.#send(request, handler, controller, false);
      else fail(request, handler, controller, new Error('the connection was closed'));
      return;
    }
    let stream: ClientHttp2Stream;
    try {
      stream = session.request(this.#head(request), { endStream: request.body === null, waitForTrailers: request.body !== null });
    } catch (error) {
      fail(request, handler, controller, error instanceof Error ? error : new Error('the request could not be made'));
      return;
    }
    state.open += 1;
    stream.once('close', () => {
      state.open -= 1;
      if (request.body === null || stream.writableFinished) return;
      state.unsent += 1;
      if (state.unsent === mostUnsent) session.close();
    });
    // What the origin refused unprocessed may be sent once more, if its body can be.
    const sentAgain = (code: number): boolean => {
      const http1Only = code === constants.NGHTTP2_HTTP_1_1_REQUIRED;
      if (http1Only) this.#options.http1Only?.();
      if (!again || (request.body && !Buffer.isBuffer(request.body))) return false;
      if (http1Only) this.#instead(request, handler, controller);
      else void this.#send(request, handler, controller, false);
      return true;
    };
    carry(stream, request, handler, controller, sentAgain, this.#options.answerMs, (bytes) => this.#mayRest(stream, bytes));
  }

  #mayRest(stream: ClientHttp2Stream, bytes: number): boolean {
    if (this.#rest + bytes > mostRest) return false;
    this.#rest += bytes;
    stream.once('close', () => { this.#rest -= bytes; });
    return true;
  }

  #instead(request: Http2Request, handler: Dispatcher.DispatchHandler, controller: Controller): void {
    const { instead } = this.#options;
    if (instead) instead(request, handler);
    else fail(request, handler, controller, new Error('the origin does not speak HTTP/2'));
  }

  #head({ method, path, headers }: Http2Request): string[] {
    checkTarget(path);
    const out = [':method', method, ':scheme', this.#options.tls ? 'https' : 'http', ':authority', this.#options.authority, ':path', path, 'te', 'trailers'];
    for (let i = 0; i + 1 < headers.length; i += 2) {
      const name = (headers[i] ?? '').toLowerCase();
      if (name === 'host') continue;
      checkField(name, headers[i + 1] ?? '');
      out.push(name, headers[i + 1] ?? '');
    }
    return out;
  }

  #full(session: ClientHttp2Session): boolean {
    return session.closed || session.destroyed || (this.#sessions.get(session)?.open ?? 0) >= Math.min(streamsWanted, session.remoteSettings.maxConcurrentStreams ?? streamsWanted);
  }

  /** A session with room; beyond the most sessions, the emptiest takes more and the protocol queues it. */
  #free(): ClientHttp2Session | undefined {
    let emptiest: ClientHttp2Session | undefined;
    for (const [session, { open }] of this.#sessions) {
      if (session.closed || session.destroyed) continue;
      if (!this.#full(session)) return session;
      if (!emptiest || open < (this.#sessions.get(emptiest)?.open ?? 0)) emptiest = session;
    }
    return this.#sessions.size >= this.#options.sessions ? emptiest : undefined;
  }

  async #open(): Promise<ClientHttp2Session | undefined> {
    try {
      const socket = await this.#options.connect();
      return socket && this.#session(socket);
    } finally {
      this.#connecting = undefined;
    }
  }

  #session(socket: Socket): ClientHttp2Session {
    const { tls, authority, idleMs } = this.#options;
    const session = connect(`${tls ? 'https' : 'http'}://${authority}`, { createConnection: () => socket, settings: { enablePush: false, initialWindowSize: streamWindow, maxHeaderListSize: 64 * 1024 }, maxHeaderListPairs: 2048, maxSessionMemory: 16, ...asWritten });
    const state = { open: 0, unsent: 0 };
    this.#sessions.set(session, state);
    session.on('error', () => undefined);
    session.once('connect', () => session.setLocalWindowSize(connectionWindow));
    session.once('goaway', () => session.close());
    session.once('close', () => {
      this.#sessions.delete(session);
      socket.destroy();
    });
    // Many requests share it: one that is dead must not keep them all for as long as an answer may take.
    let asked = false;
    session.setTimeout(idleMs);
    session.on('timeout', () => {
      if (state.open === 0) session.close();
      else if (asked) session.destroy(new Error('nothing comes from the origin any more'));
      else {
        asked = session.ping(() => { asked = false; });
        session.setTimeout(idleMs);
      }
    });
    if (this.#closed) session.destroy();
    return session;
  }
}

/** What undici gives its handlers, for a stream. */
class Controller implements Dispatcher.DispatchController {
  rawHeaders: string[] | null = null;
  rawTrailers: string[] | null = null;
  stream: ClientHttp2Stream | undefined;
  paused = false;
  reason: Error | null = null;
  settled = false;
  get aborted(): boolean {
    return this.reason !== null;
  }
  abort(reason: Error): void {
    this.reason ??= reason;
    if (this.stream) reset(this.stream, constants.NGHTTP2_CANCEL);
  }
  pause(): void {
    this.paused = true;
    this.stream?.pause();
  }
  resume(): void {
    this.paused = false;
    this.stream?.resume();
  }
}

/** What resets a stream that the origin did nothing with. */
const unprocessed: ReadonlySet<number> = new Set([constants.NGHTTP2_REFUSED_STREAM, constants.NGHTTP2_HTTP_1_1_REQUIRED]);

/** One stream from its head to its end. */
function carry(stream: ClientHttp2Stream, request: Http2Request, handler: Dispatcher.DispatchHandler, controller: Controller, sentAgain: (code: number) => boolean, answerMs: number, mayRest: (bytes: number) => boolean): void {
  controller.stream = stream;
  let failure: Error | undefined;
  let started = false;
  const ended = endedInOrder(stream);
  stream.setTimeout(answerMs);
  // An origin may stop the rest of a request with a reset behind its whole answer (RFC 9113 §8.1), which may wait here for its reader.
  stream.once('aborted', () => { if (ended()) leaveBody(request.body); });
  stream.on('timeout', () => {
    const awaited = started ? (controller.rawHeaders ?? []) : request.headers;
    if (controller.settled) {
      controller.abort(new Error('the origin did not read the rest'));
      return;
    }
    // It is the client that is waited for, or something to happen: a stream of messages may begin with the first of them.
    if (controller.paused || (!stream.writableEnded && !stream.writableNeedDrain) || isStreamed(awaited)) stream.setTimeout(answerMs);
    else controller.abort(new Error(started ? 'the origin stopped in the middle of its answer' : 'the origin did not answer in time'));
  });
  const answered = (status: number, raw: readonly string[]): void => {
    // What was read in the same turn is still told.
    if (controller.aborted) return;
    controller.rawHeaders = withoutPseudo(raw);
    handler.onResponseStart?.(controller, status, {});
  };
  let interim = 0;
  stream.on('headers', (headers, _flags, raw) => {
    interim += 1;
    if (interim <= mostInterim) answered(Number(headers[':status']), raw);
    else controller.abort(new Error('the origin sent too many interim answers'));
  });
  stream.once('response', (headers, _flags, raw) => {
    started = true;
    answered(Number(headers[':status']), raw);
    // Node tells of a head a little after it was read: whoever listened before would get bytes before the head that says how to look at them.
    stream.on('data', (chunk: Buffer) => {
      if (!controller.aborted) handler.onResponseData?.(controller, chunk);
    });
  });
  stream.on('trailers', (_headers: unknown, _flags: unknown, raw: readonly string[]) => { controller.rawTrailers = withoutPseudo(raw); });
  stream.once('end', () => {
    if (!started || stream.rstCode !== constants.NGHTTP2_NO_ERROR || (stream.aborted && !ended()) || controller.aborted || controller.settled) return;
    controller.settled = true;
    handler.onResponseEnd?.(controller, {});
    leaveBody(request.body);
    if (stream.writableFinished) return;
    const rest = Buffer.isBuffer(request.body) ? request.body.length : stream.writableEnded ? stream.writableLength : Infinity;
    // Behind the end of what is written Node would wait without end for an origin that does not read, were it asked to close in order.
    if (mayRest(rest)) stream.setTimeout(Math.min(restMs, answerMs));
    else reset(stream, stream.writableEnded ? constants.NGHTTP2_CANCEL : constants.NGHTTP2_NO_ERROR);
  });
  stream.on('error', (error) => { failure ??= error; });
  stream.once('close', () => {
    if (controller.settled) return;
    const code = stream.rstCode ?? constants.NGHTTP2_CANCEL;
    if (unprocessed.has(code) && !started && !controller.aborted && sentAgain(code)) return;
    fail(request, handler, controller, controller.reason ?? failure ?? new Error(`the stream was reset (${stream.rstCode ?? 'no code'})`));
  });
  const { body } = request;
  if (body === null) return;
  stream.once('wantTrailers', () => {
    // Without them it has no end in order.
    if (stream.closed || stream.destroyed || controller.aborted) return;
    try {
      stream.sendTrailers(grouped(request.trailers()));
    } catch (error) {
      controller.abort(error instanceof Error ? error : new Error('the trailers could not be sent'));
    }
  });
  if (Buffer.isBuffer(body)) Readable.from(pieces(body), { objectMode: false, highWaterMark: uploadPiece }).pipe(stream);
  else {
    body.once('error', (error) => controller.abort(error));
    body.pipe(stream);
  }
}

function* pieces(body: Buffer): Generator<Buffer> {
  for (let at = 0; at < body.length; at += uploadPiece) yield body.subarray(at, at + uploadPiece);
}

/** In a turn of its own: where a request that has bytes and trailers yet to come is reset while its session reads, Node (24) sends empty frames without end, until it has no memory left. */
function reset(stream: ClientHttp2Stream, code: number): void {
  setImmediate(() => {
    if (!stream.closed && !stream.destroyed) stream.close(code);
  });
}

function fail(request: Http2Request, handler: Dispatcher.DispatchHandler, controller: Controller, error: Error): void {
  if (controller.settled) return;
  controller.settled = true;
  leaveBody(request.body);
  handler.onResponseError?.(controller, error);
}

function withoutPseudo(raw: readonly string[]): string[] {
  const out: string[] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) if (raw[i]?.[0] !== ':') out.push(raw[i] ?? '', raw[i + 1] ?? '');
  return out;
}

function grouped(flat: readonly string[]): Record<string, string[]> {
  const out: Record<string, string[]> = {};
  for (let i = 0; i + 1 < flat.length; i += 2) (out[(flat[i] ?? '').toLowerCase()] ??= []).push(flat[i + 1] ?? '');
  return out;
}
