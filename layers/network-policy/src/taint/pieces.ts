/** The pieces of a text by which a value is known again: the same on its way in and on its way out. */
import { scan, type Finding } from '@nemoclaw/detect';
import { viewJson } from '../inspect/json-view.ts';

export interface Piece {
  readonly start: number;
  readonly end: number;
}

/** Letters and digits of any script, and what stands inside an identifier or address. */
const words = /[\p{L}\p{N}](?:[\p{L}\p{N}._@+-]*[\p{L}\p{N}])?/gu;
/** What stands between two separators of JSON, forms, queries, markup and tables: whole values, also of several words. */
const runs = /[^"'\\<>&=|\n\r\t]+/g;
const date = /^(?:19|20)\d\d-?(?:0\d|1[0-2])-?[0-3]\d(?:$|[T ][\d:.,+Z -]*$)/;
const shortest = 8;
const longest = 256;
/** Characters of plain words that say something only together: a name with an address, a sentence. */
const plainly = 16;
/** Characters of one word without a digit that nobody would say by chance. */
const random = 32;

/**
 * Whether a piece says where it came from. Left out, because they stand in texts that have nothing to do with each other: what has fewer than 8 characters (a number:
 * 6 digits) or more than 256; dates; round numbers; one plain word below 32 characters, several below 16; booleans and null are such words.
 */
function isTelling(text: string): boolean {
  if (date.test(text)) return false;
  if (/^\d+$/.test(text)) return text.length >= 6 && text.length <= longest && !/^\d0+$/.test(text);
  if (text.length < shortest || text.length > longest) return false;
  return /[\p{N}@]/u.test(text) || text.length >= (text.includes(' ') ? plainly : random);
}

/** Words, whole values of several words, and what detectors find, in no order. `found`: what they have found in this text, where that is known. */
export function* piecesOf(text: string, found: readonly Finding[] = scan(text)): Generator<Piece> {
  for (const { index: start, 0: word } of text.matchAll(words)) if (isTelling(word)) yield { start, end: start + word.length };
  for (const { index, 0: run } of text.matchAll(runs)) {
    // Longer ones are texts, and trimming them would cost the square of their length.
    if (run.length > 2 * longest) continue;
    const value = run.replace(/^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$/gu, '');
    if (!value.includes(' ') || !isTelling(value)) continue;
    const start = index + run.indexOf(value);
    yield { start, end: start + value.length };
  }
  for (const { start, end } of found) if (end - start >= shortest && end - start <= longest) yield { start, end };
}

/** Names of fields, also of JSON inside a string: they are the service's words, not its values. */
const names = /\\?"[\w .-]{1,64}\\?"\s*:/g;

/** Escapes of JSON that no view has taken apart: in a stream, or in a string that holds JSON itself. */
const escapes = /\\{1,7}(?:u([0-9a-fA-F]{4})|[bfnrt/])/g;

/** The text with such escapes undone, or undefined where there is none. */
export function undoEscapes(text: string): string | undefined {
  if (!text.includes('\\')) return undefined;
  const out = text.replaceAll(escapes, (whole: string, code?: string) => (code !== undefined ? String.fromCharCode(Number.parseInt(code, 16)) : whole.endsWith('/') ? '/' : '\n'));
  return out === text ? undefined : out;
}

/** The values of an answer: the leaves where it is JSON, else all of it but what looks like a name of a field. */
export function* valuesIn(text: string): Generator<string> {
  const json = /^[\s\ufeff]*[{[]/.test(text) ? viewJson(text) : undefined;
  const view = json?.text ?? text;
  for (const { start, end } of piecesOf('', scan(view))) yield view.slice(start, end);
  const leaves = json ? json.tokens.filter(({ role }) => role !== 'key').map(({ at, end }) => view.slice(at, end)) : [view];
  for (const leaf of leaves) {
    const plain = leaf.replace(names, '\n');
    for (const { start, end } of piecesOf(plain, [])) yield plain.slice(start, end);
    const further = undoEscapes(plain);
    if (further !== undefined) for (const { start, end } of piecesOf(further)) yield further.slice(start, end);
  }
}
