/** Messages of the PostgreSQL protocol 3 (PostgreSQL documentation, "Message Formats"), as far as a connection's beginning needs them. Pure. */

export const sslRequest = 80_877_103;
export const gssRequest = 80_877_104;
export const cancelRequest = 80_877_102;
/** Bytes of a first message. */
export const longestStartup = 10_000;

export interface Startup {
  /** 196608 for 3.0. */
  readonly version: number;
  readonly parameters: ReadonlyMap<string, string>;
}

/** The body of a startup message (what follows its length). Undefined where it is none, or says something twice. */
export function readStartup(body: Buffer): Startup | undefined {
  if (body.length < 5 || body.at(-1) !== 0) return undefined;
  const version = body.readUInt32BE(0);
  if (version >>> 16 !== 3) return undefined;
  const words = body.subarray(4, -1).toString('utf8').split('\0');
  // Each text ends with a zero, and the list with one more.
  if (words.pop() !== '' || words.length % 2 !== 0) return undefined;
  const parameters = new Map<string, string>();
  for (let i = 0; i + 1 < words.length; i += 2) {
    const name = words[i] ?? '';
    if (name === '' || parameters.has(name)) return undefined;
    parameters.set(name, words[i + 1] ?? '');
  }
  const user = parameters.get('user') ?? '';
  if (user === '') return undefined;
  return { version, parameters };
}

export function writeStartup(startup: Startup): Buffer {
  const text = Buffer.from([...startup.parameters].map(([name, value]) => `${name}\0${value}\0`).join(''), 'utf8');
  const out = Buffer.alloc(8 + text.length + 1);
  out.writeUInt32BE(out.length, 0);
  out.writeUInt32BE(startup.version, 4);
  text.copy(out, 8);
  return out;
}

/** `code` in a first message of eight bytes. */
export function writeRequest(code: number): Buffer {
  const out = Buffer.alloc(8);
  out.writeUInt32BE(8, 0);
  out.writeUInt32BE(code, 4);
  return out;
}

/** A message with its type letter. */
export function writeMessage(type: string, body: Buffer): Buffer {
  const out = Buffer.alloc(5 + body.length);
  out.write(type, 0, 'latin1');
  out.writeUInt32BE(4 + body.length, 1);
  body.copy(out, 5);
  return out;
}

/** `message`, `detail`, `hint` as psql and libraries show them. 42501 is insufficient_privilege. */
export function errorResponse(message: string, detail: string, hint: string): Buffer {
  const fields = [['S', 'FATAL'], ['V', 'FATAL'], ['C', '42501'], ['M', message], ['D', detail], ['H', hint]].filter(([, text]) => text !== '');
  return writeMessage('E', Buffer.from(`${fields.map(([letter, text]) => `${letter}${(text ?? '').replaceAll('\0', '?')}\0`).join('')}\0`, 'utf8'));
}

/** The body of an authentication message: a 32-bit code, and what belongs to it. */
export function authRequest(code: number): Buffer {
  const body = Buffer.alloc(4);
  body.writeUInt32BE(code, 0);
  return writeMessage('R', body);
}
