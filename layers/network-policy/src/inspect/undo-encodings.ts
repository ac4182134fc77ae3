/** Undoes content encodings (RFC 9110, 8.4), also stacked ones, within bounds: what a small body may grow to is decided before it grows. */
import { brotliDecompressSync, gunzipSync, inflateRawSync, inflateSync, zstdDecompressSync } from 'node:zlib';

/** `bomb`: it grows beyond the bounds. `unknown`: an encoding we do not know. `damaged`: it cannot be undone, or bytes are left behind its end. */
export type Undone = { readonly state: 'done'; readonly body: Buffer } | { readonly state: 'bomb' | 'unknown' | 'damaged'; readonly why: string };

/** Text compresses about tenfold; hundredfold is a bomb or nothing to read. */
const mostRatio = 100;
/** Small bodies may grow to this whatever their ratio. */
const always = 64 * 1024;
const mostLayers = 3;

type Step = (body: Buffer, options: { readonly maxOutputLength: number; readonly chunkSize: number; readonly info: true }) => unknown;
const steps: ReadonlyMap<string, readonly Step[]> = new Map<string, readonly Step[]>([
  ['gzip', [gunzipSync]],
  ['x-gzip', [gunzipSync]],
  // Both readings of "deflate" are in use.
  ['deflate', [inflateSync, inflateRawSync]],
  ['br', [brotliDecompressSync]],
  ['zstd', [zstdDecompressSync]],
]);

/** `encoding`: the header's value, '' for none. The result has at most `limit` bytes, and at most a hundred times the body's (but 64 KiB in any case). */
export function undoEncodings(body: Buffer, encoding: string, limit: number): Undone {
  const names = encoding.split(',').map((name) => name.trim().toLowerCase()).filter((name) => name !== '' && name !== 'identity');
  if (names.length > mostLayers) return { state: 'bomb', why: `the body has more than ${mostLayers} content encodings` };
  const bound = Math.min(limit, Math.max(always, body.length * mostRatio));
  let current = body;
  for (const name of names.toReversed()) {
    const ways = steps.get(name);
    if (!ways) return { state: 'unknown', why: 'the content encoding of the body is not known' };
    const next = undo(current, ways, bound);
    if (!Buffer.isBuffer(next)) return next;
    current = next;
  }
  return { state: 'done', body: current };
}

/** Bytes of the pieces in which a body grows: few pieces for what is large, since each is garbage that the thread has to collect. */
function pieceFor(length: number): number {
  return Math.min(256 * 1024, Math.max(16 * 1024, length * 8));
}

function undo(body: Buffer, ways: readonly Step[], bound: number): Buffer | Undone {
  let undone: Buffer | undefined;
  let readings = 0;
  let last: Undone = { state: 'damaged', why: 'the content encoding of the body cannot be undone' };
  for (const way of ways) {
    try {
      const result = way(body, { maxOutputLength: bound, chunkSize: pieceFor(body.length), info: true }) as { readonly buffer: Buffer; readonly engine: { readonly bytesWritten: number } };
      // Bytes behind the end would be read by somebody else, or by nobody: neither was looked at.
      readings += 1;
      if (result.engine.bytesWritten === body.length) undone ??= result.buffer;
      else last = { state: 'damaged', why: 'the encoded body goes on behind its end' };
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ERR_BUFFER_TOO_LARGE') return { state: 'bomb', why: `the body decodes to more than ${bound} bytes` };
    }
  }
  // Made so that each reader sees another body.
  if (readings > 1) return { state: 'damaged', why: 'the content encoding of the body can be undone in two ways' };
  return undone ?? last;
}
