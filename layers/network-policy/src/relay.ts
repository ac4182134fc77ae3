/** Carries one upstream response to the client as it comes: own head, same bytes, same pace. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Dispatcher } from 'undici';
import { endAfterUpload, uploaded } from './answers.ts';
import { maskCredentials } from './credentials.ts';
import type { Credential } from './credentials.ts';

const dropped = new Set(['connection', 'keep-alive', 'proxy-connection', 'proxy-authenticate', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'alt-svc', 'http2-settings']);

export interface RelayEvents {
  started(status: number): void;
  data(bytes: number): void;
  ended(): void;
  /** Before the head went out nothing was sent to the client; after it, its connection is cut. */
  failed(error: Error, headSent: boolean): void;
}

export class Relay implements Dispatcher.DispatchHandler {
  readonly #req: IncomingMessage;
  readonly #res: ServerResponse;
  readonly #masked: readonly Credential[];
  readonly #events: RelayEvents;
  #controller: Dispatcher.DispatchController | undefined;
  #done = false;
  #wrote = false;
  #stopped: Error | undefined;

  constructor(req: IncomingMessage, res: ServerResponse, masked: readonly Credential[], events: RelayEvents) {
    this.#req = req;
    this.#res = res;
    this.#masked = masked;
    this.#events = events;
  }

  /** Ends the upstream request, whatever its state. */
  stop(reason: Error): void {
    this.#stopped = reason;
    if (!this.#done) this.#controller?.abort(reason);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#stopped) controller.abort(this.#stopped);
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number): void {
    // Interim answers (100, 103) carry nothing the client has to have.
    if (status < 200) return;
    const res = this.#res;
    if (res.destroyed) {
      controller.abort(new Error('the client went away'));
      return;
    }
    const headers = responseHeaders(controller.rawHeaders, this.#masked);
    if (!uploaded(this.#req)) headers.push('connection', 'close');
    this.#events.started(status);
    res.sendDate = false;
    res.writeHead(status, headers);
    // Head and what came with it go out in one write. A stream may take long to its first byte: its head does not wait for it.
    res.cork();
    process.nextTick(() => {
      if (res.destroyed || res.writableEnded) return;
      if (!this.#wrote) res.flushHeaders();
      res.uncork();
    });
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#events.data(chunk.length);
    this.#wrote = true;
    if (this.#res.write(chunk)) return;
    controller.pause();
    this.#res.once('drain', () => controller.resume());
  }

  onResponseEnd(): void {
    this.#done = true;
    endAfterUpload(this.#req, this.#res);
    this.#events.ended();
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#done = true;
    const headSent = this.#res.headersSent;
    if (headSent) this.#res.destroy();
    this.#events.failed(error, headSent);
  }
}

/** The headers to pass on: hop-by-hop fields and Alt-Svc are dropped, secrets that were put into the request are masked. */
function responseHeaders(raw: Dispatcher.DispatchController['rawHeaders'], masked: readonly Credential[]): string[] {
  const out: string[] = [];
  if (!Array.isArray(raw)) return out;
  let named: Set<string> | undefined;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = text(raw[i]);
    const key = name.toLowerCase();
    const value = text(raw[i + 1]);
    if (key === 'connection') named = new Set(value.toLowerCase().split(',').map((option) => option.trim()).filter((option) => option !== 'content-length'));
    if (dropped.has(key)) continue;
    out.push(name, masked.length > 0 ? maskCredentials(value, masked) : value);
  }
  if (!named) return out;
  const kept: string[] = [];
  for (let i = 0; i + 1 < out.length; i += 2) if (!named.has((out[i] ?? '').toLowerCase())) kept.push(out[i] ?? '', out[i + 1] ?? '');
  return kept;
}

const text = (value: Buffer | string | undefined): string => (typeof value === 'string' ? value : (value?.toString('latin1') ?? ''));
