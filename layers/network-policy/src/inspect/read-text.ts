/** Bytes of a message as text, by what they are rather than by what they are called. */
import { isUtf8 } from 'node:buffer';
import { charsetsOf } from './charsets.ts';

export interface ReadText {
  readonly text: string;
  /** The encoding that turns it back into the same bytes; undefined where there is none. */
  readonly encoding: 'utf8' | 'latin1' | 'utf16le' | 'utf16be' | undefined;
  /** How a reader might take the same bytes otherwise. */
  readonly also: readonly string[];
}

/** UTF-32 and UTF-16 by their mark, their declared charset or their zero bytes; UTF-8 where it is; every other body byte by byte. `contentType` in lower case. */
export function readText(bytes: Buffer, contentType: string): ReadText {
  const charset = charsetsOf(contentType)[0] ?? '';
  const wide = wideText(bytes, charset);
  if (wide) return wide;
  const encoding = isUtf8(bytes) ? 'utf8' : 'latin1';
  return { text: bytes.toString(encoding), encoding, also: byCharset(bytes, charset) };
}

function wideText(bytes: Buffer, charset: string): ReadText | undefined {
  const zeros = bytes.subarray(0, guessedFrom).includes(0);
  const declared = /^utf-?(16|32)(le|be)?$/.exec(charset);
  if (bytes.length < 2 || (!zeros && !declared && !marked(bytes))) return undefined;
  const raw = (): string => bytes.toString('latin1');
  const text = fromUtf32(bytes, true, false) ?? fromUtf32(bytes, false, false);
  if (text !== undefined) return { text, encoding: undefined, also: [raw()] };
  if (declared?.[1] === '32') return { text: fromUtf32(bytes, true, true) ?? '', encoding: undefined, also: [raw(), fromUtf32(bytes, false, true) ?? ''] };
  const little = declared?.[2] === 'le' || (bytes[0] === 0xff && bytes[1] === 0xfe) || guessed(bytes, 1);
  const big = declared?.[1] === '16' || (bytes[0] === 0xfe && bytes[1] === 0xff) || guessed(bytes, 0);
  if (!little && !big) return undefined;
  const whole = bytes.subarray(0, bytes.length - bytes.length % 2);
  const [le, be] = [whole.toString('utf16le'), Buffer.from(whole).swap16().toString('utf16le')];
  // A last byte that is none of it would be lost.
  const written = whole.length === bytes.length;
  return little ? { text: le, encoding: written ? 'utf16le' : undefined, also: [raw(), be] } : { text: be, encoding: written ? 'utf16be' : undefined, also: [raw(), le] };
}

const marked = ([a, b]: Buffer): boolean => (a === 0xff && b === 0xfe) || (a === 0xfe && b === 0xff);

/** Of a body that does not say what it is, this much tells. */
const guessedFrom = 1024;

/** Whether the first two characters are Latin ones in UTF-16, as JSON and markup begin, or many of its first bytes at even (0) or odd (1) places are zeros, and hardly any between them: characters of Latin scripts, or blanks and digits between others. */
function guessed(bytes: Buffer, side: 0 | 1): boolean {
  if (bytes[side] === 0 && bytes[side + 2] === 0 && (bytes[1 - side] ?? 0) !== 0 && (bytes[3 - side] ?? 0) !== 0) return true;
  const zeros: [number, number] = [0, 0];
  const first = bytes.subarray(0, guessedFrom);
  for (let i = 0; i < first.length; i += 1) if (bytes[i] === 0) zeros[i % 2 === 0 ? 0 : 1] += 1;
  return zeros[side] * 16 >= first.length && zeros[1 - side as 0 | 1] * 8 <= zeros[side];
}

/** What is left over at its end is none of it. Undefined where it holds what is no character, unless `marks` stand for these. */
function fromUtf32(bytes: Buffer, little: boolean, marks: boolean): string | undefined {
  if (bytes.length < 4 && !marks) return undefined;
  let text = '';
  for (let i = 0; i + 4 <= bytes.length; i += 4) {
    const code = little ? bytes.readUInt32LE(i) : bytes.readUInt32BE(i);
    if (code > 0x10ffff && !marks) return undefined;
    text += code > 0x10ffff ? '\ufffd' : String.fromCodePoint(code);
  }
  return text;
}

/** In charsets of other scripts a digit may be written otherwise than in ASCII. */
function byCharset(bytes: Buffer, charset: string): readonly string[] {
  if (charset === '' || /^(?:utf-?8|(?:us-)?ascii|iso[-_]?8859-?\d+|latin-?\d+|windows-125\d|cp125\d)$/.test(charset)) return [];
  try {
    return [new TextDecoder(charset).decode(bytes)];
  } catch {
    return [];
  }
}

/** The bytes of a text in one of these encodings. */
export function writeText(text: string, encoding: NonNullable<ReadText['encoding']>): Buffer {
  return encoding === 'utf16be' ? Buffer.from(text, 'utf16le').swap16() : Buffer.from(text, encoding);
}

/** Of a piece of a longer text, what is not a part of a character that its ends were cut in (UTF-8, RFC 3629). */
export function wholeCharacters(bytes: Buffer): Buffer {
  const goesOn = (at: number): boolean => ((bytes[at] ?? 0) & 0xc0) === 0x80;
  let from = 0;
  while (from < 3 && goesOn(from)) from += 1;
  let last = bytes.length - 1;
  while (last > bytes.length - 4 && goesOn(last)) last -= 1;
  const lead = bytes[last] ?? 0;
  const needs = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
  return bytes.subarray(from, bytes.length - last < needs ? last : bytes.length);
}
