/** Runs of digits: payment cards, US social security numbers, IPv4 addresses; what is left may be a phone. */
import { isBlank, isDash, isDigit, isWord } from './characters.ts';
import { isCardRange, isSsn, luhn } from './checks.ts';
import { labelOf, nearest, wordsBefore } from './context.ts';
import type { Finding } from './finding.ts';
import { phoneIn } from './phone.ts';
import type { Runs } from './runs.ts';

/** Digits and the separators between them, as they stand in the text. */
export interface Group {
  readonly start: number;
  readonly end: number;
  readonly digits: string;
}

const maxGroups = 14;
/** Longer runs are no number of any kind. */
const longestGroup = 64;

/** Reads the run that starts with the digit at `i`, reports what it holds, and returns where it ends. `runs`: those of this text. */
export function numbersAt(text: string, i: number, out: Finding[], runs: Runs): number {
  // Measured before anything is allocated: most numbers are too short to be anything.
  let p = i;
  let digits = 0;
  let count = 0;
  let lastStart = i;
  for (;;) {
    const from = p;
    while (isDigit(text.charCodeAt(p)) && p - from < longestGroup) p += 1;
    digits += p - from;
    lastStart = from;
    count += 1;
    const gap = count < maxGroups ? gapAt(text, p) : 0;
    if (gap === 0) break;
    p += gap;
  }
  if (digits < 7 && count < 4) return p;
  // `123abc` and hex strings are names, not numbers: the part that touches a letter is not looked at.
  const tail = text.charCodeAt(p);
  const touching = isWord(tail) && !(tail === 120 && isDigit(text.charCodeAt(p + 1)));
  const stop = touching ? lastStart : p;
  if (stop > i) judge(text, split(text, i, stop), out, runs);
  return p;
}

function split(text: string, i: number, stop: number): Group[] {
  const groups: Group[] = [];
  for (let start = i; start < stop;) {
    let end = start;
    while (end < stop && isDigit(text.charCodeAt(end))) end += 1;
    groups.push({ start, end, digits: text.slice(start, end) });
    start = end;
    while (start < stop && !isDigit(text.charCodeAt(start))) start += 1;
  }
  return groups;
}

/** Length of the separator at `p` if another digit group follows it: at most two of space - . ( ) /, or a closing bracket and space. */
function gapAt(text: string, p: number): number {
  for (let n = 1; n <= 3; n += 1) {
    if (n > 1 && isDigit(text.charCodeAt(p + n - 1))) return n - 1;
    if (!isSeparator(text.charCodeAt(p + n - 1))) return 0;
  }
  return 0;
}

function isSeparator(c: number): boolean {
  return isBlank(c) || isDash(c) || c === 46 || c === 40 || c === 41 || c === 47;
}

function judge(text: string, groups: readonly Group[], out: Finding[], runs: Runs): void {
  let i = 0;
  let from = 0;
  const leave = (upTo: number): void => {
    if (upTo > from) phoneIn(text, groups.slice(from, upTo), out);
  };
  while (i < groups.length) {
    const found = ipv4(text, groups, i) ?? card(text, groups, i, runs) ?? ssn(text, groups, i);
    if (!found && !isDate(text, groups, i)) {
      i += 1;
      continue;
    }
    leave(i);
    if (found) out.push(found.finding);
    i += found?.used ?? 3;
    from = i;
  }
  leave(groups.length);
}

type Found = { readonly finding: Finding; readonly used: number } | undefined;

/** The one separator character between groups `i` and `i + 1`, or '' where it is none or longer; of dashes and blanks the plain one. */
function separator(text: string, groups: readonly Group[], i: number): string {
  const [a, b] = [groups[i], groups[i + 1]];
  if (!a || !b || b.start - a.end !== 1) return '';
  const c = text.charCodeAt(a.end);
  return isDash(c) ? '-' : isBlank(c) ? ' ' : (text[a.end] ?? '');
}

function ipv4(text: string, groups: readonly Group[], i: number): Found {
  const [first, last] = [groups[i], groups[i + 3]];
  if (!first || !last || text[first.end] !== '.') return undefined;
  if (text[first.start - 1] === '.' || (text[last.end] === '.' && isDigit(text.charCodeAt(last.end + 1)))) return undefined;
  for (let k = 0; k < 4; k += 1) {
    const digits = groups[i + k]?.digits ?? '';
    if (digits.length > 3 || Number(digits) > 255 || (digits.length > 1 && digits.startsWith('0'))) return undefined;
    if (k < 3 && separator(text, groups, i + k) !== '.') return undefined;
  }
  if (nearest(wordsBefore(text, first.start), 'version')) return undefined;
  // 1.2.3.4 is how versions and sections are numbered, too; a real address rarely has four one-digit parts.
  const small = last.end - first.start === 7;
  return { finding: { type: 'ip', start: first.start, end: last.end, confidence: small ? 0.6 : 0.97, kind: 'ipv4' }, used: 4 };
}

function card(text: string, groups: readonly Group[], i: number, runs: Runs): Found {
  const first = groups[i];
  if (!first || first.digits.length < 4 || first.digits.length > 19) return undefined;
  const mark = separator(text, groups, i);
  let digits = '';
  for (let k = i; k < groups.length && digits.length < 19; k += 1) {
    const group = groups[k];
    if (!group || (k > i && (separator(text, groups, k - 1) !== mark || (mark !== ' ' && mark !== '-') || group.digits.length < 2))) break;
    digits += group.digits;
    if (digits.length < 12 || digits.length > 19 || !luhn(digits) || /^(\d)\1+$/.test(digits)) continue;
    if (k > i && !isPrintedAs(groups.slice(i, k + 1).map((g) => g.digits.length))) continue;
    if (text[first.start - 1] === '.' || text[first.start - 1] === '+') continue;
    if (digits.length === 19 && isBoundary(text, first.start, group.end)) return undefined;
    const label = labelOf(text, first.start, runs);
    // Beside the word, any issuer is taken: new ranges appear, and test data ignores them.
    if (label !== 'card' && (digits.length < 14 || !isCardRange(digits))) continue;
    // A label is easily written, so that it only makes unsure; and nobody prints another number as cards are printed.
    const unsure = k === i ? label === 'other' : label === undefined && isInRow(text, groups, i, k);
    const confidence = label === 'card' ? 0.99 : unsure ? 0.4 : 0.93;
    return { finding: { type: 'credit-card', start: first.start, end: group.end, confidence, kind: 'luhn' }, used: k - i + 1 };
  }
  return undefined;
}

/** Fours on each side that are looked at. */
const rowReach = 16;
/** With so many fours it is a row of numbers: some four of a long one pass as a card. */
const rowFrom = 7;

/** Whether the fours `i` to `k` stand in a longer row of fours that are not card behind card. */
function isInRow(text: string, groups: readonly Group[], i: number, k: number): boolean {
  const mark = separator(text, groups, i);
  const isFour = (at: number): boolean => groups[at]?.digits.length === 4;
  let [first, last] = [i, k];
  while (i - first < rowReach && isFour(first - 1) && separator(text, groups, first - 1) === mark) first -= 1;
  while (last - k < rowReach && isFour(last + 1) && separator(text, groups, last) === mark) last += 1;
  const isCard = (from: number): boolean => luhn(groups.slice(from, from + 4).map(({ digits }) => digits).join(''));
  const cards = k - i === 3 && (i - first) % 4 === 0 && (last - k) % 4 === 0 && (first === i || isCard(i - 4)) && (last === k || isCard(k + 1));
  return last - first + 1 >= rowFrom && !cards;
}

/** Python's email package draws the boundaries of mails and uploads so (`_make_boundary` of email/generator.py): one in thirty is a card by its digits. */
const boundaryMark = '='.repeat(15);
const isBoundary = (text: string, start: number, end: number): boolean => text.startsWith('==', end) && text.startsWith(boundaryMark, start - boundaryMark.length) && start >= boundaryMark.length;

/** How cards are printed: fours with a rest, or 4-6-5 and 4-6-4. */
function isPrintedAs(lengths: readonly number[]): boolean {
  if (lengths[0] !== 4) return false;
  if (lengths[1] === 6) return lengths.length === 3 && ((lengths[2] ?? 0) === 5 || (lengths[2] ?? 0) === 4);
  return lengths.slice(1, -1).every((n) => n === 4) && (lengths.at(-1) ?? 0) <= 4;
}

function ssn(text: string, groups: readonly Group[], i: number): Found {
  const [a, b, c] = [groups[i], groups[i + 1], groups[i + 2]];
  if (!a) return undefined;
  if (a.digits.length === 9) {
    if (!isSsn(a.digits.slice(0, 3), a.digits.slice(3, 5), a.digits.slice(5)) || !nearest(wordsBefore(text, a.start), 'ssn')) return undefined;
    return { finding: { type: 'us-ssn', start: a.start, end: a.end, confidence: 0.9, kind: 'ssn' }, used: 1 };
  }
  if (!b || !c || a.digits.length !== 3 || b.digits.length !== 2 || c.digits.length !== 4) return undefined;
  const mark = separator(text, groups, i);
  if ((mark !== '-' && mark !== ' ') || separator(text, groups, i + 1) !== mark || !isSsn(a.digits, b.digits, c.digits)) return undefined;
  // One more group behind it makes it a longer number; a plus or bracket before it a phone.
  if (separator(text, groups, i + 2) === mark || /[-.+(]/.test(text[a.start - 1] ?? '')) return undefined;
  const before = wordsBefore(text, a.start);
  if (!nearest(before, 'ssn') && (mark === ' ' || nearest(before, 'phone'))) return undefined;
  return { finding: { type: 'us-ssn', start: a.start, end: c.end, confidence: 0.95, kind: 'ssn' }, used: 3 };
}

/** year-month-day or day/month/year with one kind of separator. */
function isDate(text: string, groups: readonly Group[], i: number): boolean {
  const [a, b, c] = [groups[i], groups[i + 1], groups[i + 2]];
  if (!a || !b || !c) return false;
  const mark = separator(text, groups, i);
  if (!'-./'.includes(mark) || mark === '' || separator(text, groups, i + 1) !== mark) return false;
  const year = (g: Group): boolean => g.digits.length === 4 && g.digits >= '1000' && g.digits < '2200';
  const small = (g: Group): boolean => g.digits.length <= 2 && Number(g.digits) >= 1 && Number(g.digits) <= 31;
  if (year(a) && small(b) && small(c)) return true;
  if (!small(a) || !small(b)) return false;
  // Four pairs with one separator are a phone in several countries, not a date.
  return year(c) || (c.digits.length === 2 && separator(text, groups, i + 2) !== mark && (Number(a.digits) <= 12 || Number(b.digits) <= 12));
}
