/** A protobuf message as its readers will see it, told without its schema (https://protobuf.dev/programming-guides/encoding/): its texts and whole numbers, one a line. */
import { isUtf8 } from 'node:buffer';

/** Stands before whole numbers that nothing names: as before a card's that is called something else, a policy has to name the class. */
export const unnamed = 'id ';

/** Messages inside each other that are taken apart. */
const deepest = 32;
/** Bytes of a varint of six digits, with which a number begins to say something, and of the longest one. */
const tellingBytes = 3;
const longestVarint = 10;
/** Whole numbers that a double holds; a double of 64 bits, read as one, is larger. */
const exact = 2n ** 53n;

/**
 * Texts stand as they are, also those of messages inside; what could be a text and a message is read as both. Of bytes that are neither, what is UTF-8 stands there, and
 * whole numbers where they are packed. At most some five times as much comes out as went in. Never throws.
 * `label` stands before each number, for whoever has to be told that it is one.
 */
export function messageText(bytes: Buffer, label = ''): string {
  const lines: string[] = [];
  read(bytes, 0, 0, lines, label);
  return lines.join('\n');
}

/** Texts inside each other that stand there each by itself. */
const mostTexts = 2;

/** Bytes of packed numbers that could by chance be a message as well. */
const fewNumbers = 1024;

/** `depth`: of messages; `texts`: those among them that are texts too. */
function read(bytes: Buffer, depth: number, texts: number, lines: string[], label: string): void {
  const fields = depth < deepest ? fieldsOf(bytes, label) : undefined;
  const text = depth > 0 && texts < mostTexts && isText(bytes);
  if (text || !fields) lines.push(bytes.toString('utf8'));
  if ((!fields || bytes.length <= fewNumbers) && depth > 0 && !isUtf8(bytes)) lines.push(packedNumbers(bytes, label));
  for (const field of fields ?? []) {
    if (typeof field === 'string') lines.push(field);
    else read(field, depth + 1, texts + (text ? 1 : 0), lines, label);
  }
}

const controls = /[^\P{Cc}\t\n\r]/u;
const isText = (bytes: Buffer): boolean => isUtf8(bytes) && !controls.test(bytes.toString('utf8'));

/** What its fields say, numbers in decimal; undefined where it is no message. */
function fieldsOf(bytes: Buffer, label: string): (Buffer | string)[] | undefined {
  const fields: (Buffer | string)[] = [];
  const groups: number[] = [];
  for (let at = 0; at < bytes.length;) {
    const tagBytes = varintBytes(bytes, at);
    const tag = smallVarint(bytes, at, tagBytes);
    const field = Math.floor(tag / 8);
    if (field === 0) return undefined;
    at += tagBytes;
    // Of a group only the ends are marked: its fields stand between them.
    if (tag % 8 === 3) groups.push(field);
    else if (tag % 8 === 4) {
      if (groups.pop() !== field) return undefined;
    } else if (tag % 8 === 0) {
      const size = varintBytes(bytes, at);
      if (size === 0) return undefined;
      if (size >= tellingBytes) fields.push(label + varint(bytes, at, size));
      at += size;
    } else if (tag % 8 === 2) {
      const size = varintBytes(bytes, at);
      const from = at + size;
      at = from + smallVarint(bytes, at, size);
      if (size === 0 || at > bytes.length) return undefined;
      if (at - from > tellingBytes) fields.push(bytes.subarray(from, at));
    } else if (tag % 8 === 1 && at + 8 <= bytes.length) {
      const fixed = bytes.readBigUInt64LE(at);
      if (fixed < exact) fields.push(`${label}${fixed}`);
      at += 8;
    } else if (tag % 8 === 5 && at + 4 <= bytes.length) at += 4;
    else return undefined;
  }
  return groups.length === 0 ? fields : undefined;
}

/** Bytes of the varint there; 0 where it is none, or cut. */
function varintBytes(bytes: Buffer, at: number): number {
  for (let size = 1; size <= longestVarint; size += 1) if ((bytes[at + size - 1] ?? 0x80) < 0x80) return size;
  return 0;
}

/** Of a tag or a length; of one that is too large to be any, something still larger than all bytes there are. */
function smallVarint(bytes: Buffer, at: number, size: number): number {
  let value = 0;
  for (let i = size - 1; i >= 0; i -= 1) value = value * 128 + ((bytes[at + i] ?? 0) & 0x7f);
  return value;
}

function varint(bytes: Buffer, at: number, size: number): string {
  // Exact to 49 bits; most are shorter.
  if (size <= 7) return String(smallVarint(bytes, at, size));
  let value = 0n;
  for (let i = size - 1; i >= 0; i -= 1) value = value * 128n + BigInt((bytes[at + i] ?? 0) & 0x7f);
  return String(BigInt.asIntN(64, value));
}

/** Of bytes that are nothing but varints, each as short as it can be: longer ones that are something else hardly ever look so. '' for all others. */
function packedNumbers(bytes: Buffer, label: string): string {
  const numbers: string[] = [];
  for (let at = 0; at < bytes.length;) {
    const size = varintBytes(bytes, at);
    if (size === 0 || (size > 1 && bytes[at + size - 1] === 0)) return '';
    if (size >= tellingBytes) numbers.push(label + varint(bytes, at, size));
    at += size;
  }
  return numbers.join('\n');
}
