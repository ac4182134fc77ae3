/** The scanner of a text that comes in pieces: it says the same as `scan` of the whole, with a bounded memory. */
import { bytesOf } from './characters.ts';
import { settle, type Finding } from './finding.ts';
import { compileKnown, findKnown, type KnownSet } from './known.ts';
import { lookAhead, lookBack, pass, type Position } from './pass.ts';
import type { ScanOptions } from './scan.ts';

/** No finding starts further back than this from where its detector stood. */
const reach = 512;

/**
 * `push` and `end` give the findings that are certain by now, with offsets from the first byte of the stream; each is given once, in order.
 * Keeps at most about 25 KiB besides the piece it was given (more only where a known value is longer).
 */
export class Scanner {
  readonly #known: KnownSet | undefined;
  readonly #ahead: number;
  readonly #position: Position = { at: 0, word: -1 };
  /** Of the known values: where the search stands. */
  #knownAt = 0;
  #text = '';
  /** Offset of `#text` in the stream. */
  #base = 0;
  #open: Finding[] = [];

  constructor(options: ScanOptions = {}) {
    this.#known = options.known ? compileKnown(options.known) : undefined;
    const longest = this.#known?.byteNeedles.reduce((most, needle) => Math.max(most, needle.length), 0) ?? 0;
    this.#ahead = Math.max(lookAhead, longest);
  }

  push(chunk: Uint8Array): Finding[] {
    this.#text += Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength).toString('latin1');
    return this.#go(this.#text.length - this.#ahead, false);
  }

  end(): Finding[] {
    return this.#go(this.#text.length, true);
  }

  #go(until: number, last: boolean): Finding[] {
    if (until > this.#position.at) {
      const found: Finding[] = [];
      pass(this.#text, bytesOf(this.#text), this.#position, until, found);
      if (this.#known) {
        findKnown(this.#text, this.#known.byteIndex, found, this.#knownAt, last ? undefined : until);
        this.#knownAt = until;
      }
      for (const finding of found) this.#open.push({ ...finding, start: finding.start + this.#base, end: finding.end + this.#base });
    }
    if (last) return settle(this.#open.splice(0));
    const certain = this.#certain();
    this.#forget();
    return certain;
  }

  /** Findings that nothing later can overlap, together with all that they overlap. */
  #certain(): Finding[] {
    if (this.#open.length === 0) return [];
    const sorted = this.#open.toSorted((a, b) => a.start - b.start);
    const horizon = Math.min(this.#position.at, this.#known ? this.#knownAt : Infinity) + this.#base - reach;
    let take = 0;
    let end = 0;
    for (const [i, finding] of sorted.entries()) {
      if (finding.start >= end && i > 0 && end <= horizon) take = i;
      end = Math.max(end, finding.end);
    }
    if (end <= horizon) take = sorted.length;
    this.#open = sorted.slice(take);
    return settle(sorted.slice(0, take));
  }

  /** What no detector looks back at goes. Cut rarely, so that small pieces cost little. */
  #forget(): void {
    const cut = Math.min(this.#position.at, this.#known ? this.#knownAt : Infinity) - lookBack;
    if (cut < 2 * lookBack) return;
    this.#text = this.#text.slice(cut);
    this.#base += cut;
    this.#position.at -= cut;
    if (this.#position.word >= 0) this.#position.word -= cut;
    this.#knownAt -= cut;
  }
}
