/** Searches an answer that is passed on as it comes: what could be the beginning of something waits for the rest, everything else goes on at once. */
import { scan } from '@nemoclaw/detect';
import type { Found } from './findings.ts';

/** Bytes of what went on already that a finding is seen with. */
const carried = 2048;
/** A value has no such character in it, so that none begins before the last of them and ends behind it; but a private key does. */
const breaks = new Set([...'\n\r\t",;<>{}'].map((c) => c.charCodeAt(0)));
/** Bytes behind the last break that wait at most, and bytes of something that was found and may go on. */
const longestStart = 256;
const longestOpen = 20 * 1024;

const nothing: Buffer = Buffer.alloc(0);

export class AnswerWindow {
  readonly #found: (all: readonly Found[]) => void;
  #tail: Buffer = nothing;
  #held: Buffer = nothing;
  /** Where the carried bytes begin, and the end of the last finding that was told, both from the first byte of the answer. */
  #base = 0;
  #told = 0;

  /** `found`: told of findings before any byte of them goes on, if they came whole; throws to end the answer. */
  constructor(found: (all: readonly Found[]) => void) {
    this.#found = found;
  }

  get holds(): boolean {
    return this.#held.length > 0;
  }

  /** What may go on. */
  next(chunk: Buffer): Buffer {
    return this.#go(chunk, false);
  }

  /** Nothing came for a while: what was held is judged as it is, and goes on. */
  rest(): Buffer {
    return this.#go(nothing, true);
  }

  #go(chunk: Buffer, last: boolean): Buffer {
    const delivered = this.#tail.length;
    const window = Buffer.concat([this.#tail, this.#held, chunk]);
    const all = scan(window);
    // What ends where the window ends may be the beginning of something else: a longer number, a longer word.
    const open = last ? undefined : all.find(({ start, end }) => end === window.length && end - Math.max(start, delivered) < longestOpen);
    const told = all.filter((one) => one !== open && this.#base + one.end > this.#told);
    this.#told = Math.max(this.#told, this.#base + (told.at(-1)?.end ?? 0));
    if (told.length > 0) this.#found(told.map(({ type, kind, confidence }) => ({ type, kind, confidence, place: 'the body' })));
    const from = last ? window.length : Math.max(delivered, Math.min(lastBreak(window), open?.start ?? window.length));
    this.#held = Buffer.from(window.subarray(from));
    const context = contextOf(window, from);
    this.#tail = Buffer.from(window.subarray(context, from));
    this.#base += context;
    return window.subarray(delivered, from);
  }
}

/** Where something may have begun that is not whole yet. */
function lastBreak(window: Buffer): number {
  const least = Math.max(0, window.length - longestStart);
  for (let i = window.length; i > least; i -= 1) if (breaks.has(window[i - 1] ?? 0)) return i;
  return least;
}

/** A number that is cut in two can look like another one, so that what is carried begins behind a break where there is one. */
function contextOf(window: Buffer, until: number): number {
  const from = Math.max(0, until - carried);
  if (from === 0) return 0;
  for (let i = from; i < from + longestStart && i < until; i += 1) if (breaks.has(window[i] ?? 0)) return i + 1;
  return from;
}
