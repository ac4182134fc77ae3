/** Values as keyed hashes in a table of one size, which the thread that inspects long bodies reads too. */
import { hash } from 'node:crypto';
import { piecesOf, type Piece } from './pieces.ts';
import type { Finding } from '@nemoclaw/detect';

/** Hashes of one row: when it is full, the oldest goes. With 50,000 values hardly any is. */
const ways = 16;
const rows = 8192;
/** The lowest bit of a hash's second word. */
const restricted = 1;

/** What is looked for; can be handed to another thread. */
export interface Sought {
  readonly key: string;
  readonly slots: Uint32Array;
  /** Values with this label alone are looked for: the place takes the others. Undefined: all. */
  readonly only?: 'restricted';
}

/** 63 bits; the low bit of the second word is free. */
function keyed(key: string, value: string): readonly [number, number] {
  // As text: a buffer for each of a million values costs more than their hashes.
  const digest = hash('sha256', `${key}${value}`, 'binary');
  const word = (at: number): number => (digest.charCodeAt(at) | (digest.charCodeAt(at + 1) << 8) | (digest.charCodeAt(at + 2) << 16) | (digest.charCodeAt(at + 3) << 24)) >>> 0;
  // A slot of zeros is an empty one.
  return [word(0) || 1, (word(4) & ~restricted) >>> 0];
}

/** The hashes of values, two words each, as `Memory.add` takes them: of a long body they are made in another thread. */
export function hashesOf(key: string, values: Iterable<string>): Uint32Array {
  const unlike = new Set(values);
  const out = new Uint32Array(unlike.size * 2);
  let i = 0;
  for (const value of unlike) {
    out.set(keyed(key, value), i);
    i += 2;
  }
  return out;
}

/** The slot of a hash, or -1. */
function slotOf(slots: Uint32Array, first: number, second: number): number {
  const from = (first % rows) * ways * 2;
  for (let at = from; at < from + ways * 2; at += 2) if (slots[at] === first && ((slots[at + 1] ?? 0) & ~restricted) >>> 0 === second) return at;
  return -1;
}

export class Memory {
  readonly #slots = new Uint32Array(new SharedArrayBuffer(rows * ways * 2 * 4));
  /** The slot of each row that is filled next. */
  readonly #next = new Uint8Array(rows);
  readonly #key: string;
  /** How many had to go. */
  forgotten = 0;

  constructor(key: string) {
    this.#key = key;
  }

  sought(only?: 'restricted'): Sought {
    return { key: this.#key, slots: this.#slots, ...(only ? { only } : {}) };
  }

  /** A value that came with two labels keeps the lower one: a place with that label knows it already. */
  add(hashes: Uint32Array, level: 'confidential' | 'restricted'): void {
    const bit = level === 'restricted' ? restricted : 0;
    for (let i = 0; i + 1 < hashes.length; i += 2) {
      const [first = 0, second = 0] = hashes.subarray(i, i + 2);
      const known = slotOf(this.#slots, first, second);
      const row = first % rows;
      const at = known >= 0 ? known : (row * ways + (this.#next[row] ?? 0)) * 2;
      if (known < 0) {
        this.#next[row] = ((this.#next[row] ?? 0) + 1) % ways;
        if (this.#slots[at] !== 0) this.forgotten += 1;
      }
      this.#slots[at + 1] = known >= 0 ? ((this.#slots[at + 1] ?? 0) & (second | bit)) >>> 0 : (second | bit) >>> 0;
      this.#slots[at] = first;
    }
  }
}

/** Where values stand in a text that are looked for, from left to right; of two that overlap the outer one, or both as one. `found`: what detectors have found in it. */
export function taintedIn(text: string, sought: Sought | undefined, found?: readonly Finding[]): Piece[] {
  if (!sought) return [];
  const hits: Piece[] = [];
  for (const piece of piecesOf(text, found)) {
    const [first, second] = keyed(sought.key, text.slice(piece.start, piece.end));
    const at = slotOf(sought.slots, first, second);
    if (at >= 0 && (sought.only === undefined || ((sought.slots[at + 1] ?? 0) & restricted) !== 0)) hits.push(piece);
  }
  return joined(hits);
}

/** Pieces that overlap as one, from left to right, with what else the first of them has. */
export function joined<T extends Piece>(pieces: readonly T[]): T[] {
  const out: T[] = [];
  for (const piece of pieces.toSorted((a, b) => a.start - b.start || b.end - a.end)) {
    const last = out.at(-1);
    if (last && piece.start < last.end) out[out.length - 1] = { ...last, end: Math.max(last.end, piece.end) };
    else out.push(piece);
  }
  return out;
}
