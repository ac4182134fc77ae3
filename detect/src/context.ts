/** Words near a number that say what it is. */
import type { Runs } from './runs.ts';

const words = {
  version: /\b(?:version|ver|release|rev|v)[\s:=.]{0,3}$/,
  card: /(?:\bcards?\b|card[-_ ]?(?:num|no\b|nr\b)|\b(?:cc|credit|debit|visa|mastercard|amex|maestro|discover|pan)\b)/g,
  ssn: /\b(?:ssn|social|ss#|ss number|security number)\b/g,
  phone:
    /(?:\b(?:tele)?phone|\bcall|\bcell|\bmob(?:ile)?\b|\btel\b|\btel[.:]|\bfax\b|\breach|\btext\b|\bsms\b|\bcontact|\bring\b|\bdial|\boffice\b|\bdesk\b|\bregistered\b|\banswering\b|\bmessages?\b|\bwhatsapp\b|\bhotline\b|\bhandy\b|\btelefon|\bt[ée]l[ée]phone)/g,
  /** Says that a number follows, not which. */
  anyNumber: /\b(?:number|nr|no)\b/g,
  otherNumber:
    /\b(?:licen[sc]e|born|birth(?:day|date)?|accounts?|orders?|invoice|zip|postal|postcode|isbn|issn|imei|tracking|serial|ticket|case|reference|ref|bic|swift|iban|routing|version|card|sku|id|uid|pid|hash|commit|timestamp|amount|total|price|usd|eur)\b/g,
  /** Names of numbers that a card's could be taken for, by their words: `traceId` and `trace_id` are read as `trace id`. */
  identifier:
    /\b(?:(?:account|client|customer|event|issue|message|order|request|session|span|thread|trace|transaction|user)?ids?|[cfgoprstu]id|[gu]uid|orders?|invoice|tracking|ticket|ref|reference|serial|isbn|sku|imei|iccid|issue|project|job|run|commit|hash|trace|span|nonce|seq|sequence|offset|cursor|ts|timestamp|snowflake)\b/g,
} as const;

const reach = 48;
/** A label stands closer to its number than a word that says what a text is about. */
const labelReach = 16;
/** How far behind its bracket a list of numbers is still said to be what stands before that. */
const listReach = 1024;

/** What stands within 48 characters before `at`, as `nearest` reads it: most numbers of many have nothing but numbers before them, which are no words. */
export function wordsBefore(text: string, at: number): string {
  const before = within(text, at);
  return hasLetter.test(before) ? before.toLowerCase() : '';
}

/** The characters within reach before `at`, without a word that is cut there: the end of a word is another one (`String`, `ring`). */
function within(text: string, at: number): string {
  let from = Math.max(0, at - reach);
  if (from > 0 && isWord.test(text[from - 1] ?? '')) while (from < at && isWord.test(text[from] ?? '')) from += 1;
  return text.slice(from, at);
}

const isWord = /[A-Za-z0-9]/;

const hasLetter = /[a-z]/i;

/** Distance from the end of `before` back to the nearest word of the kind, or undefined. */
export function nearest(before: string, kind: keyof typeof words): number | undefined {
  const pattern = words[kind];
  if (!pattern.global) return pattern.test(before) ? 1 : undefined;
  return distance(before, pattern);
}

/** From the end of `before` back to its last match; 0 is a real distance, so callers that test for truth get at least 1. */
function distance(before: string, pattern: RegExp): number | undefined {
  let found: number | undefined;
  pattern.lastIndex = 0;
  for (let match = pattern.exec(before); match; match = pattern.exec(before)) found = before.length - match.index - match[0].length;
  return found === undefined ? undefined : found + 1;
}

/** What names a collection in a path, `/issues/`, not the host of a URL: as near as its word is. */
const collection = /(?<!\/)\/[A-Za-z][\w-]{2,}s\/$/;

/**
 * What the plain digits at `at` are said to be: `card`, by a word near them; `other`, by their label in the same field, that of the list they stand in, or that of a collection in a path.
 * The nearer one counts. `runs`: those of this text.
 */
export function labelOf(text: string, at: number, runs: Runs): 'card' | 'other' | undefined {
  const start = listStart(text, at, runs);
  const before = within(text, start);
  if (!hasLetter.test(before)) return undefined;
  const apart = before.replaceAll(/[a-z](?=[A-Z])/g, '$& ').replaceAll(/[_-]/g, ' ').toLowerCase();
  const card = distance(apart, words.card) ?? Infinity;
  const other = collection.test(before) ? 2 : distance(apart.slice(fieldStart(apart)), words.identifier) ?? Infinity;
  if (other < card && other <= labelReach) return 'other';
  return card < Infinity ? 'card' : undefined;
}

/** Behind the last character that ends a field or a line. */
function fieldStart(before: string): number {
  let p = before.length;
  while (p > 0 && !',;{}&|\n'.includes(before[p - 1] ?? '')) p -= 1;
  return p;
}

/** Where the bracket of the list of numbers stands that `at` is in, else `at`. */
function listStart(text: string, at: number, runs: Runs): number {
  const p = runs.beforeList(text, at, listReach);
  const c = text.charCodeAt(p);
  return at - p <= listReach && (c === 91 || c === 40) ? p : at;
}
