/** Reads the server name out of a TLS ClientHello that may be split over records and packets (RFC 8446 §4.1.2, §5.1). Pure. */

/** `more`: not whole before `missing` further bytes came, at the least. `bad`: never will be. */
export type HelloRead =
  | { readonly state: 'more'; readonly missing: number }
  | { readonly state: 'bad'; readonly why: string }
  | { readonly state: 'whole'; readonly serverName: string | undefined; readonly encryptedHello: boolean; readonly protocols: readonly string[] };

/** Longest ClientHello accepted; post-quantum key shares make them about 2 KiB. */
const maxHello = 16 * 1024;
const bad = (why: string): HelloRead => ({ state: 'bad', why });

export function readClientHello(bytes: Buffer): HelloRead {
  const message = handshakeBytes(bytes);
  if (!Buffer.isBuffer(message)) return message;
  try {
    return parse(message);
  } catch (error) {
    if (error instanceof RangeError) return bad('lengths inside the ClientHello do not fit');
    throw error;
  }
}

/** Joins the content of handshake records until one whole ClientHello is there. */
function handshakeBytes(bytes: Buffer): Buffer | HelloRead {
  const parts: Buffer[] = [];
  let have = 0;
  let need = 4;
  const more = (): HelloRead => ({ state: 'more', missing: Math.max(1, need - have) });
  for (let at = 0; ; ) {
    if (bytes.length < at + 1) return more();
    if (bytes[at] !== 0x16) return bad('not a handshake record');
    if (bytes.length >= at + 2 && bytes[at + 1] !== 3) return bad('not TLS');
    if (bytes.length < at + 5) return more();
    const size = bytes.readUInt16BE(at + 3);
    if (size === 0 || size > 16_384) return bad('record length');
    const content = bytes.subarray(at + 5, at + 5 + size);
    parts.push(content);
    have += content.length;
    if (have >= 4 && need === 4) {
      const head = Buffer.concat(parts);
      if (head[0] !== 1) return bad('the first message is not a ClientHello');
      need = 4 + head.readUIntBE(1, 3);
      if (need === 4 || need > maxHello) return bad('the ClientHello is empty or too long');
    }
    if (have >= need && need > 4) return Buffer.concat(parts).subarray(4, need);
    if (content.length < size) return more();
    at += 5 + size;
  }
}

function parse(message: Buffer): HelloRead {
  let at = 2 + 32;
  at += 1 + message.readUInt8(at);
  at += 2 + message.readUInt16BE(at);
  at += 1 + message.readUInt8(at);
  let serverName: string | undefined;
  let encryptedHello = false;
  const protocols: string[] = [];
  if (at === message.length) return { state: 'whole', serverName, encryptedHello, protocols };
  const end = at + 2 + message.readUInt16BE(at);
  if (end !== message.length) return bad('extensions do not end with the message');
  at += 2;
  const seen = new Set<number>();
  while (at < end) {
    const type = message.readUInt16BE(at);
    const size = message.readUInt16BE(at + 2);
    at += 4;
    if (at + size > end) return bad('an extension runs past the end');
    if (seen.has(type)) return bad('an extension comes twice');
    seen.add(type);
    const body = message.subarray(at, at + size);
    if (type === 0) {
      const name = readServerName(body);
      if (name === undefined) return bad('the server name is malformed');
      serverName = name;
    } else if (type === 16) {
      for (let i = 2; i < body.length; ) {
        const length = body.readUInt8(i);
        protocols.push(body.toString('latin1', i + 1, i + 1 + length));
        i += 1 + length;
      }
    } else if (type === 0xfe0d) encryptedHello = true;
    at += size;
  }
  return { state: 'whole', serverName, encryptedHello, protocols };
}

/** Exactly one host_name entry of plain characters, or undefined. */
function readServerName(body: Buffer): string | undefined {
  if (body.length < 5 || body.readUInt16BE(0) !== body.length - 2 || body[2] !== 0) return undefined;
  const size = body.readUInt16BE(3);
  if (size === 0 || 5 + size !== body.length) return undefined;
  const name = body.toString('latin1', 5, 5 + size).toLowerCase();
  return /^[a-z0-9_.-]+$/.test(name) ? name : undefined;
}
