/** HTTP/2 in raw frames (RFC 9113), for tests. */

export const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
export const types = { data: 0, headers: 1, priority: 2, reset: 3, settings: 4, push: 5, ping: 6, goaway: 7, window: 8, continuation: 9 } as const;
export const flags = { endStream: 1, ack: 1, endHeaders: 4 } as const;
export function frame(type: keyof typeof types, flag: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = types[type];
  head[4] = flag;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}
/** HPACK literals without indexing and without Huffman coding (RFC 7541 §6.2.2). */
export function block(fields: readonly (readonly [string, string])[]): Buffer {
  const text = (value: string): Buffer => {
    const bytes = Buffer.from(value, 'latin1');
    if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes]);
    const rest = bytes.length - 127;
    const size: number[] = [127];
    let left = rest;
    while (left >= 128) {
      size.push((left & 127) | 128);
      left >>= 7;
    }
    size.push(left);
    return Buffer.concat([Buffer.from(size), bytes]);
  };
  return Buffer.concat(fields.map(([name, value]) => Buffer.concat([Buffer.from([0]), text(name), text(value)])));
}
export type Fields = readonly (readonly [string, string])[];
