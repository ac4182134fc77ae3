/** The Redis protocol (RESP 2 and 3): commands are read whole and written anew, replies are only counted. */
import { redisContainers } from '@nemoclaw/contract';
import type { ByteReader } from './byte-reader.ts';

/** What came is no command as clients send it. `message` is for the client. */
export class RespProblem extends Error {}

const mostWords = 1 << 16;
/** Bytes of one command. */
const mostBytes = 4 << 20;

/** The next command's words, at least one. Rejects with ReadEnded at the end, RespProblem where it is none; inline commands are none. */
export async function readRespCommand(reader: ByteReader): Promise<readonly Buffer[]> {
  let line = await reader.line(32);
  // Redis itself passes over them: `redis-cli --pipe` sends one.
  while (line.length === 0) line = await reader.line(32);
  const count = header(line, '*');
  if (count === undefined || count < 1 || count > mostWords) throw new RespProblem('Protocol error: commands are lists of texts here');
  const words: Buffer[] = [];
  let size = 0;
  for (let index = 0; index < count; index += 1) {
    const length = header(await reader.line(32), '$');
    if (length === undefined) throw new RespProblem('Protocol error: expected a text');
    size += length + 32;
    if (size > mostBytes) throw new RespProblem('Protocol error: the command is too large');
    const bytes = await reader.exactly(length + 2);
    if (bytes[length] !== 0x0d || bytes[length + 1] !== 0x0a) throw new RespProblem('Protocol error: a text is longer than it says');
    // A word of its own: what was read with it may be large.
    words.push(Buffer.from(bytes.subarray(0, length)));
  }
  return words;
}

function header(line: Buffer, mark: '*' | '$'): number | undefined {
  const match = /^([*$])(0|[1-9]\d{0,8})$/.exec(line.toString('latin1'));
  return match === null || match[1] !== mark ? undefined : Number(match[2]);
}

/** A command as bytes. */
export function writeRespCommand(words: readonly Buffer[]): Buffer {
  return Buffer.concat([Buffer.from(`*${words.length}\r\n`), ...words.flatMap((word) => [Buffer.from(`$${word.length}\r\n`), word, Buffer.from('\r\n')])]);
}

export function respError(text: string): Buffer {
  return Buffer.from(`-ERR ${text.replace(/[^\x20-\x7e]/g, '?').slice(0, 500)}\r\n`, 'latin1');
}

/** `GET`, `CONFIG SET`: the command in capital letters, with its subcommand where it has such. Odd bytes, and a name of no bytes, become `?`, which no rule allows by name. */
export function respName(words: readonly Buffer[]): string {
  const plain = (word: Buffer | undefined): string => (word ?? Buffer.alloc(0)).toString('latin1', 0, 64).toUpperCase().replace(/[^\x21-\x7e]/g, '?') || '?';
  const first = plain(words[0]);
  return redisContainers.has(first) && words.length > 1 ? `${first} ${plain(words[1])}` : first;
}

/** Counts the replies that are whole, so that an answer of our own stands in its place among them. */
export class ReplyCounter {
  /** How many parts each open list still wants; the last is the innermost. `aside`: it is no reply to a command (push, attribute). */
  readonly #open: { left: number; aside: boolean }[] = [];
  #header = '';
  #kind = '';
  #skip = 0;
  /** What came is no reply that can be counted. */
  broken = false;

  /** Replies that ended in these bytes. */
  feed(bytes: Buffer): number {
    let done = 0;
    for (let at = 0; at < bytes.length && !this.broken;) {
      if (this.#skip > 0) {
        const step = Math.min(this.#skip, bytes.length - at);
        at += step;
        this.#skip -= step;
        if (this.#skip === 0) done += this.#whole(false);
        continue;
      }
      const end = bytes.indexOf(0x0a, at);
      const until = end < 0 ? bytes.length : end + 1;
      if (this.#kind === '') this.#kind = String.fromCharCode(bytes[at] ?? 0);
      // Only lengths are kept; the text of a simple reply may be long.
      if (this.#header.length < 40) this.#header += bytes.toString('latin1', at, Math.min(until, at + 40));
      at = until;
      if (end >= 0) done += this.#line();
    }
    return done;
  }

  #line(): number {
    const kind = this.#kind;
    const length = /^.(-1|\d{1,12})\r\n$/.exec(this.#header)?.[1];
    this.#kind = '';
    this.#header = '';
    if ('+-:,#_('.includes(kind)) return this.#whole(false);
    if (length === undefined || !'$=!*~%>|'.includes(kind)) {
      this.broken = true;
      return 0;
    }
    const count = Number(length);
    if ('$=!'.includes(kind)) {
      if (count < 0) return this.#whole(false);
      this.#skip = count + 2;
      return 0;
    }
    const aside = kind === '>' || kind === '|';
    const parts = kind === '%' || kind === '|' ? count * 2 : count;
    if (parts <= 0) return this.#whole(aside);
    if (this.#open.length >= 128) {
      this.broken = true;
      return 0;
    }
    this.#open.push({ left: parts, aside });
    return 0;
  }

  /** One part ended; 1 if with it a reply did. An attribute is no part of the list it stands in. */
  #whole(aside: boolean): number {
    let beside = aside;
    for (let list = this.#open.at(-1); list !== undefined; list = this.#open.at(-1)) {
      if (!beside) list.left -= 1;
      if (list.left > 0) return 0;
      beside = list.aside;
      this.#open.pop();
    }
    return beside ? 0 : 1;
  }
}
