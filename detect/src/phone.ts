/** Phone numbers: by their international or North American form, else only beside a word that says so. */
import { isDigit } from './characters.ts';
import { nearest, wordsBefore } from './context.ts';
import type { Finding } from './finding.ts';
import type { Group } from './numbers.ts';

const wordAfter = /^[\s\-–,(]{0,3}(?:office|fax|mobile|cell|home|tel|phone|desk|work)\b/i;

/** Judges the digit groups as one phone number and reports it. */
export function phoneIn(text: string, groups: readonly Group[], out: Finding[]): void {
  const first = groups[0];
  const last = groups.at(-1);
  if (!first || !last) return;
  const digits = groups.reduce((n, g) => n + g.digits.length, 0);
  if (digits < 7 || digits > 15 || isYears(groups) || groups.some((g) => g.digits.length > 12)) return;
  let start = first.start;
  if (text[start - 1] === '(') start -= 1;
  const plus = text[start - 1] === '+';
  if (plus) start -= 1;
  const confidence = judge(text, groups, digits, start, plus);
  if (confidence === 0) return;
  out.push({ type: 'phone', start, end: extension(text, last.end), confidence, kind: plus ? 'international' : 'national' });
}

function judge(text: string, groups: readonly Group[], digits: number, start: number, plus: boolean): number {
  if (/[\w.#$€£/=-]/.test(text[start - 1] ?? ' ') && !plus && !isLabelled(text, start)) return 0;
  if (plus && digits >= 8) return 0.97;
  const last = groups.at(-1);
  const before = wordsBefore(text, start);
  const other = nearest(before, 'otherNumber');
  const phone = nearest(before, 'phone') ?? (other === undefined ? nearest(before, 'anyNumber') : undefined);
  const bad = other !== undefined && (phone === undefined || other < phone);
  const after = last !== undefined && wordAfter.test(text.slice(last.end, last.end + 12));
  if (after) return 0.95;
  if (bad) return 0;
  const grouped = groups.length >= 2;
  if (phone !== undefined && (grouped || digits >= 8 || phone < 12)) return 0.93;
  const shape = groups.map((g) => g.digits.length).join('-');
  if (/^(?:1-|001-)?3-3-4$/.test(shape) && (isNorthAmerican(groups) || text[start] === '(')) return 0.9;
  if (shape === '3-7' && text[start] === '(') return 0.85;
  if (groups[0]?.digits.startsWith('00') && digits >= 11 && groups.length >= 3) return 0.85;
  return 0;
}

/** `1914-1918`. */
function isYears(groups: readonly Group[]): boolean {
  return groups.length === 2 && groups.every(({ digits }) => digits.length === 4 && digits >= '1000' && digits < '2200');
}

/** A label that touches the number: `tel:…`, `phone=…`. */
function isLabelled(text: string, start: number): boolean {
  return /(?:phone|tel|fax|mobile|cell)["']?[=:/-]$/i.test(text.slice(Math.max(0, start - 12), start));
}

function isNorthAmerican(groups: readonly Group[]): boolean {
  const [exchange, area] = [groups.at(-2)?.digits ?? '', groups.at(-3)?.digits ?? ''];
  return area >= '200' && exchange >= '100';
}

/** `x123`, ` ext. 123` behind the number. */
function extension(text: string, end: number): number {
  const c = text.charCodeAt(end);
  if (c !== 120 && c !== 32 && c !== 101 && c !== 44) return end;
  const match = /^,? ?(?:x|ext\.?) ?\d{1,6}/i.exec(text.slice(end, end + 16));
  return match && !isDigit(text.charCodeAt(end + match[0].length)) ? end + match[0].length : end;
}
