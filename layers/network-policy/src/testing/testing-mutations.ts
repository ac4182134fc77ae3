/** Bytes of a stranger for properties of parsers: changed, and cut into pieces. Pure. */

export const bytesOf = (text: string): Buffer => Buffer.from(text, 'latin1');

/** `way` (0 to 5): a byte set, put in or taken out, a piece doubled, moved or cut off. */
export interface Change {
  readonly at: number;
  readonly byte: number | string;
  readonly way: number;
  readonly size: number;
}
/** Values for `Change.byte` that mean something to parsers. */
export const telling = [...'\r\n\0 \t:;,.<>@%"\\{}[]$*'];

export function changed(seed: string | Buffer, changes: readonly Change[]): Buffer {
  let out = typeof seed === 'string' ? bytesOf(seed) : seed;
  for (const { at, byte, way, size } of changes) {
    const here = at % (out.length + 1);
    const one = typeof byte === 'number' ? Buffer.from([byte]) : bytesOf(byte);
    if (way === 0) out = Buffer.concat([out.subarray(0, here), one, out.subarray(here + 1)]);
    else if (way === 1) out = Buffer.concat([out.subarray(0, here), one, out.subarray(here)]);
    else if (way === 2) out = Buffer.concat([out.subarray(0, here), out.subarray(here + 1 + (size % 4))]);
    else if (way === 3) out = Buffer.concat([out.subarray(0, here), out.subarray(Math.max(0, here - size))]);
    else if (way === 4) out = Buffer.concat([out.subarray(here), out.subarray(0, here)]);
    else out = out.subarray(0, here);
  }
  return out;
}

/** `sizes`: of the pieces, over and over. */
export function cut(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const out: Buffer[] = [];
  for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
    const size = sizes[turn % sizes.length] ?? 1;
    out.push(bytes.subarray(at, at + size));
    at += size;
  }
  return out;
}
