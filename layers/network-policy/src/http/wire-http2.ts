/** One HTTP/2 stream of Node as a wire. */
import { constants } from 'node:http2';
import type { ServerHttp2Stream } from 'node:http2';
import type { Decision } from '@nemoclaw/contract';
import { grpcDenial, isGrpc } from '../protocols/grpc.ts';
import { endedInOrder } from './ended-in-order.ts';
import type { Http2Head } from './http2-head.ts';
import type { Wire } from './wire.ts';

export class Http2Wire implements Wire {
  readonly version = '2';
  readonly fields: Http2Head;
  readonly #stream: ServerHttp2Stream;
  #expects: boolean;
  #whole: boolean;
  #trailers: readonly string[] = [];
  /** The answer has no body, or one of known length: no trailers follow it. */
  #bare = false;
  /** It is one of gRPC: its status comes behind its messages. */
  #grpc = false;
  #out: readonly string[] = [];

  constructor(stream: ServerHttp2Stream, fields: Http2Head, ended: boolean) {
    this.#stream = stream;
    this.fields = fields;
    this.#expects = fields.expects;
    this.#whole = ended;
    stream.on('trailers', (_headers: unknown, _flags: unknown, raw: readonly string[]) => { this.#trailers = raw; });
    if (ended) return;
    const inOrder = endedInOrder(stream);
    stream.once('end', () => { this.#whole = inOrder(); });
  }

  get body(): ServerHttp2Stream {
    return this.#stream;
  }
  get headSent(): boolean {
    return this.#stream.headersSent;
  }
  get gone(): boolean {
    return this.#stream.destroyed || this.#stream.closed;
  }
  uploaded(): boolean {
    return this.#whole;
  }
  complete(): boolean {
    return this.#whole;
  }
  trailers(): readonly string[] {
    return this.#trailers;
  }

  goOn(): void {
    if (!this.#expects || this.gone || this.headSent) return;
    this.#expects = false;
    this.#stream.additionalHeaders({ ':status': 100 });
  }

  interim(status: number, headers: readonly string[]): void {
    if (status === 100 || status === 101 || this.gone || this.headSent) return;
    const fields: Record<string, string | string[]> = {};
    for (let i = 0; i + 1 < headers.length; i += 2) {
      const name = (headers[i] ?? '').toLowerCase();
      if (name === 'link') fields['link'] = [...(fields['link'] ?? []), headers[i + 1] ?? ''];
    }
    this.#stream.additionalHeaders({ ...fields, ':status': status });
  }

  head(status: number, headers: readonly string[], alone = false): void {
    if (this.gone) return;
    const fields = [':status', String(status)];
    let sized = alone || this.fields.method === 'HEAD';
    for (let i = 0; i + 1 < headers.length; i += 2) {
      const name = (headers[i] ?? '').toLowerCase();
      // Some origins say 0, or worse, of an answer that has no body by its status (RFC 9110 §8.6); a client of HTTP/2 takes that for an error.
      if (name === 'content-length' && status === 204) continue;
      if (name === 'content-length') sized = true;
      if (name === 'content-type') this.#grpc = isGrpc(headers[i + 1] ?? '');
      fields.push(name, headers[i + 1] ?? '');
    }
    this.#bare = sized || status === 204 || status === 205 || status === 304;
    if (!this.#bare) this.#stream.once('wantTrailers', () => this.#sendTrailers());
    // The date is the origin's to say.
    const options = { sendDate: false, waitForTrailers: !this.#bare, endStream: alone };
    this.#stream.respond(fields, options);
  }

  write(chunk: Buffer): boolean {
    return this.#stream.writableEnded || this.gone || this.#stream.write(chunk);
  }

  onDrain(listener: () => void): void {
    this.#stream.once('drain', listener);
  }

  end(trailers: readonly string[] = []): void {
    const stream = this.#stream;
    if (this.gone) return;
    this.#out = trailers;
    if (this.#bare) {
      if (stream.writableFinished) this.#unread();
      else stream.once('finish', () => this.#unread());
    }
    if (!stream.writableEnded) stream.end();
    // Without a reader, the end of a body nobody wanted would keep the stream open.
    stream.resume();
  }

  cut(because?: Decision): void {
    if (this.gone) return;
    const stream = this.#stream;
    // To whoever reads: what is not read is not kept for the sake of a reason.
    if (because && this.#grpc && !this.#bare && !stream.writableEnded && !stream.writableNeedDrain) {
      this.end(grpcDenial(403, { rule: because.rules[0]?.id, reason: because.reason, hint: because.hint }).slice(2));
      return;
    }
    // Not `close`: that ends a body without trailers in order before it resets, and a cut answer would look whole.
    stream.destroy(new Error('the answer was cut'));
  }

  onClose(listener: () => void): void {
    this.#stream.once('close', listener);
  }

  /** Streams are framed apart from each other: a bad one says nothing about the next. */
  distrust(): void {}

  #sendTrailers(): void {
    if (this.#stream.destroyed || this.#stream.closed) return;
    const fields: Record<string, string[]> = {};
    for (let i = 0; i + 1 < this.#out.length; i += 2) (fields[(this.#out[i] ?? '').toLowerCase()] ??= []).push(this.#out[i + 1] ?? '');
    try {
      this.#stream.sendTrailers(fields);
    } catch {
      // Nobody else would hear of it: what cannot be sent ends this stream and no other.
      this.cut();
      return;
    }
    // Node sends them in the next turn.
    setImmediate(() => setImmediate(() => this.#unread()));
  }

  /** A client that still uploads is told that nobody reads it: RST_STREAM with NO_ERROR (RFC 9113 §8.1). */
  #unread(): void {
    if (!this.#whole && !this.gone) this.#stream.close(constants.NGHTTP2_NO_ERROR);
  }
}
