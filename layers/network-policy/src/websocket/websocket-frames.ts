/** WebSocket frames (RFC 6455 §5): read strictly into messages and control frames, written anew. Pure but for the masking key. */
import { isUtf8 } from 'node:buffer';
import { randomFillSync } from 'node:crypto';

export type FrameEvent =
  | { readonly kind: 'message'; readonly binary: boolean; readonly data: Buffer }
  | { readonly kind: 'ping' | 'pong'; readonly data: Buffer }
  | { readonly kind: 'close'; readonly code: number; readonly reason: string };

/** The peer broke the protocol; `code` is for the close frame. */
export class FrameError extends Error {
  readonly code: 1002 | 1007 | 1009;
  constructor(code: 1002 | 1007 | 1009, why: string) {
    super(why);
    this.code = code;
  }
}

const empty = Buffer.alloc(0);
const smallest = 16 * 1024;
/** Frames without content in one message. */
const mostEmpty = 1024;

/** `masked`: whether the peer has to mask (a client) or must not (a server). `limit`: bytes of one message. */
export class FrameReader {
  readonly #masked: boolean;
  readonly #limit: number;
  #chunks: Buffer[] = [];
  #size = 0;
  /** Bytes that have to be there before anything can be read. */
  #wanted = 2;
  #message: { readonly binary: boolean; readonly parts: Buffer[]; size: number; small: number; empty: number } | undefined;
  #closed = false;

  constructor(masked: boolean, limit: number) {
    this.#masked = masked;
    this.#limit = limit;
  }

  /** Bytes kept for a message that is not whole yet. */
  get kept(): number {
    return this.#size + (this.#message?.size ?? 0);
  }

  /** Takes bytes and gives what became whole, in order. Throws FrameError; nothing may be read after it. */
  *read(chunk: Buffer): Generator<FrameEvent> {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    while (!this.#closed && this.#size >= this.#wanted) {
      const bytes = this.#chunks.length === 1 ? (this.#chunks[0] ?? empty) : Buffer.concat(this.#chunks, this.#size);
      const frame = this.#frame(bytes);
      const rest = frame ? bytes.subarray(frame.end) : bytes;
      this.#chunks = rest.length > 0 ? [rest] : [];
      this.#size = rest.length;
      if (!frame) continue;
      this.#wanted = 2;
      const event = this.#take(frame);
      if (event) yield event;
    }
  }

  /** A whole frame at the start of `bytes`; else sets how many bytes it takes. */
  #frame(bytes: Buffer): { readonly opcode: number; readonly fin: boolean; readonly data: Buffer; readonly end: number } | undefined {
    const [first = 0, second = 0] = bytes;
    const opcode = first & 15;
    const fin = (first & 0x80) !== 0;
    const short = second & 0x7f;
    if ((first & 0x70) !== 0) throw new FrameError(1002, 'a reserved bit is set, and no extension was agreed on');
    if (opcode > 10 || (opcode > 2 && opcode < 8)) throw new FrameError(1002, 'an unknown kind of frame');
    if (opcode >= 8 && (!fin || short > 125)) throw new FrameError(1002, 'a control frame is cut or too long');
    const isMasked = (second & 0x80) !== 0;
    if (isMasked !== this.#masked) throw new FrameError(1002, this.#masked ? 'a frame of the client is not masked' : 'a frame of the server is masked');
    const lengthBytes = short === 126 ? 2 : short === 127 ? 8 : 0;
    const head = 2 + lengthBytes + (this.#masked ? 4 : 0);
    if (bytes.length < head) return this.#wait(head);
    const length = lengthBytes === 2 ? bytes.readUInt16BE(2) : lengthBytes === 8 ? bytes.readUInt32BE(2) * 2 ** 32 + bytes.readUInt32BE(6) : short;
    if ((lengthBytes === 2 && length < 126) || (lengthBytes === 8 && length < 65_536)) throw new FrameError(1002, 'the length is not written in the shortest way');
    if (length + (this.#message?.size ?? 0) > this.#limit) throw new FrameError(1009, `a message is larger than ${this.#limit} bytes`);
    const end = head + length;
    if (bytes.length < end) return this.#wait(end);
    const payload = bytes.subarray(head, end);
    return { opcode, fin, end, data: this.#masked ? unmask(payload, bytes.subarray(head - 4, head)) : Buffer.from(payload) };
  }

  #wait(bytes: number): undefined {
    this.#wanted = bytes;
    return undefined;
  }

  #take(frame: { readonly opcode: number; readonly fin: boolean; readonly data: Buffer }): FrameEvent | undefined {
    const { opcode, fin, data } = frame;
    if (opcode === 9) return { kind: 'ping', data };
    if (opcode === 10) return { kind: 'pong', data };
    if (opcode === 8) return this.#end(data);
    if (opcode === 0 && !this.#message) throw new FrameError(1002, 'a message goes on that never began');
    if (opcode !== 0 && this.#message) throw new FrameError(1002, 'a message begins within another');
    const message = (this.#message ??= { binary: opcode === 2, parts: [], size: 0, small: 0, empty: 0 });
    if (data.length === 0) message.empty += 1;
    if (message.empty > mostEmpty) throw new FrameError(1002, 'a message of countless empty frames');
    message.parts.push(data);
    message.size += data.length;
    message.small = data.length < smallest ? message.small + 1 : 0;
    // Many tiny fragments cost more than their bytes. Only they are joined: what is joined already may be large, and would be copied each time.
    if (message.small > 64) {
      const joined = Buffer.concat(message.parts.splice(-message.small));
      message.parts.push(joined);
      message.small = joined.length < smallest ? 1 : 0;
    }
    if (!fin) return undefined;
    this.#message = undefined;
    const whole = message.parts.length === 1 ? (message.parts[0] ?? empty) : Buffer.concat(message.parts);
    if (!message.binary && !isUtf8(whole)) throw new FrameError(1007, 'a text message is not UTF-8');
    return { kind: 'message', binary: message.binary, data: whole };
  }

  #end(data: Buffer): FrameEvent {
    this.#closed = true;
    if (data.length === 0) return { kind: 'close', code: 1005, reason: '' };
    if (data.length === 1) throw new FrameError(1002, 'a close frame of one byte');
    const code = data.readUInt16BE(0);
    if (!isCloseCode(code)) throw new FrameError(1002, 'a close code that may not be sent');
    const reason = data.subarray(2);
    if (!isUtf8(reason)) throw new FrameError(1007, 'the reason of a close is not UTF-8');
    return { kind: 'close', code, reason: reason.toString('utf8') };
  }
}

const isCloseCode = (code: number): boolean => (code >= 1000 && code <= 1014 && code !== 1004 && code !== 1005 && code !== 1006) || (code >= 3000 && code <= 4999);

function unmask(payload: Buffer, key: Buffer): Buffer {
  const out = Buffer.allocUnsafe(payload.length);
  const [a = 0, b = 0, c = 0, d = 0] = key;
  let i = 0;
  for (; i + 3 < payload.length; i += 4) {
    out[i] = (payload[i] ?? 0) ^ a;
    out[i + 1] = (payload[i + 1] ?? 0) ^ b;
    out[i + 2] = (payload[i + 2] ?? 0) ^ c;
    out[i + 3] = (payload[i + 3] ?? 0) ^ d;
  }
  for (; i < payload.length; i += 1) out[i] = (payload[i] ?? 0) ^ (key[i & 3] ?? 0);
  return out;
}

const opcodes = { text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** One whole frame. `mask`: towards a server. */
export function writeFrame(kind: keyof typeof opcodes, data: Buffer, mask: boolean): Buffer {
  const lengthBytes = data.length < 126 ? 0 : data.length < 65_536 ? 2 : 8;
  const head = Buffer.alloc(2 + lengthBytes + (mask ? 4 : 0));
  head[0] = 0x80 | opcodes[kind];
  head[1] = (mask ? 0x80 : 0) | (lengthBytes === 0 ? data.length : lengthBytes === 2 ? 126 : 127);
  if (lengthBytes === 2) head.writeUInt16BE(data.length, 2);
  else if (lengthBytes === 8) {
    head.writeUInt32BE(Math.floor(data.length / 2 ** 32), 2);
    head.writeUInt32BE(data.length >>> 0, 6);
  }
  if (!mask) return Buffer.concat([head, data]);
  const key = randomFillSync(Buffer.alloc(4));
  key.copy(head, head.length - 4);
  return Buffer.concat([head, unmask(data, key)]);
}

/** A close frame; 1005 stands for one without a code. The reason is cut to what fits, between characters. */
export function writeClose(code: number, reason: string, mask: boolean): Buffer {
  if (code === 1005) return writeFrame('close', empty, mask);
  let text = reason;
  while (Buffer.byteLength(text) > 123) text = text.slice(0, -1);
  const data = Buffer.alloc(2 + Buffer.byteLength(text));
  data.writeUInt16BE(code, 0);
  data.write(text.toWellFormed(), 2);
  return writeFrame('close', data.subarray(0, 125), mask);
}
