/** Carries one upstream response to the client as it comes: own head, same bytes, same pace. */
import type { Dispatcher } from 'undici';
import { maskCredentials } from '../credentials/credentials.ts';
import type { Core } from '../core.ts';
import { refusal } from '../core.ts';
import type { Credential } from '../credentials/credentials.ts';
import { Stopped } from '../hooks.ts';
import type { AnswerHead, PatientTransform } from '../hooks.ts';
import { InOrder, through } from '../body/in-order.ts';
import { endThrough } from '../body/outgoing-body.ts';
import type { Stall } from '../fairness/stalled.ts';
import { safeTrailers } from './trailers.ts';
import type { Wire } from './wire.ts';

const dropped = new Set(['connection', 'keep-alive', 'proxy-connection', 'proxy-authenticate', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'alt-svc', 'http2-settings']);

export interface RelayEvents {
  data(bytes: number): void;
  ended(): void;
  /** The answer cannot be completed; whoever is told ends it. */
  failed(error: Error): void;
}

/** What is passed on of the fields of an answer: name, value, name, value… Throws to refuse it. */
export type AnswerFields = (fields: readonly string[], where: 'interim' | 'head' | 'trailers') => string[];

export class Relay implements Dispatcher.DispatchHandler {
  readonly #wire: Wire;
  #masked: readonly Credential[];
  readonly #fields: AnswerFields;
  readonly #open: (head: AnswerHead) => readonly PatientTransform[];
  readonly #events: RelayEvents;
  readonly #core: Core;
  #stall: Stall | undefined;
  /** What the answer waits for: its client, its sandbox's turn, other answers. */
  #waits = 0;
  #controller: Dispatcher.DispatchController | undefined;
  #transforms: readonly PatientTransform[] = [];
  /** Not sent yet. */
  #head: AnswerHead | undefined;
  readonly #order = new InOrder();
  #done = false;
  #stopped: Error | undefined;

  /** `fields`: what looks at them wherever they stand. `open`: what looks at the head of the final answer, and at its bytes. */
  constructor(wire: Wire, masked: readonly Credential[], fields: AnswerFields, open: (head: AnswerHead) => readonly PatientTransform[], events: RelayEvents, core: Core) {
    this.#wire = wire;
    this.#masked = masked;
    this.#fields = fields;
    this.#open = open;
    this.#events = events;
    this.#core = core;
  }

  /** These were put in as well. */
  mask(more: readonly Credential[]): void {
    this.#masked = [...this.#masked, ...more];
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
    if (status < 200) {
      this.#interim(controller, status);
      return;
    }
    if (this.#wire.gone) {
      controller.abort(new Error('the client went away'));
      return;
    }
    if (this.#done) return;
    try {
      const head = { status, headers: this.#fields(responseHeaders(controller.rawHeaders, this.#masked), 'head') };
      this.#transforms = this.#open(head);
      this.#head = head;
      if (!this.#transforms.some(({ keepsAll }) => keepsAll)) this.#sendHead();
      if (this.#core.stalled.full) this.#wait(controller, (goOn) => this.#core.stalled.whenFewer(goOn));
    } catch (thrown) {
      this.#broke(controller, thrown);
    }
  }

  #sendHead(): void {
    const head = this.#head;
    this.#head = undefined;
    if (head) this.#wire.head(head.status, head.headers);
  }

  #interim(controller: Dispatcher.DispatchController, status: number): void {
    if (this.#done) return;
    try {
      this.#wire.interim(status, this.#fields(responseHeaders(controller.rawHeaders, this.#masked), 'interim'));
    } catch (thrown) {
      this.#broke(controller, thrown);
    }
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#events.data(chunk.length);
    this.#order.run(() => this.#take(controller, chunk));
  }

  #take(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#done) return;
    try {
      this.#core.pace.measure(() => this.#pass(controller, chunk));
    } catch (thrown) {
      this.#broke(controller, thrown);
      return;
    }
    if (!this.#core.pace.rests) return;
    this.#wait(controller, (goOn) => {
      if (!this.#core.pace.run(goOn)) this.#broke(controller, new Error('too much of this sandbox waits for its turn'));
    });
  }

  #pass(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    const passed = through(this.#transforms, chunk);
    if (passed instanceof Promise) this.#elsewhere(controller, passed);
    else this.#write(controller, passed);
  }

  /** What is looked at elsewhere is written when it comes back, before all that comes behind it. */
  #elsewhere(controller: Dispatcher.DispatchController, passed: Promise<Buffer>): void {
    const release = this.#order.hold();
    this.#wait(controller, (goOn) => void passed.then((bytes) => release(() => {
      if (!this.#done) this.#write(controller, bytes);
    }), (thrown: unknown) => release(() => {
      if (!this.#done) this.#broke(controller, thrown);
    })).catch((thrown: unknown) => {
      if (!this.#done) this.#broke(controller, thrown);
    }).finally(goOn));
  }

  #write(controller: Dispatcher.DispatchController, passed: Buffer): void {
    if (passed.length === 0) return;
    this.#sendHead();
    if (this.#wire.write(passed)) return;
    this.#wait(controller, (goOn) => {
      const { stalled } = this.#core;
      const stall = (this.#stall ??= this.#mayStall(controller));
      stalled.begin(stall);
      this.#wire.onDrain(() => {
        stalled.end(stall);
        goOn();
      });
    });
  }

  #mayStall(controller: Dispatcher.DispatchController): Stall {
    const { config, stalled } = this.#core;
    const stall: Stall = {
      giveWay: () => this.#broke(controller, new Stopped(refusal(config.version, 'proxy.unread', 'This client did not read the answer, and too many answers of this sandbox stand still.', 'Read answers as they come, or ask for fewer at a time.'), 'the answer was not read, and others waited for it')),
    };
    this.#wire.onClose(() => stalled.end(stall));
    return stall;
  }

  /** Reads no more of the answer until what `start` waits for calls back. */
  #wait(controller: Dispatcher.DispatchController, start: (goOn: () => void) => void): void {
    this.#waits += 1;
    if (this.#waits === 1) controller.pause();
    start(() => {
      this.#waits -= 1;
      if (this.#waits === 0) controller.resume();
    });
  }

  onResponseEnd(controller: Dispatcher.DispatchController): void {
    const { rawTrailers } = controller;
    this.#order.run(() => this.#end(controller, rawTrailers));
  }

  #end(controller: Dispatcher.DispatchController, rawTrailers: Dispatcher.DispatchController['rawTrailers']): void {
    if (this.#done) return;
    try {
      const rest = this.#transforms.length > 0 ? endThrough(this.#transforms) : undefined;
      const trailers = this.#fields(responseTrailers(rawTrailers, this.#masked), 'trailers');
      this.#sendHead();
      if (rest && rest.length > 0) this.#wire.write(rest);
      this.#done = true;
      this.#wire.end(trailers);
      this.#events.ended();
    } catch (thrown) {
      this.#broke(controller, thrown);
    }
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    if (this.#done) return;
    this.#done = true;
    this.#events.failed(error);
  }

  /** A failure in here ends this exchange and its upstream request, nothing else. */
  #broke(controller: Dispatcher.DispatchController, thrown: unknown): void {
    const error = thrown instanceof Error ? thrown : new Error('the answer could not be passed on');
    this.#done = true;
    this.#events.failed(error);
    controller.abort(error);
  }
}

/** The headers to pass on: hop-by-hop fields and Alt-Svc are dropped, secrets that were put into the request are masked. */
export function responseHeaders(raw: Dispatcher.DispatchController['rawHeaders'], masked: readonly Credential[]): string[] {
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

const noTrailers: readonly string[] = [];

function responseTrailers(raw: Dispatcher.DispatchController['rawTrailers'], masked: readonly Credential[]): readonly string[] {
  return Array.isArray(raw) && raw.length > 0 ? safeTrailers(raw.map(text), (value) => maskCredentials(value, masked)) : noTrailers;
}

const text = (value: Buffer | string | undefined): string => (typeof value === 'string' ? value : (value?.toString('latin1') ?? ''));
