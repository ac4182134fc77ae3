/** Bytes of a message as text, by what they are rather than by what they are called. */
import { isUtf8 } from 'node:buffer';

export interface ReadText {
  readonly text: string;
  /** The encoding that turns it back into the same bytes. */
  readonly encoding: 'utf8' | 'latin1' | 'utf16le' | 'utf16be';
}

/** UTF-16 by its mark, its declared charset or its zero bytes; UTF-8 where it is; every other body byte by byte. `contentType` in lower case. */
export function readText(bytes: Buffer, contentType: string): ReadText {
  const [a, b, c, d] = bytes;
  const declared = /charset\s*=\s*"?utf-?16(le|be)?/.exec(contentType);
  const little = (a === 0xff && b === 0xfe) || declared?.[1] === 'le' || (b === 0 && d === 0 && a !== 0 && c !== 0);
  const big = (a === 0xfe && b === 0xff) || declared?.[1] === 'be' || (declared && !little) || (a === 0 && c === 0 && b !== 0 && d !== 0);
  if (bytes.length >= 4 && bytes.length % 2 === 0 && (little || big)) {
    return little ? { text: bytes.toString('utf16le'), encoding: 'utf16le' } : { text: Buffer.from(bytes).swap16().toString('utf16le'), encoding: 'utf16be' };
  }
  const encoding = isUtf8(bytes) ? 'utf8' : 'latin1';
  return { text: bytes.toString(encoding), encoding };
}

/** The bytes of a text in one of these encodings. */
export function writeText(text: string, encoding: ReadText['encoding']): Buffer {
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
