/** Inspects long bodies, and undoes their encodings, in a thread of their own, one after the other and by turns of the sandboxes, so that no body keeps the others' connections waiting. */
import { Worker } from 'node:worker_threads';
import type { ScannerName } from '@nemoclaw/contract';
import { hyperscanLibrary, type ToldScanner } from '@nemoclaw/detect';
import { examine } from './examine.ts';
import type { Examination, Examined } from './examine.ts';
import type { Found } from './findings.ts';
import { searchWindow, type PassingWindow } from './search-window.ts';
import { hashesInMessage } from '../taint/taint.ts';
import { undoEncodings } from './undo-encodings.ts';
import type { Undone } from './undo-encodings.ts';

/** Bytes up to which a body is inspected at once: less than the way to the thread and back would cost. */
const atOnce = 16 * 1024;
/** Bytes of one sandbox that may wait. */
const mostWaiting = 32 << 20;
/** ms that one body may take; a hundred times what the worst one is known to. */
const patience = 120_000;

/** Encoded bytes up to which a body is decoded at once: they grow to some 200 KiB at most. */
const decodedAtOnce = 2 * 1024;

/** One encoded body. */
export interface Undoing {
  readonly body: Buffer;
  readonly encoding: string;
  readonly limit: number;
}
/** A message of protobuf that is remembered, under the key of its memory. */
export interface MessageHashing {
  readonly bytes: Uint8Array;
  readonly key: string;
}
/** What the thread is asked. */
export type Question = { readonly examine: Examination } | { readonly undo: Undoing } | { readonly search: PassingWindow } | { readonly hash: MessageHashing };
/** What it answers, in the question's words. */
export type Answer = ({ readonly examined: Examined } | { readonly undone: Undone } | { readonly found: readonly Found[] } | { readonly hashes: Uint32Array }) & {
  /** ms of the thread's processor time that it took. */
  readonly took: number;
};
/** What it says by itself: how it searches from now on. */
export interface Searching {
  readonly scanner: ScannerName;
  readonly why: string;
}
/** What it is started with: the library that may search before the scanner, '' for none. */
export interface ThreadSettings {
  readonly library: string;
}

interface Job {
  readonly what: Question;
  readonly bytes: number;
  readonly done: (answer: Answer) => void;
  readonly failed: (error: Error) => void;
}

/** ms of processor time that a body may take for nothing: those of honest programs take less. After a dearer one its sandbox has no turn for as long, so that it leaves half a processor to the others. */
const dear = 20;
/** ms of rest after a bomb, at least: each costs far more than it cost to send. */
const bombRest = 50;

/** Waiting jobs by sandbox; a sandbox whose turn is over goes to the end. */
const waiting = new Map<string, Job[]>();
const resting = new Set<string>();
let thread: Worker | undefined;
let current: { readonly sandbox: string; readonly job: Job; readonly timer: NodeJS.Timeout } | undefined;

/** Whoever does not want a library of C++ to see what agents send says so. */
let library = process.env['NEMOCLAW_HYPERSCAN'] === '0' ? '' : hyperscanLibrary;
let scanner: ScannerName = 'typescript';
let tell: ToldScanner = () => undefined;

/** Starts the thread before a body needs it. `told` hears how it searches, soon and when that changes. `use`: another library, '' for none. */
export function prepareInspection(told: ToldScanner, use = library): void {
  library = use;
  tell = told;
  if (library === '') tell('typescript', 'the host says so');
  thread ??= started();
  if (!current) thread.unref();
}

/** Rejects where it cannot be inspected: then it must not leave. `sandbox`: whose turn it takes. */
export function inspectAside(sandbox: string, what: Examination): Promise<Examined> | Examined {
  if (what.bytes.length <= atOnce) return examine(what);
  return aside(sandbox, { examine: what }, what.bytes.length).then((answer) => {
    if ('examined' in answer) return answer.examined;
    throw new Error('the inspection failed');
  });
}

/** `undoEncodings`, where it may take long. Rejects where it cannot be done: then the body must not leave. */
export function undoAside(sandbox: string, what: Undoing): Promise<Undone> | Undone {
  const { body, encoding, limit } = what;
  if (encoding === '' || encoding === 'identity' || body.length <= decodedAtOnce) return undoEncodings(body, encoding, limit);
  return aside(sandbox, { undo: what }, body.length).then((answer) => {
    if (!('undone' in answer)) throw new Error('the decoding failed');
    const { undone } = answer;
    // What comes from another thread is plain bytes.
    return undone.state === 'done' ? { state: 'done', body: Buffer.from(undone.body.buffer, undone.body.byteOffset, undone.body.byteLength) } : undone;
  });
}

/** `searchWindow`, where it may take long: of a whole message, or with values that came from labelled hosts. Rejects where it cannot be searched: then it must not leave. */
export function searchWindowAside(sandbox: string, what: PassingWindow): readonly Found[] | Promise<readonly Found[]> {
  if ((!what.tainted && !what.message) || what.bytes.length <= atOnce) return searchWindow(what);
  return aside(sandbox, { search: what }, what.bytes.length).then((answer) => {
    if ('found' in answer) return answer.found;
    throw new Error('the search failed');
  });
}

/** `hashesInMessage`. Rejects where it cannot be read: then it must not be delivered. */
export function hashMessageAside(sandbox: string, what: MessageHashing): Uint32Array | Promise<Uint32Array> {
  if (what.bytes.length <= atOnce) return hashesInMessage(what.bytes, what.key);
  return aside(sandbox, { hash: what }, what.bytes.length).then((answer) => {
    if ('hashes' in answer) return answer.hashes;
    throw new Error('the message could not be read');
  });
}

function aside(sandbox: string, what: Question, bytes: number): Promise<Answer> {
  const queue = waiting.get(sandbox) ?? [];
  if (queue.reduce((sum, job) => sum + job.bytes, bytes) > mostWaiting) return Promise.reject(new Error('too much waits to be inspected'));
  return new Promise((done, failed) => {
    queue.push({ what, bytes, done, failed });
    waiting.set(sandbox, queue);
    next();
  });
}

function next(): void {
  if (current) return;
  const turn = [...waiting].find(([sandbox]) => !resting.has(sandbox));
  if (!turn) {
    thread?.unref();
    return;
  }
  const [sandbox, queue] = turn;
  waiting.delete(sandbox);
  const job = queue.shift();
  if (queue.length > 0) waiting.set(sandbox, queue);
  if (!job) return;
  current = { sandbox, job, timer: setTimeout(() => broken(new Error('the inspection takes too long')), patience) };
  try {
    thread ??= started();
    thread.ref();
    thread.postMessage(job.what);
  } catch (error) {
    broken(error instanceof Error ? error : new Error('the inspection failed'));
  }
}

function rest(sandbox: string, ms: number): void {
  resting.add(sandbox);
  setTimeout(() => {
    resting.delete(sandbox);
    next();
  }, ms);
}

function started(): Worker {
  // Packed, the files beside this one are JavaScript.
  const made = new Worker(new URL(import.meta.url.endsWith('.ts') ? './inspect-thread.ts' : './inspect-thread.js', import.meta.url), { workerData: { library } satisfies ThreadSettings, resourceLimits: { maxOldGenerationSizeMb: 1024 } });
  made.on('message', (result: Answer | Searching) => {
    // What a thread that was given up still says is about another body than the one in work.
    if (thread !== made) return;
    if ('scanner' in result) {
      scanner = result.scanner;
      return tell(scanner, result.why);
    }
    const ended = current;
    current = undefined;
    clearTimeout(ended?.timer);
    const rests = 'undone' in result && result.undone.state === 'bomb' ? Math.max(bombRest, result.took) : result.took;
    if (ended && rests > dear) rest(ended.sandbox, rests);
    ended?.job.done(result);
    next();
  });
  made.on('error', (error) => { if (thread === made) broken(error instanceof Error ? error : new Error('the inspection failed')); });
  made.on('exit', () => { if (thread === made) broken(new Error('the inspection ended')); });
  return made;
}

/** The body in work is not inspected, and the next one gets a fresh thread. */
function broken(error: Error): void {
  const [ended, old] = [current, thread];
  current = undefined;
  thread = undefined;
  clearTimeout(ended?.timer);
  void old?.terminate();
  if (scanner === 'hyperscan') {
    // What breaks a thread is not given to the library again; and the memory that it leaves there is left once.
    library = '';
    scanner = 'typescript';
    tell(scanner, `a thread that used it was given up: ${error.message}`);
  }
  ended?.job.failed(error);
  next();
}
