/** The agent's end of one model call: a stream that is kept alive, or one whole answer. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Answer, AnswerWriter, ToolCall } from './dialect.ts';

export interface Listener {
  readonly streams: boolean;
  /** True once the agent hung up or has its answer. */
  readonly closed: boolean;
  /** The provider has begun to answer. */
  begin(): void;
  /** Sends the answer's deltas up to `count`, all by default. False: the agent reads slowly, wait for `whenDrained`. */
  advance(answer: Answer, count?: number): boolean;
  whenDrained(then: () => void): void;
  notice(text: string): void;
  deliver(answer: Answer, calls: readonly ToolCall[]): void;
  fail(status: number, message: string, code: string, headers?: Readonly<Record<string, string>>): void;
  /** Called once if the agent hangs up before it has its answer. */
  onGone(then: () => void): void;
}

/** Ends `res` with a JSON error in the shape OpenAI clients show. */
export function sendError(res: ServerResponse, status: number, message: string, code: string, headers: Readonly<Record<string, string>> = {}): void {
  sendJson(res, status, JSON.stringify({ error: { message, type: 'upstream_error', code } }), headers);
}

/** Ends `res` with this JSON text. */
export function sendJson(res: ServerResponse, status: number, body: string, headers: Readonly<Record<string, string>> = {}): void {
  if (res.headersSent || res.destroyed) {
    res.end();
    return;
  }
  res.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body), ...headers });
  res.end(body);
}

abstract class Base {
  protected readonly res: ServerResponse;
  protected finished = false;
  #gone = false;
  #onGone: (() => void) | undefined;

  constructor(req: IncomingMessage, res: ServerResponse) {
    this.res = res;
    const gone = (): void => {
      if (this.finished || this.#gone) return;
      this.#gone = true;
      this.release();
      this.#onGone?.();
    };
    res.on('close', gone);
    res.on('error', gone);
    if (req.destroyed && !req.complete) gone();
  }

  get closed(): boolean {
    return this.finished || this.#gone;
  }
  onGone(then: () => void): void {
    this.#onGone = then;
    if (this.#gone) then();
  }
  protected release(): void {}
}

export class StreamListener extends Base implements Listener {
  readonly streams = true;
  readonly #writer: AnswerWriter;
  #sent = 0;
  /** Fires after every `keepAliveMs` of silence: in a hold, while a call is taken in, while a slow model thinks. */
  readonly #pulse: NodeJS.Timeout;

  constructor(req: IncomingMessage, res: ServerResponse, writer: AnswerWriter, keepAliveMs: number) {
    super(req, res);
    this.#writer = writer;
    this.#pulse = setInterval(() => {
      if (this.closed) return;
      if (this.res.headersSent) this.#write(this.#writer.keepAlive());
      else this.begin();
    }, keepAliveMs);
    if (this.closed) this.release();
  }

  begin(): void {
    if (this.closed || this.res.headersSent) return;
    this.res.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' });
    this.#write(this.#writer.start());
  }

  advance(answer: Answer, count = answer.deltas.length): boolean {
    if (this.#sent >= count) return true;
    this.begin();
    let out = '';
    for (; this.#sent < count; this.#sent++) {
      const delta = answer.deltas[this.#sent];
      if (delta) out += this.#writer.delta(delta);
    }
    return this.#write(out);
  }

  whenDrained(then: () => void): void {
    this.res.once('drain', then);
  }

  notice(text: string): void {
    this.begin();
    this.#write(this.#writer.text(text));
  }

  deliver(answer: Answer, calls: readonly ToolCall[]): void {
    this.begin();
    this.advance(answer);
    if (this.closed) return;
    this.#end(this.#writer.calls(calls) + this.#writer.finish(this.#writer.reason(calls.length > 0)));
  }

  fail(status: number, message: string, code: string, headers?: Readonly<Record<string, string>>): void {
    if (this.closed) return;
    if (this.res.headersSent) this.#end(this.#writer.error(message, code));
    else {
      this.finished = true;
      this.release();
      sendError(this.res, status, message, code, headers);
    }
  }

  protected override release(): void {
    clearInterval(this.#pulse);
  }

  #write(text: string): boolean {
    if (this.closed) return true;
    this.#pulse.refresh();
    return this.res.write(text);
  }

  #end(text: string): void {
    this.finished = true;
    this.release();
    this.res.end(text);
  }
}

export class WholeListener extends Base implements Listener {
  readonly streams = false;
  readonly #writer: AnswerWriter;

  constructor(req: IncomingMessage, res: ServerResponse, writer: AnswerWriter) {
    super(req, res);
    this.#writer = writer;
  }
  begin(): void {}
  advance(): boolean {
    return true;
  }
  whenDrained(then: () => void): void {
    then();
  }
  notice(): void {}

  deliver(_answer: Answer, calls: readonly ToolCall[]): void {
    if (this.closed) return;
    this.finished = true;
    sendJson(this.res, 200, this.#writer.whole(calls, this.#writer.reason(calls.length > 0)));
  }

  fail(status: number, message: string, code: string, headers?: Readonly<Record<string, string>>): void {
    if (this.closed) return;
    this.finished = true;
    sendError(this.res, status, message, code, headers);
  }
}
