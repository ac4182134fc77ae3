/** The few DER forms that a certificate needs, written and read by hand (X.690). */

/** One tag-length-value; `parts` are already encoded. Content up to 65,535 bytes. */
export function tlv(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const size = content.length;
  if (size > 0xffff) throw new RangeError(`DER content of ${size} bytes is too long`);
  const length = size < 0x80 ? [size] : size < 0x100 ? [0x81, size] : [0x82, size >> 8, size & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
}

export const sequence = (...parts: readonly Buffer[]): Buffer => tlv(0x30, ...parts);
export const setOf = (...parts: readonly Buffer[]): Buffer => tlv(0x31, ...parts);
export const octets = (content: Buffer): Buffer => tlv(0x04, content);
export const utf8 = (text: string): Buffer => tlv(0x0c, Buffer.from(text, 'utf8'));
export const yes: Buffer = Buffer.from([0x01, 0x01, 0xff]);

/** A BIT STRING whose last byte has `unused` bits that do not count. */
export const bits = (content: Buffer, unused = 0): Buffer => tlv(0x03, Buffer.from([unused]), content);

/** A non-negative INTEGER given as big-endian bytes; a leading zero is put in where the sign bit is set. */
export function integer(bytes: Buffer): Buffer {
  const first = bytes[0] ?? 0;
  return first & 0x80 ? tlv(0x02, Buffer.from([0]), bytes) : tlv(0x02, bytes);
}

/** An OBJECT IDENTIFIER from its dotted form. */
export function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const out = [first * 40 + second];
  for (const arc of rest) {
    const groups = [arc & 0x7f];
    for (let left = arc >>> 7; left > 0; left >>>= 7) groups.unshift((left & 0x7f) | 0x80);
    out.push(...groups);
  }
  return tlv(0x06, Buffer.from(out));
}

/** A time in the form RFC 5280 asks for: UTCTime before 2050, GeneralizedTime after. `at` in ms since epoch. */
export function time(at: number): Buffer {
  const date = new Date(at);
  const digits = date.toISOString().replace(/[-:T]/g, '').slice(0, 14);
  return date.getUTCFullYear() < 2050 ? tlv(0x17, Buffer.from(`${digits.slice(2)}Z`)) : tlv(0x18, Buffer.from(`${digits}Z`));
}

/** One element as read: `whole` includes tag and length, `content` does not. */
export interface Element {
  readonly tag: number;
  readonly whole: Buffer;
  readonly content: Buffer;
}

/** The elements of a constructed value's content, in order. Throws RangeError on damage. */
export function elements(content: Buffer): Element[] {
  const out: Element[] = [];
  let at = 0;
  while (at < content.length) {
    const tag = content[at] ?? 0;
    let size = content[at + 1] ?? 0;
    let head = 2;
    if (size & 0x80) {
      const bytes = size & 0x7f;
      if (bytes < 1 || bytes > 4 || at + 2 + bytes > content.length) throw new RangeError('damaged DER length');
      size = content.readUIntBE(at + 2, bytes);
      head += bytes;
    }
    const end = at + head + size;
    if (end > content.length) throw new RangeError('DER element runs past its end');
    out.push({ tag, whole: content.subarray(at, end), content: content.subarray(at + head, end) });
    at = end;
  }
  return out;
}
