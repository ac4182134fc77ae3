/** Protobuf fields as a service writes them, for tests (https://protobuf.dev/programming-guides/encoding/), and messages of gRPC around them. */

export function varint(value: bigint): Buffer {
  const out: number[] = [];
  for (let rest = BigInt.asUintN(64, value); ; rest >>= 7n) {
    if (rest < 128n) return Buffer.from([...out, Number(rest)]);
    out.push(Number(rest & 127n) | 0x80);
  }
}

/** A text, bytes or a message. */
export function field(id: number, value: string | Buffer): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([varint(BigInt(id) * 8n + 2n), varint(BigInt(bytes.length)), bytes]);
}

export const number = (id: number, value: bigint): Buffer => Buffer.concat([varint(BigInt(id) * 8n), varint(value)]);

/** One message of gRPC. */
export function framed(data: Buffer | string, compressed = false): Buffer {
  const bytes = Buffer.from(data);
  const head = Buffer.alloc(5);
  head[0] = compressed ? 1 : 0;
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}
