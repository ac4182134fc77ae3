/** HTTP/2 in raw frames (RFC 9113) with header blocks of plain literals (RFC 7541 §6.2.2), and just enough reading to know what came back. */

export const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
export const types = { data: 0, headers: 1, priority: 2, reset: 3, settings: 4, push: 5, ping: 6, goaway: 7, window: 8, continuation: 9 } as const;
export const flag = { endStream: 1, ack: 1, endHeaders: 4, padded: 8, priority: 32 } as const;

/** `type`: by name, or the number of one that nobody knows. */
export function frame(type: keyof typeof types | number, flags: number, stream: number, payload: Buffer | string = ''): Buffer {
  const content = typeof payload === 'string' ? Buffer.from(payload, 'latin1') : payload;
  const head = Buffer.alloc(9);
  head.writeUIntBE(content.length, 0, 3);
  head[3] = typeof type === 'number' ? type : types[type];
  head[4] = flags;
  head.writeUInt32BE(stream >>> 0, 5);
  return Buffer.concat([head, content]);
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'latin1');
  if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  const size = [127];
  let left = bytes.length - 127;
  for (; left >= 128; left >>= 7) size.push((left & 127) | 128);
  return Buffer.concat([Buffer.from([...size, left]), bytes]);
}

export type Fields = readonly (readonly [string, string])[];
/** `kind`: 0 not indexed, 0x40 kept in the table, 0x10 never indexed. */
export const block = (fields: Fields, kind = 0): Buffer => Buffer.concat(fields.map(([name, value]) => Buffer.concat([Buffer.from([kind]), text(name), text(value)])));
export const u32 = (value: number): Buffer => Buffer.from([(value >>> 24) & 255, (value >>> 16) & 255, (value >>> 8) & 255, value & 255]);
export const setting = (id: number, value: number): Buffer => Buffer.concat([Buffer.from([id >> 8, id & 255]), u32(value)]);

const digits = new Map([['00000', '0'], ['00001', '1'], ['00010', '2'], ['011001', '3'], ['011010', '4'], ['011011', '5'], ['011100', '6'], ['011101', '7'], ['011110', '8'], ['011111', '9']]);
const indexed: Readonly<Record<number, number>> = { 8: 200, 9: 204, 10: 206, 11: 304, 12: 400, 13: 404, 14: 500 };

/** The status at the start of the first header block of a connection; 0 where it is none that a server of ours sends. */
export function statusOf(given: Buffer): number {
  let bytes = given;
  // Changes of the table's size come first.
  while (((bytes[0] ?? 0) & 0xe0) === 0x20) bytes = bytes.subarray((bytes[0] ?? 0) === 0x3f ? 2 + bytes.subarray(1).findIndex((byte) => byte < 128) : 1);
  const first = bytes[0] ?? 0;
  if (first & 0x80) return indexed[first & 0x7f] ?? 0;
  const length = (bytes[1] ?? 0) & 0x7f;
  const value = bytes.subarray(2, 2 + length);
  if (((bytes[1] ?? 0) & 0x80) === 0) return Number(value.toString('latin1'));
  const bits = [...value].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  let out = '';
  for (let at = 0, from = 0; at <= bits.length && out.length < 3; at += 1) {
    const digit = digits.get(bits.slice(from, at));
    if (digit === undefined) continue;
    out += digit;
    from = at;
  }
  return Number(out);
}
