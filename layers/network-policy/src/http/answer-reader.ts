/** Reads answers of HTTP/1.1 (RFC 9112) as their bytes come: strict, bounded, and of one opinion on where each ends. What it is not sure of is an error. */
import { fieldLines, readFields } from './field-lines.ts';

/** Told in this order: heads (the last one final), bytes of the body, the end. */
export interface AnswerEvents {
  /** `fields`: name, value, name, value…; `status` below 200: another head follows. */
  head(status: number, fields: string[]): void;
  data(bytes: Buffer): void;
  end(trailers: string[]): void;
}

/** Bytes of a head or of trailers, of a line that says how long a chunk is, and heads before the final one, at most. */
const longestHead = 64 * 1024;
const longestSize = 1024;
export const mostInterim = 16;

const shape = new RegExp(String.raw`^HTTP/1\.([01]) ([1-9]\d\d)(?: [\t\x20-\x7e\x80-\xff]*)?${fieldLines}$`);
const trailerShape = new RegExp(`^${fieldLines}$`);
const sizeLine = /^([0-9A-Fa-f]{1,12})(?:;[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:=[!#$%&'*+.^_`|~0-9A-Za-z-]+)?)*$/;
const gap = Buffer.from('\r\n\r\n');
const lineEnd = gap.subarray(2);
const nothing: Buffer = Buffer.alloc(0);

type State = 'head' | 'length' | 'close' | 'size' | 'chunk' | 'behind' | 'trailers' | 'done';

export class AnswerReader {
  readonly #method: string;
  readonly #events: AnswerEvents;
  #state: State = 'head';
  /** What came and is not told of yet: where it waits for more, the used part of `#kept`. */
  #rest = nothing;
  #kept = nothing;
  /** Bytes of it in which the end of a line or a head was looked for in vain. */
  #looked = 0;
  /** Bytes that are still to come of the body or the chunk. */
  #left = 0;
  #heads = 0;
  /** Whoever is told hears nothing more until `goOn`. */
  #held = false;
  #reading = false;
  /** The answer has ended while nobody was to be told: its trailers. */
  #untold: string[] | undefined;
  /** Whether the connection can be used again once this answer has ended. */
  reusable = false;
  /** ms that the origin keeps an idle connection, where it says. */
  keepMs: number | undefined;

  constructor(method: string, events: AnswerEvents) {
    this.#method = method;
    this.#events = events;
  }

  get answering(): boolean {
    return this.#state !== 'head';
  }
  get done(): boolean {
    return this.#state === 'done';
  }

  /** Throws where it is no answer, or more than one. */
  push(bytes: Buffer): void {
    this.#rest = this.#rest.length > 0 ? this.#join(bytes) : bytes;
    if (!this.#held && !this.#reading) this.#read();
  }

  /** What waits, and these behind it. Not all of it is copied for each: many may be small. */
  #join(bytes: Buffer): Buffer {
    const { length } = this.#rest;
    const from = this.#rest.buffer === this.#kept.buffer ? this.#rest.byteOffset - this.#kept.byteOffset : this.#kept.length;
    if (from + length + bytes.length <= this.#kept.length) {
      bytes.copy(this.#kept, from + length);
      return this.#kept.subarray(from, from + length + bytes.length);
    }
    // Memory of its own: parts of it may be told of while more is written behind them.
    this.#kept = Buffer.allocUnsafeSlow(2 * (length + bytes.length));
    this.#rest.copy(this.#kept);
    bytes.copy(this.#kept, length);
    return this.#kept.subarray(0, length + bytes.length);
  }

  /** Where `end` begins, -1 where more must come first. Throws where more than `longest` bytes come before it. */
  #find(chunk: Buffer, end: Buffer, longest: number, what: string): number {
    const at = chunk.indexOf(end, Math.max(0, this.#looked - end.length + 1));
    this.#looked = at < 0 ? chunk.length : 0;
    // What came last may be the beginning of `end`: how the bytes are cut makes no difference.
    if (at > longest || (at < 0 && chunk.length >= longest + end.length)) throw new Error(`${what} too large`);
    return at;
  }

  /** Nothing more is told until `goOn`. */
  hold(): void {
    this.#held = true;
  }

  /** Throws as `push` does. */
  goOn(): void {
    this.#held = false;
    const trailers = this.#untold;
    this.#untold = undefined;
    if (trailers) this.#events.end(trailers);
    if (!this.#reading && this.#rest.length > 0) this.#read();
  }

  #read(): void {
    this.#reading = true;
    try {
      while (this.#rest.length > 0 && !this.#held) {
        const taken = this.#step(this.#rest);
        if (taken === 0) return;
        this.#rest = this.#rest.subarray(taken);
      }
    } finally {
      this.#reading = false;
    }
  }

  /** The origin closed. Throws where the answer is not whole. */
  close(): void {
    if (this.#state === 'close') this.#end([]);
    else if (this.#state !== 'done') throw new Error('the origin closed the connection before its answer was whole');
  }

  /** Takes what it can of `chunk`, which is not empty: bytes taken, 0 where more must come first. */
  #step(chunk: Buffer): number {
    switch (this.#state) {
      case 'head': return this.#head(chunk);
      case 'length': return this.#body(chunk, () => this.#end([]));
      case 'chunk': return this.#body(chunk, () => { this.#state = 'behind'; });
      case 'close':
        this.#events.data(chunk);
        return chunk.length;
      case 'size': return this.#size(chunk);
      case 'behind':
        if (chunk.length < 2) return 0;
        if (chunk[0] !== 0x0d || chunk[1] !== 0x0a) throw new Error('a chunk of the answer is longer than it says');
        this.#state = 'size';
        return 2;
      case 'trailers': return this.#trailers(chunk);
      case 'done': throw new Error('the origin sent more than its answer');
    }
  }

  #head(chunk: Buffer): number {
    const end = this.#find(chunk, gap, longestHead, 'the head of the answer is');
    if (end < 0) return 0;
    const [, minor, code, lines] = shape.exec(chunk.toString('latin1', 0, end)) ?? [];
    if (code === undefined || lines === undefined) throw new Error('the head of the answer is not well-formed');
    const status = Number(code);
    const fields = readFields(lines);
    this.#heads += 1;
    if (status < 200) {
      // Nothing else was asked for.
      if (status === 101) throw new Error('the origin changed to another protocol');
      if (this.#heads > mostInterim) throw new Error('the origin sent too many interim answers');
      this.#events.head(status, fields);
      return end + 4;
    }
    const framing = framingOf(fields, minor === '1');
    const bodiless = this.#method === 'HEAD' || status === 204 || status === 304;
    this.keepMs = framing.keepMs;
    // A body that should not be there would be taken for the next answer; some origins send one to HEAD.
    this.reusable = framing.keeps && this.#method !== 'HEAD' && !(bodiless && (framing.chunked || (framing.length ?? 0) > 0));
    this.#left = framing.length ?? 0;
    const empty = bodiless || framing.length === 0;
    if (empty) this.#state = 'done';
    else if (framing.chunked) this.#state = 'size';
    else if (framing.length !== undefined) this.#state = 'length';
    else {
      this.#state = 'close';
      this.reusable = false;
    }
    this.#events.head(status, fields);
    if (empty) this.#end([]);
    return end + 4;
  }

  #body(chunk: Buffer, whole: () => void): number {
    const taken = Math.min(chunk.length, this.#left);
    this.#left -= taken;
    this.#events.data(taken === chunk.length ? chunk : chunk.subarray(0, taken));
    if (this.#left === 0) whole();
    return taken;
  }

  #size(chunk: Buffer): number {
    const end = this.#find(chunk, lineEnd, longestSize, 'the line before a chunk is');
    if (end < 0) return 0;
    const [, digits] = sizeLine.exec(chunk.toString('latin1', 0, end)) ?? [];
    if (digits === undefined) throw new Error('the length of a chunk is none');
    this.#left = Number.parseInt(digits, 16);
    if (this.#left > 0) {
      this.#state = 'chunk';
      return end + 2;
    }
    // The line's own end is where trailers, or their absence, are looked for.
    this.#state = 'trailers';
    return end;
  }

  #trailers(chunk: Buffer): number {
    const end = this.#find(chunk, gap, longestHead, 'the trailers of the answer are');
    if (end < 0) return 0;
    const [, lines] = trailerShape.exec(chunk.toString('latin1', 0, end)) ?? [];
    if (lines === undefined) throw new Error('the trailers of the answer are not well-formed');
    this.#end(readFields(lines));
    return end + 4;
  }

  #end(trailers: string[]): void {
    this.#state = 'done';
    if (this.#held) this.#untold = trailers;
    else this.#events.end(trailers);
  }
}

interface Framing {
  readonly length: number | undefined;
  readonly chunked: boolean;
  readonly keeps: boolean;
  readonly keepMs: number | undefined;
}

/** What the fields say of the end of the body, and of the connection. Throws where they say more than one thing. */
function framingOf(fields: readonly string[], persistent: boolean): Framing {
  let length: number | undefined;
  let chunked = false;
  let keeps = persistent;
  let closes = false;
  let keepMs: number | undefined;
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const value = fields[i + 1] ?? '';
    switch (fields[i]?.toLowerCase()) {
      case 'content-length':
        if (length !== undefined || !/^\d{1,15}$/.test(value)) throw new Error('the answer has no one length');
        length = Number(value);
        break;
      case 'transfer-encoding':
        if (chunked || !persistent || value.toLowerCase() !== 'chunked') throw new Error('the answer has a transfer encoding that is not understood');
        chunked = true;
        break;
      case 'connection': {
        const options = value.toLowerCase().split(',').map((option) => option.trim());
        closes ||= options.includes('close');
        keeps ||= options.includes('keep-alive');
        break;
      }
      case 'keep-alive': {
        const [, seconds] = /(?:^|[,\s])timeout=(\d{1,6})/i.exec(value) ?? [];
        if (seconds !== undefined) keepMs = Number(seconds) * 1000;
        break;
      }
      default:
    }
  }
  if (chunked && length !== undefined) throw new Error('the answer has both a length and a transfer encoding');
  return { length, chunked, keeps: keeps && !closes, keepMs };
}
