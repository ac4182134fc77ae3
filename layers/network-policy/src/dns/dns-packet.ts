/** The wire form of the few DNS messages we read and write (RFC 1035, 6891). Pure. */

export const recordType = { a: 1, ptr: 12, aaaa: 28, opt: 41, svcb: 64, https: 65, any: 255 } as const;
/** `badVersion` is an extended code: its upper bits travel in the OPT record (RFC 6891 §6.1.3). */
export const responseCode = { ok: 0, formatError: 1, nameError: 3, notImplemented: 4, refused: 5, badVersion: 16 } as const;
/** What we say we take over UDP (RFC 6891 §6.2.5); no answer of ours comes near it. */
const payloadSize = 1232;

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
  /** The EDNS version asked with; undefined: without EDNS. */
  readonly edns: number | undefined;
  /** The question can be read, what follows it cannot. */
  readonly malformed: boolean;
}

/** One resource record about the name of the question: its type and data. */
export interface Answer {
  readonly type: number;
  readonly data: Buffer;
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
  const edns = readEdns(packet, at + 4, packet.readUInt16BE(10));
  return {
    id: packet.readUInt16BE(0), recursionDesired: (flags & 0x0100) !== 0, opcode: (flags >> 11) & 15, edns: edns === 'malformed' ? undefined : edns, malformed: edns === 'malformed',
    name: labels.join('.'), type: packet.readUInt16BE(at), class: packet.readUInt16BE(at + 2), question: packet.subarray(12, at + 4),
  };
}

/** The EDNS version out of the additional section, which may hold one OPT record of the root and nothing else. */
function readEdns(packet: Buffer, at: number, records: number): number | undefined | 'malformed' {
  if (records === 0) return at === packet.length ? undefined : 'malformed';
  if (records > 1 || at + 11 > packet.length || packet[at] !== 0 || packet.readUInt16BE(at + 1) !== recordType.opt) return 'malformed';
  return at + 11 + packet.readUInt16BE(at + 9) === packet.length ? packet[at + 6] : 'malformed';
}

/** An answer to `query` with `answers`, each good for `ttl` seconds; with an OPT record where the question had one. */
export function writeAnswer(query: DnsQuery, code: number, answers: readonly Answer[] = [], ttl = 30): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt16BE(query.id, 0);
  head.writeUInt16BE(0x8080 | (query.recursionDesired ? 0x0100 : 0) | (query.opcode << 11) | (code & 15), 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(answers.length, 6);
  const records = answers.map(({ type, data }) => {
    const fixed = Buffer.alloc(12);
    // The name is the one of the question, which stands right after the head.
    fixed.writeUInt16BE(0xc00c, 0);
    fixed.writeUInt16BE(type, 2);
    fixed.writeUInt16BE(1, 4);
    fixed.writeUInt32BE(ttl, 6);
    fixed.writeUInt16BE(data.length, 10);
    return Buffer.concat([fixed, data]);
  });
  if (query.edns !== undefined) {
    head.writeUInt16BE(1, 10);
    const opt = Buffer.alloc(11);
    opt.writeUInt16BE(recordType.opt, 1);
    opt.writeUInt16BE(payloadSize, 3);
    opt.writeUInt8(code >> 4, 5);
    records.push(opt);
  }
  return Buffer.concat([head, query.question, ...records]);
}

/** A name (lower case, labels of 1 to 63 bytes) as record data. */
export function nameData(name: string): Buffer {
  return Buffer.concat([...name.split('.').map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label, 'latin1')])), Buffer.from([0])]);
}
