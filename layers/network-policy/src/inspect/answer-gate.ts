/**
 * Stands between an origin and the relay of one request where answers are acted on: holds a document until it is searched, searches a stream as it passes, undoes the
 * encodings in which something would hide. What may not reach the sandbox becomes a denial, or, behind the first bytes, a cut. All else passes at once.
 */
import type { Dispatcher } from 'undici';
import { Stopped } from '../hooks.ts';
import type { Passing } from '../hooks.ts';
import { Pieces } from '../body/pieces.ts';
import { crowded, isPlain, otherBytes, oversize, planAnswer, tooLarge } from './answer-plan.ts';
import type { AnswerPlan } from './answer-plan.ts';
import { judgeHead } from './answer-head.ts';
import type { HeadQuestion } from './answer-head.ts';
import { askAboutAnswer } from './answer-question.ts';
import { judgeAnswer } from './answer-search.ts';
import { AnswerStream, decodes } from './answer-stream.ts';
import { answerIsGated } from './answers.ts';
import { answerUnreadable, askedAboutAnswer, inspectedBytes } from './report.ts';

type Whole = Required<Pick<Dispatcher.DispatchHandler, 'onRequestStart' | 'onResponseStart' | 'onResponseData' | 'onResponseEnd' | 'onResponseError'>>;
type Controller = Dispatcher.DispatchController;

/** What is not looked into: it has no body, or its messages are looked at one by one. */
const asItComes: AnswerPlan = { settings: undefined, encodings: [], way: 'pass', contentType: '', length: undefined, opaque: false };

/** ms that a document without a length is waited for before it is taken for a stream, and one with a length. */
const holdMs = { unknown: 2000, known: 30_000 };

/** An answer on its way: what came of it, and what it is led through once that is known. */
interface Incoming {
  readonly plan: AnswerPlan;
  readonly status: number;
  readonly headers: Parameters<Whole['onResponseStart']>[2];
  readonly fields: readonly string[];
  /** Held; they count as bytes that this sandbox has held. */
  readonly parts: Pieces;
  size: number;
  timer: NodeJS.Timeout | undefined;
  stream: AnswerStream | undefined;
}

export class AnswerGate implements Whole {
  readonly #passing: Passing;
  readonly #relay: Whole;
  readonly #live: () => boolean;
  readonly #halfClosed: (listener: () => void) => void;
  readonly #withdraw = new AbortController();
  #origin: Controller | undefined;
  #mine: GateController | undefined;
  #incoming: Incoming | undefined;
  /** The origin has said all. */
  #ended = false;
  #done = false;

  /** `live`: whether the answer is still waited for. `halfClosed` calls back when the client closes its side: it may be gone. */
  constructor(passing: Passing, relay: Whole, live: () => boolean, halfClosed: (listener: () => void) => void) {
    this.#passing = passing;
    this.#relay = relay;
    this.#live = live;
    this.#halfClosed = halfClosed;
  }

  /** Also when it is sent again. */
  onRequestStart(controller: Controller, context: unknown): void {
    this.#ended = false;
    this.#relay.onRequestStart(this.#as(controller), context);
  }

  onResponseStart(controller: Controller, status: number, headers: Incoming['headers']): void {
    const mine = this.#as(controller);
    mine.rawHeaders = controller.rawHeaders ?? null;
    if (status < 200) {
      this.#relay.onResponseStart(mine, status, headers);
      return;
    }
    if (isPlain(this.#passing, controller.rawHeaders)) {
      this.#relay.onResponseStart(mine, status, headers);
      return;
    }
    this.#guarded(() => {
      const given = flat(controller.rawHeaders);
      const { fields, question } = judgeHead(this.#passing, given);
      const plan = planAnswer(this.#passing, status, given);
      if (!plan && !question) {
        mine.rawHeaders = [...fields];
        this.#relay.onResponseStart(mine, status, headers);
        return;
      }
      if (plan?.settings) answerIsGated(this.#passing);
      const incoming: Incoming = { plan: plan ?? asItComes, status, headers, fields, parts: new Pieces(), size: 0, timer: undefined, stream: undefined };
      if (question) this.#ask(incoming, question, (waiting) => this.#begin({ ...waiting, plan: incoming.plan }));
      else this.#begin(incoming);
    });
  }

  #begin(incoming: Incoming): void {
    this.#incoming = incoming;
    const { plan } = incoming;
    if (plan.way === 'ask') this.#askUnread(incoming);
    else if (plan.way !== 'hold') this.#go(incoming, plan.way);
    else if (this.#ended) void this.#judge(incoming);
    else incoming.timer = setTimeout(() => this.#guarded(() => this.#go(incoming, 'window')), plan.length === undefined ? holdMs.unknown : holdMs.known);
  }

  onResponseData(controller: Controller, chunk: Buffer): void {
    const incoming = this.#incoming;
    if (this.#done) return;
    if (!incoming) this.#relay.onResponseData(this.#as(controller), chunk);
    else if (incoming.stream) incoming.stream.data(chunk);
    else this.#guarded(() => this.#keep(incoming, chunk));
  }

  onResponseEnd(controller: Controller, trailers: Parameters<Whole['onResponseEnd']>[1]): void {
    this.#ended = true;
    const incoming = this.#incoming;
    if (this.#done) return;
    if (!incoming) this.#relay.onResponseEnd(this.#as(controller), trailers);
    else if (incoming.stream) incoming.stream.end();
    else if (incoming.plan.way === 'hold') void this.#judge(incoming);
  }

  onResponseError(controller: Controller, error: Error): void {
    if (this.#done) return;
    this.#quit();
    this.#relay.onResponseError(this.#as(controller), error);
  }

  #keep(incoming: Incoming, chunk: Buffer): void {
    const { core } = this.#passing;
    incoming.parts.add(chunk);
    incoming.size += chunk.length;
    core.buffered += chunk.length;
    if (incoming.plan.way !== 'hold') return;
    if (incoming.size > inspectedBytes(core)) {
      const way = oversize(this.#passing);
      if (way === 'ask') this.#askUnread(incoming);
      else this.#go(incoming, way);
    } else if (core.buffered > core.ports.limits.bufferedBytes) this.#go(incoming, crowded(this.#passing));
  }

  async #judge(incoming: Incoming): Promise<void> {
    clearTimeout(incoming.timer);
    const { plan, status, fields } = incoming;
    try {
      const judged = await judgeAnswer(this.#passing, plan, { status, fields, bytes: incoming.parts.whole() }, this.#question());
      if (this.#left()) return;
      if (judged === 'long') {
        const way = oversize(this.#passing);
        if (way === 'ask') this.#askUnread(incoming);
        else this.#go(incoming, way);
        return;
      }
      this.#release(incoming);
      this.#start(incoming, judged.fields);
      if (judged.bytes.length > 0 && !this.#done) this.#relay.onResponseData(this.#own(), judged.bytes);
      if (!this.#done) this.#relay.onResponseEnd(this.#own(), {});
      this.#done = true;
    } catch (error) {
      // It came, and is not delivered: that is a denial, no failure of the other side.
      this.#fail(error instanceof Stopped ? error : answerUnreadable(this.#passing, 'inspection.responses', 'the answer could not be inspected'));
    }
  }

  /** Takes a question to a person back when nobody may wait for its outcome any more. */
  #question(): AbortSignal {
    this.#halfClosed(() => this.#withdraw.abort());
    return this.#withdraw.signal;
  }

  /** Its body is not searched: a person is asked before any of it goes on. */
  #askUnread(incoming: Incoming): void {
    const decision = askedAboutAnswer(this.#passing, 'inspection.maxBody', tooLarge);
    this.#ask(incoming, { decision, hidden: new Set() }, (waiting) => this.#go(waiting, 'pass'));
  }

  /** No more of it is read until a person has said yes. */
  #ask(incoming: Incoming, question: HeadQuestion, allowed: (waiting: Incoming) => void): void {
    clearTimeout(incoming.timer);
    const { plan, status } = incoming;
    const waiting: Incoming = { ...incoming, plan: { ...plan, way: 'ask' } };
    this.#incoming = waiting;
    if (!this.#ended) this.#origin?.pause();
    askAboutAnswer(this.#passing, { ...question, status, contentType: plan.contentType, body: undefined }, this.#question()).then(() => {
      if (this.#left()) return;
      // First, for what goes on may find a client that reads no more, and pause it again. What comes in the same breath is kept like all before.
      if (!this.#ended) this.#origin?.resume();
      if (!this.#done) this.#guarded(() => allowed(waiting));
    }, (error: unknown) => this.#fail(error));
  }

  /** From here on it passes as it comes, with what came before it first. */
  #go(incoming: Incoming, way: 'window' | 'pass'): void {
    clearTimeout(incoming.timer);
    const fields = decodes(this.#passing, incoming.plan, way) ? otherBytes(incoming.fields) : incoming.fields;
    const stream = new AnswerStream(this.#passing, incoming.plan, way, {
      start: () => this.#start(incoming, fields),
      data: (bytes) => { if (!this.#left()) this.#relay.onResponseData(this.#own(), bytes); },
      ended: () => {
        if (this.#left()) return;
        this.#relay.onResponseEnd(this.#own(), {});
        this.#done = true;
      },
      failed: (error) => this.#fail(error),
      pause: () => { if (!this.#ended) this.#origin?.pause(); },
      resume: () => { if (!this.#ended) this.#origin?.resume(); },
    });
    incoming.stream = stream;
    for (const part of this.#release(incoming)) stream.data(part);
    if (this.#ended) stream.end();
  }

  #start(incoming: Incoming, fields: readonly string[]): void {
    const mine = this.#own();
    mine.rawHeaders = [...fields];
    this.#relay.onResponseStart(mine, incoming.status, incoming.headers);
  }

  #release(incoming: Incoming): Buffer[] {
    this.#passing.core.buffered -= incoming.size;
    incoming.size = 0;
    return incoming.parts.take();
  }

  /** Nobody waits for it any more. */
  #left(): boolean {
    if (!this.#done && !this.#live()) this.#quit();
    return this.#done;
  }

  #quit(): void {
    if (this.#done) return;
    this.#done = true;
    this.#withdraw.abort();
    const incoming = this.#incoming;
    if (!incoming) return;
    clearTimeout(incoming.timer);
    incoming.stream?.close();
    this.#release(incoming);
  }

  #guarded(step: () => void): void {
    try {
      step();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(thrown: unknown): void {
    if (this.#done) return;
    const error = thrown instanceof Error ? thrown : new Error('the answer could not be searched');
    this.#quit();
    this.#relay.onResponseError(this.#own(), error);
    if (!this.#ended) this.#origin?.abort(error);
  }

  #as(controller: Controller): GateController {
    this.#origin = controller;
    this.#mine ??= new GateController({
      origin: () => this.#origin ?? controller,
      abort: (reason) => {
        this.#quit();
        if (!this.#ended) this.#origin?.abort(reason);
      },
      pause: () => (this.#incoming?.stream ?? this.#origin)?.pause(),
      resume: () => (this.#incoming?.stream ?? this.#origin)?.resume(),
    });
    return this.#mine;
  }
  #own(): GateController {
    if (!this.#mine) throw new Error('no request was started');
    return this.#mine;
  }
}

interface Steps {
  origin(): Controller;
  abort(reason: Error): void;
  pause(): void;
  resume(): void;
}

/** What the relay steers by: the origin's, with the head that goes on. */
class GateController implements Controller {
  readonly #steps: Steps;
  rawHeaders: NonNullable<Controller['rawHeaders']> | null = null;
  #paused = false;

  constructor(steps: Steps) {
    this.#steps = steps;
  }
  get rawTrailers(): NonNullable<Controller['rawTrailers']> | null {
    return this.#steps.origin().rawTrailers ?? null;
  }
  get aborted(): boolean {
    return this.#steps.origin().aborted;
  }
  get reason(): Error | null {
    return this.#steps.origin().reason;
  }
  get paused(): boolean {
    return this.#paused;
  }
  abort(reason: Error): void {
    this.#steps.abort(reason);
  }
  pause(): void {
    this.#paused = true;
    this.#steps.pause();
  }
  resume(): void {
    this.#paused = false;
    this.#steps.resume();
  }
}

function flat(raw: Controller['rawHeaders']): string[] {
  return Array.isArray(raw) ? raw.map((value) => (typeof value === 'string' ? value : value.toString('latin1'))) : [];
}
