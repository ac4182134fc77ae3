/** An answer that goes on as it comes: decoded where that is needed, and searched as far as it may go. */
import type { Passing } from '../hooks.ts';
import { beginsAsDocument, isBinary } from './answer-kind.ts';
import type { AnswerPlan } from './answer-plan.ts';
import { AnswerWindow } from './answer-window.ts';
import { ContentDecoder } from './content-decoder.ts';
import { strictest } from './findings.ts';
import type { Found, InspectionSettings } from './findings.ts';
import { wholeCharacters } from './read-text.ts';
import { hashesIn } from '../taint/taint.ts';
import { answerBlocked, answerUnreadable, recordFound } from './report.ts';

/** ms that bytes wait which could be the beginning of something, and a head before any bytes. */
const restMs = 150;
const mostRecorded = 1000;
/** Bytes by which something is told from text. */
const looked = 1024;
/** Bytes of memory that all decoders of a sandbox may keep of what they have decoded, for each byte that it may have held. */
const mostDecoding = 8;
/** Bytes that a value which is remembered may reach back. */
const carried = 1024;
const nothing: Buffer = Buffer.alloc(0);

/** Where it goes, and where it comes from. */
export interface StreamEnds {
  /** The head goes out now. */
  start(): void;
  data(bytes: Buffer): void;
  ended(): void;
  failed(error: Error): void;
  /** The origin's bytes stop and come again. */
  pause(): void;
  resume(): void;
}

export class AnswerStream {
  readonly #passing: Passing;
  readonly #ends: StreamEnds;
  #window: AnswerWindow | undefined;
  readonly #decoder: ContentDecoder | undefined;
  readonly #settings: InspectionSettings | undefined;
  readonly #noted: Found[] = [];
  readonly #waits = new Set<'wire' | 'turn'>();
  /** Bytes of something called opaque that were looked at, until it is known whether it is. */
  #looked = looked;
  /** Bytes that its decoder keeps, counted among those of its sandbox. */
  #kept = 0;
  /** What was remembered last. */
  #last: Buffer = nothing;
  #timer: NodeJS.Timeout | undefined;
  #started = false;
  /** The decoder takes no more until it says so. */
  #full = false;
  #done = false;

  /** Throws `Stopped` for an encoding that is not known. */
  constructor(passing: Passing, plan: AnswerPlan, way: 'window' | 'pass', ends: StreamEnds) {
    this.#passing = passing;
    this.#ends = ends;
    this.#settings = plan.settings;
    if (way === 'window' && plan.settings) {
      if (/charset\s*=\s*["']?utf-?16/i.test(plan.contentType)) throw answerUnreadable(passing, 'proxy.answer-encoding', 'the answer is in a character encoding that is not searched as it passes');
      this.#window = new AnswerWindow((found) => this.#judge(found));
      if (plan.opaque) this.#looked = 0;
    }
    if (decodes(passing, plan, way)) {
      const unreadable = (error: unknown): Error => answerUnreadable(passing, 'proxy.answer-encoding', error instanceof Error ? error.message : 'it cannot be decoded');
      try {
        this.#decoder = new ContentDecoder(plan.encodings, { data: (bytes) => this.#plain(bytes), ended: () => this.#guarded(() => this.#finish()), failed: (error) => this.#fail(unreadable(error)) });
      } catch (error) {
        throw unreadable(error);
      }
    }
    this.#arm();
  }

  data(chunk: Buffer): void {
    if (this.#done) return;
    if (this.#decoder) this.#count(this.#decoder.kept);
    if (this.#done) return;
    if (!this.#decoder) this.#plain(chunk);
    else if (!this.#decoder.write(chunk) && !this.#full) {
      this.#full = true;
      this.#ends.pause();
      this.#decoder.onDrain(() => {
        this.#full = false;
        this.#ends.resume();
      });
    }
  }

  end(): void {
    if (this.#done) return;
    if (this.#decoder) this.#decoder.end();
    else this.#guarded(() => this.#finish());
  }

  /** The client reads more slowly than it comes. */
  pause(): void {
    this.#wait('wire');
  }
  resume(): void {
    this.#goOn('wire');
  }

  /** Nothing more is told. */
  close(): void {
    this.#done = true;
    clearTimeout(this.#timer);
    this.#decoder?.close();
    this.#count(0);
  }

  #count(kept: number): void {
    const { core } = this.#passing;
    core.decoding += kept - this.#kept;
    this.#kept = kept;
    if (kept > 0 && core.decoding > mostDecoding * core.ports.limits.bufferedBytes) this.#fail(answerUnreadable(this.#passing, 'proxy.answer-encoding', 'too many encoded answers of this sandbox are decoded already'));
  }

  #wait(why: 'wire' | 'turn'): void {
    if (this.#waits.size === 0) (this.#decoder ?? this.#ends).pause();
    this.#waits.add(why);
  }
  #goOn(why: 'wire' | 'turn'): void {
    if (this.#waits.delete(why) && this.#waits.size === 0 && !this.#done) (this.#decoder ?? this.#ends).resume();
  }

  /** What is called a picture or an archive and is none is searched. */
  #look(bytes: Buffer): void {
    if (this.#looked >= looked) return;
    const first = bytes.subarray(0, looked - this.#looked);
    const binary = isBinary(first) || (this.#looked === 0 && beginsAsDocument(first));
    this.#looked += first.length;
    if (!binary) return;
    this.#looked = looked;
    this.#guarded(() => this.#deliver(this.#window?.rest() ?? nothing));
    this.#window = undefined;
  }

  #plain(bytes: Buffer): void {
    this.#look(bytes);
    const window = this.#window;
    const { pace } = this.#passing.core;
    if (!window) {
      this.#guarded(() => this.#deliver(bytes));
      return;
    }
    this.#guarded(() => {
      let passed = nothing;
      pace.measure(() => {
        this.#remember(bytes);
        passed = window.next(bytes);
      });
      this.#deliver(passed);
    });
    this.#arm();
    if (this.#done || !pace.rests || this.#waits.has('turn')) return;
    this.#wait('turn');
    if (!pace.run(() => this.#goOn('turn'))) this.#fail(new Error('too much of this sandbox waits for its turn'));
  }

  /** With the end of what went before: a value may come in two pieces. */
  #remember(bytes: Buffer): void {
    const { taint } = this.#passing.core;
    const remember = taint.remembering(this.#passing);
    if (!remember) return;
    const text = Buffer.concat([this.#last, bytes]);
    taint.remember(this.#passing, hashesIn(wholeCharacters(text), '', remember.key), remember);
    this.#last = Buffer.from(text.subarray(-carried));
  }

  #deliver(bytes: Buffer): void {
    if (this.#done || bytes.length === 0) return;
    this.#start();
    this.#ends.data(bytes);
  }

  #start(): void {
    if (this.#started) return;
    this.#started = true;
    this.#ends.start();
  }

  /** What waits without a reason to come goes on after a while: so does a head that nothing follows yet. */
  #arm(): void {
    clearTimeout(this.#timer);
    if (this.#done || (this.#started && this.#window?.holds !== true)) return;
    this.#timer = setTimeout(() => this.#guarded(() => {
      this.#start();
      if (this.#window?.holds === true) this.#deliver(this.#window.rest());
    }), restMs);
  }

  #judge(found: readonly Found[]): void {
    const settings = this.#settings;
    const worst = settings && strictest(found, settings);
    if (!worst) return;
    if (worst.action === 'log') {
      if (this.#noted.length < mostRecorded) this.#noted.push(...found);
      return;
    }
    // Nothing can be taken out any more, and nobody be asked: what comes behind it has no end that could be waited for.
    recordFound(this.#passing, 'answer', [...this.#noted.splice(0), ...found], 'block');
    throw answerBlocked(this.#passing, worst.found);
  }

  #finish(): void {
    clearTimeout(this.#timer);
    if (this.#window) this.#deliver(this.#window.rest());
    if (this.#done) return;
    this.#start();
    this.#done = true;
    this.#count(0);
    recordFound(this.#passing, 'answer', this.#noted, 'log');
    this.#ends.ended();
  }

  #guarded(step: () => void): void {
    if (this.#done) return;
    try {
      step();
    } catch (error) {
      this.#fail(error instanceof Error ? error : new Error('the answer could not be searched'));
    }
  }

  #fail(error: Error): void {
    if (this.#done) return;
    this.close();
    this.#ends.failed(error);
  }
}

/** Whether it goes on without its content encoding: to be searched, or to have credentials masked. */
export function decodes({ core }: Passing, { encodings }: AnswerPlan, way: 'window' | 'pass'): boolean {
  return encodings.length > 0 && (way === 'window' || !core.values.empty);
}
