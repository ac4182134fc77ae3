/** Undoes the content encodings of an answer as it comes, within bounds: what it grows to is counted while it grows. */
import type { Transform } from 'node:stream';
import { constants, createBrotliDecompress, createGunzip, createInflate, createInflateRaw, createZstdDecompress } from 'node:zlib';

/** Text compresses about tenfold; hundredfold is a bomb. Small ones may grow to this whatever their ratio. */
const mostRatio = 100;
const always = 64 * 1024;
const mostLayers = 3;
/** Bytes that a decoder may keep of what it has decoded: of zstd as RFC 9659 has it, 2^23; of brotli 2^24; the others 2^15. */
const zstdWindow = 23;
const windows: ReadonlyMap<string, number> = new Map([['br', 1 << 24], ['zstd', 1 << zstdWindow]]);
const smallWindow = 1 << 15;

export class DecodeError extends Error {}

/** What is told of the plain bytes, in order; after `ended` or `failed` nothing more. */
export interface Decoded {
  data(bytes: Buffer): void;
  ended(): void;
  failed(error: DecodeError): void;
}

const plain = new Set(['', 'identity']);

/** The encodings that a header names, in the order in which they were applied. */
export const encodingsOf = (header: string): string[] => header.split(',').map((name) => name.trim().toLowerCase()).filter((name) => !plain.has(name));

const known = new Set(['gzip', 'x-gzip', 'deflate', 'br', 'zstd']);

/** Of the encodings that a client accepts, those that can be undone, with their weights; '' for none. */
export function undoable(accepted: string): string {
  return accepted.split(',').map((one) => one.trim()).filter((one) => known.has((one.split(';')[0] ?? '').trim().toLowerCase())).join(', ');
}

export class ContentDecoder {
  readonly #to: Decoded;
  readonly #names: readonly string[];
  /** Made with the first bytes: of "deflate" both readings are in use, which these tell apart. */
  #steps: Transform[] = [];
  #in = 0;
  /** Bytes that each step gave. */
  readonly #out: number[] = [];
  #done = false;
  #head: Buffer = Buffer.alloc(0);

  /** `names`: what `encodingsOf` gave. Throws DecodeError for one that is not known, or too many. */
  constructor(names: readonly string[], to: Decoded) {
    if (names.length > mostLayers) throw new DecodeError(`the body has more than ${mostLayers} content encodings`);
    if (names.some((name) => !known.has(name))) throw new DecodeError('the content encoding of the body is not known');
    this.#names = names;
    this.#to = to;
  }

  /** Bytes of memory that it keeps, about. */
  get kept(): number {
    return this.#out.reduce((sum, bytes, i) => sum + Math.min(bytes, windows.get(this.#names.at(-1 - i) ?? '') ?? smallWindow), 0);
  }

  /** False: wait for `onDrain`. */
  write(chunk: Buffer): boolean {
    if (this.#done) return true;
    this.#in += chunk.length;
    if (this.#steps.length > 0) return this.#steps[0]?.write(chunk) ?? true;
    this.#head = Buffer.concat([this.#head, chunk]);
    if (this.#head.length < 2) return true;
    this.#open(this.#head);
    return this.#steps[0]?.write(this.#head) ?? true;
  }

  onDrain(listener: () => void): void {
    const [first] = this.#steps;
    if (first?.writableNeedDrain === true) first.once('drain', listener);
    else listener();
  }

  /** No more comes. An answer without a byte is an empty one. */
  end(): void {
    if (this.#done) return;
    if (this.#steps.length > 0) this.#steps[0]?.end();
    else if (this.#head.length === 0) {
      this.#done = true;
      this.#to.ended();
    } else this.#fail('the content encoding of the body cannot be undone');
  }

  pause(): void {
    this.#steps.at(-1)?.pause();
  }
  resume(): void {
    this.#steps.at(-1)?.resume();
  }

  /** Nothing is told any more. */
  close(): void {
    this.#done = true;
    for (const step of this.#steps) step.destroy();
  }

  #open(head: Buffer): void {
    this.#steps = this.#names.toReversed().map((name, i) => stepOf(name, i === 0 ? head : undefined));
    const last = this.#steps.at(-1);
    for (const [i, step] of this.#steps.entries()) {
      step.on('error', () => this.#fail('the content encoding of the body cannot be undone'));
      this.#out.push(0);
      step.on('data', (bytes: Buffer) => this.#grow(i, bytes.length));
      const next = this.#steps[i + 1];
      if (next) step.pipe(next);
    }
    last?.on('data', (bytes: Buffer) => {
      if (!this.#done) this.#to.data(bytes);
    });
    last?.once('end', () => {
      if (this.#done) return;
      this.#done = true;
      this.#to.ended();
    });
  }

  /** Each step has its bound: the next one may swallow what this one gives. */
  #grow(step: number, bytes: number): void {
    if (this.#done) return;
    const out = (this.#out[step] ?? 0) + bytes;
    this.#out[step] = out;
    if (out > Math.max(always, this.#in * mostRatio)) this.#fail(`the body decodes to more than ${mostRatio} times its size`);
  }

  #fail(why: string): void {
    if (this.#done) return;
    this.close();
    this.#to.failed(new DecodeError(why));
  }
}

/** Each gives what it has with every piece: an event of a stream must not wait for the next one. */
function stepOf(name: string, head: Buffer | undefined): Transform {
  const flush = constants.Z_SYNC_FLUSH;
  switch (name) {
    case 'gzip': case 'x-gzip': return createGunzip({ flush });
    // RFC 1950 begins with a method of 8 and a check over two bytes.
    case 'deflate': return head === undefined || (((head[0] ?? 0) & 15) === 8 && head.readUInt16BE(0) % 31 === 0) ? createInflate({ flush }) : createInflateRaw({ flush });
    case 'br': return createBrotliDecompress({ flush: constants.BROTLI_OPERATION_FLUSH });
    default: return createZstdDecompress({ flush: constants.ZSTD_e_flush, params: { [constants.ZSTD_d_windowLogMax]: zstdWindow } });
  }
}
