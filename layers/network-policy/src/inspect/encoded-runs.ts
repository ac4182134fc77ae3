/** One layer of base64, base64url or percent-encoding inside a text: the runs that are long enough to hold something, decoded. */
import { readText } from './read-text.ts';

export interface Run {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** Stands between texts that are looked into together: so far apart that no word of one says what the next is, and no base64 goes on in it. */
export const apart = '\n\n\n\n';

/** Characters, without the padding: those of a social security number. */
const shortest = 15;
/** Up to so many they are mostly words, so that they are decoded only where their first characters say text. */
const wordLike = 32;

/** Shorter lines are no lines of base64. */
const shortLine = 20;

const inRun = new Uint8Array(128);
for (const c of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_') inRun[c.charCodeAt(0)] = 1;

/** Runs of 15 or more characters that decode to text; a base64 body with line breaks counts as one run. */
export function base64Runs(text: string): Iterable<Run> {
  return text.length >= shortest ? runsOf(text) : none;
}
const none: readonly Run[] = [];

function* runsOf(text: string): Generator<Run> {
  let start = -1;
  /** Where its last line begins, and whether one before it is no whole number of groups, or so short that each may be a value. */
  let line = -1;
  let uneven = false;
  /** Characters of its first line. */
  let first = 0;
  for (let i = 0; i <= text.length; i += 1) {
    const c = i < text.length ? text.charCodeAt(i) : 0;
    if (c < 128 && inRun[c] === 1) {
      if (start < 0) {
        start = line = i;
        uneven = false;
        first = 0;
      }
      continue;
    }
    if (start < 0) continue;
    first ||= i - line;
    // Lines of 64 or 76 characters (RFC 2045, 7468) go on behind their end, and shorter ones of one length.
    if ((c === 13 || c === 10) && (i - line >= 60 || (i - line === first && first >= shortLine))) {
      const next = c === 13 ? i + 2 : i + 1;
      if (next < text.length && inRun[text.charCodeAt(next)] === 1) {
        uneven ||= (i - line) % 4 !== 0 || first < 60;
        line = next;
        i = next - 1;
        continue;
      }
    }
    const whole = runAt(text, start, i) ?? behindLetters(text, start, i);
    if (whole) yield whole;
    // Lines that only look like those of one value may each be one.
    if (line > start && (!whole || uneven)) yield* linesOf(text, start, i);
    start = -1;
  }
}

function* linesOf(text: string, from: number, to: number): Generator<Run> {
  for (let start = from; start < to;) {
    const end = text.slice(start, to).search(/[\r\n]|$/) + start;
    const run = runAt(text, start, end);
    if (run) yield run;
    start = end + (text[end] === '\r' ? 2 : 1);
  }
}

/** Characters by which it is told whether there is text behind the first letters of a run. */
const glance = 64;

/** Some programs set a letter before base64 (Engine.IO says `b`): the run that begins up to three characters later. */
function behindLetters(text: string, start: number, end: number): Run | undefined {
  for (let from = start + 1; from <= start + 3; from += 1) {
    const near = Math.min(end, from + glance);
    if (near - from >= shortest && beginsThrees(text, from, near) && runAt(text, from, near)) return runAt(text, from, end);
  }
  return undefined;
}

/** Undefined where it is too short, or decodes to no text. */
function runAt(text: string, start: number, end: number): Run | undefined {
  if (end - start < shortest || (end - start <= wordLike && !beginsThrees(text, start, end))) return undefined;
  const bytes = Buffer.from(text.slice(start, end), 'base64');
  return looksLikeText(bytes) ? { start, end, text: bytes.includes(0) ? readText(bytes, '').text : bytes.toString('utf8') } : undefined;
}

/** Whether the first of each three bytes is ASCII, but for one: its upper six bits are the first of each four characters. */
function beginsThrees(text: string, from: number, to: number): boolean {
  let others = 0;
  for (let i = from; i < to; i += 4) {
    const c = text.charCodeAt(i);
    if ((c < 65 || c > 90) && (c < 97 || c > 102)) others += 1;
    if (others > 1) return false;
  }
  return true;
}

/** Mostly printable in its beginning, or UTF-16 or UTF-32 of that. Words with slashes decode to noise. */
function looksLikeText(bytes: Buffer): boolean {
  const n = Math.min(bytes.length, 256);
  let good = 0;
  let zeros = 0;
  for (let i = 0; i < n; i += 1) {
    const c = bytes[i] ?? 0;
    if ((c >= 32 && c < 127) || c === 9 || c === 10 || c === 13) good += 1;
    else if (c === 0) zeros += 1;
  }
  return zeros * 4 <= n * 3 + 3 && good + zeros >= n * 0.85;
}

/** The text with `%XX` undone, or undefined where there is none; what is no UTF-8 stays as it is. */
export function undoPercent(text: string): string | undefined {
  if (!text.includes('%') || !/%[0-9a-f]{2}/i.test(text)) return undefined;
  return text.replaceAll(/(?:%[0-9a-f]{2})+/gi, (run) => Buffer.from(run.replaceAll('%', ''), 'hex').toString('utf8'));
}

/** The text with whole numbers written out that stand there with an exponent, as JSON has them; undefined where there is none. */
export function undoExponents(text: string): string | undefined {
  if (!/\d[eE][+-]?\d/.test(text)) return undefined;
  let undone = false;
  const out = text.replace(/(?<![\w.])(\d{1,20})(?:\.(\d{1,20}))?[eE]([+-]?\d{1,2})(?![\w.])/g, (whole: string, before: string, behind = '', exponent: string) => {
    const digits = `${before}${behind}`;
    const length = before.length + Number(exponent);
    // Shorter ones are no number that is looked for, longer ones are measures.
    if (length < 9 || length > 19 || (digits.length > length && /[1-9]/.test(digits.slice(length)))) return whole;
    undone = true;
    return digits.padEnd(length, '0').slice(0, length);
  });
  return undone ? out : undefined;
}

/** The bytes, one a character, of a quoted-printable text (RFC 2045, 6.7). */
export function undoQuotedPrintable(text: string): string {
  return text.replace(/=[ \t]*\r?\n/g, '').replace(/=([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

/** The text with character references of XML and HTML undone (also without their semicolon, as HTML reads them), or undefined where there is none. */
export function undoReferences(text: string): string | undefined {
  if (!text.includes('&') || !/&(?:#\d|#x[0-9a-f]|(?:commat|period|colon|hyphen|dash);)/i.test(text)) return undefined;
  return text.replaceAll(/&(?:#0*(\d{1,7})(?!\d);?|#x0*([0-9a-f]{1,6})(?![0-9a-f]);?|(commat|period|colon|hyphen|dash);)/gi, (whole: string, decimal?: string, hex?: string, name?: string) => {
    if (name !== undefined) return { commat: '@', period: '.', colon: ':', hyphen: '-', dash: '-' }[name.toLowerCase()] ?? whole;
    const code = decimal === undefined ? Number.parseInt(hex ?? '', 16) : Number(decimal);
    return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : whole;
  });
}

/** NFKC of a text that has full-width forms, digits of other scripts or the like; undefined where it changes nothing that matters. */
export function foldForms(text: string): string | undefined {
  if (!/[^\x00-\x7f]/.test(text)) return undefined;
  // Full-width forms, mathematical digits, super- and subscripts, Arabic-Indic and Devanagari digits, zero-width characters.
  if (!/[\uff01-\uff5e\u{1d7ce}-\u{1d7ff}\u00b2\u00b3\u00b9\u2070-\u2079\u2080-\u2089\u0660-\u0669\u06f0-\u06f9\u0966-\u096f\u200b-\u200d\u2060\ufeff\u00ad]/u.test(text)) return undefined;
  return text
    .replaceAll(/[\u200b-\u200d\u2060\ufeff\u00ad]/g, '')
    .normalize('NFKC')
    .replaceAll(/[\u0660-\u0669\u06f0-\u06f9\u0966-\u096f]/g, (digit) => String((digit.charCodeAt(0) - (digit < '\u06f0' ? 0x660 : digit < '\u0966' ? 0x6f0 : 0x966))));
}
