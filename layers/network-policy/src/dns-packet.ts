/** The wire form of the few DNS messages we read and write (RFC 1035, 6891). Pure. */

export const recordType = { a: 1, aaaa: 28, svcb: 64, https: 65, any: 255 } as const;
export const responseCode = { ok: 0, formatError: 1, nameError: 3, notImplemented: 4, refused: 5 } as const;

export interface DnsQuery {
  readonly id: number;
  readonly recursionDesired: boolean;
  /** Lower case, no trailing dot. */
  readonly name: string;
  readonly type: number;
  readonly class: number;
  readonly opcode: number;
  /** The question section exactly as it came: answers repeat its spelling. */
  readonly question: Buffer;
}

/** Reads a query with exactly one question; undefined for anything that gets no answer at all. */
export function readQuery(packet: Buffer): DnsQuery | undefined {
  if (packet.length < 17 || packet.length > 4096) return undefined;
  const flags = packet.readUInt16BE(2);
  if (flags & 0x8000) return undefined;
  if (packet.readUInt16BE(4) !== 1 || packet.readUInt16BE(6) !== 0 || packet.readUInt16BE(8) !== 0) return undefined;
  const labels: string[] = [];
  let at = 12;
  for (;;) {
    const size = packet[at];
    // A label byte over 63 is a compression pointer: it has no place in a question.
    if (size === undefined || size > 63) return undefined;
    at += 1;
    if (size === 0) break;
    if (at + size > packet.length || at - 12 + size > 254) return undefined;
    const label = packet.toString('latin1', at, at + size).toLowerCase();
    // An unusual byte becomes a name that no rule allows, and that is safe to show.
    labels.push(/^[a-z0-9_-]+$/.test(label) ? label : `?${Buffer.from(label, 'latin1').toString('hex')}`);
    at += size;
  }
  if (at + 4 > packet.length) return undefined;
  return {
    id: packet.readUInt16BE(0), recursionDesired: (flags & 0x0100) !== 0, opcode: (flags >> 11) & 15,
    name: labels.join('.'), type: packet.readUInt16BE(at), class: packet.readUInt16BE(at + 2), question: packet.subarray(12, at + 4),
  };
}

/** An answer to `query`: with `address` one A record of that IPv4 address and `ttl` seconds, else none. */
export function writeAnswer(query: DnsQuery, code: number, address?: string, ttl = 30): Buffer {
  const answer = address === undefined ? Buffer.alloc(0) : Buffer.alloc(16);
  if (address !== undefined) {
    answer.writeUInt16BE(0xc00c, 0);
    answer.writeUInt16BE(recordType.a, 2);
    answer.writeUInt16BE(1, 4);
    answer.writeUInt32BE(ttl, 6);
    answer.writeUInt16BE(4, 10);
    address.split('.').forEach((part, i) => answer.writeUInt8(Number(part), 12 + i));
  }
  const head = Buffer.alloc(12);
  head.writeUInt16BE(query.id, 0);
  head.writeUInt16BE(0x8080 | (query.recursionDesired ? 0x0100 : 0) | (query.opcode << 11) | code, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(address === undefined ? 0 : 1, 6);
  return Buffer.concat([head, query.question, answer]);
}
