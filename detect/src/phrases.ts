/** Secrets behind words instead of signs: SQL's `IDENTIFIED BY '…'`, `curl -u name:…`; and the private part of a JSON Web Key. */
import { isAlnum } from './characters.ts';
import type { Finding } from './finding.ts';
import type { Runs } from './runs.ts';

const identified = /^(?:identified(?:\s{1,4}with\s{1,4}[\w']{1,40})?\s{1,4}(?:by|as)|password)\s{1,4}(?:password\s{1,4})?(['"])/i;
const option = /\s(?:-u|--user|-U|--proxy-user)[\s=]?\s{0,3}["']?[^\s:"']{1,64}:/;
/** From the beginning of `curl`, how far off its option may begin, and what is looked at for it. */
const [optionWithin, optionEnd] = [205, 320] as const;

/** First two characters of the words that a phrase starts with. */
export const phraseStarts: readonly string[] = ['id', 'ID', 'Id', 'iD', 'pa', 'PA', 'Pa', 'pA', 'cu'];

/** The secret of a phrase that starts with the word at `i`, or undefined. `c` is the character there; `runs`: those of this text. */
export function phraseAt(text: string, i: number, c: number, runs: Runs): Finding | undefined {
  const lower = c | 32;
  // `id…` of identified, `pa…` of password, `cu…` of curl, with their third letter: nearly no other word gets further.
  if (lower === 105 || lower === 112) {
    if ((text.charCodeAt(i + 2) | 32) !== (lower === 105 ? 101 : 115)) return undefined;
    return quotedAfter(text, i, identified.exec(text.slice(i, i + 80)));
  }
  return c === 99 && text.startsWith('curl', i) && /\s/.test(text.charAt(i + 4)) ? curlUser(text, i, runs) : undefined;
}

function curlUser(text: string, i: number, runs: Runs): Finding | undefined {
  // Where one `curl` stands behind another, what was looked through for that is not again.
  const from = Math.max(i + 4, runs.noOption);
  const match = option.exec(text.slice(from, i + optionEnd));
  const at = match ? from + match.index : Infinity;
  runs.noOption = Math.min(at, i + optionWithin + 1);
  if (!match || at > i + optionWithin || /[\n;|&]/.test(text.slice(i + 5, at))) return undefined;
  const start = at + match[0].length;
  let end = start;
  while (end - start < 256 && isSecretChar(text.charCodeAt(end))) end += 1;
  if (end - start < 4 || '$<{'.includes(text[start] ?? '$')) return undefined;
  return { type: 'secret', start, end, confidence: 0.9, kind: 'curl-user' };
}

function quotedAfter(text: string, i: number, match: RegExpExecArray | null): Finding | undefined {
  if (!match) return undefined;
  const start = i + match[0].length;
  const rest = text.slice(start, start + 257);
  const length = rest.indexOf(match[1] ?? "'");
  if (length < 4) return undefined;
  const end = start + length;
  const found = rest.slice(0, length);
  return /[\n$<{]|^\*+$|^\[redacted/.test(found) ? undefined : { type: 'secret', start, end, confidence: 0.9, kind: 'sql-password' };
}

function isSecretChar(c: number): boolean {
  return c > 32 && c < 127 && c !== 34 && c !== 39 && c !== 96;
}

/** How far from its private part a key may say what it is. */
const keyReach = 2048;

/** `"d"` or `"k"` of a JSON Web Key (RFC 7517) whose colon stands at `i`, where `"kty"` is near. `runs`: those of this text. */
export function jwkAt(text: string, i: number, runs: Runs): Finding | undefined {
  const name = text.charCodeAt(i - 2);
  if (text.charCodeAt(i - 1) !== 34 || text.charCodeAt(i - 3) !== 34 || (name !== 100 && name !== 107)) return undefined;
  let start = i + 1;
  while (text.charCodeAt(start) === 32 && start < i + 4) start += 1;
  if (text.charCodeAt(start) !== 34) return undefined;
  start += 1;
  let end = start;
  while (end - start < 2048 && isBase64Url(text.charCodeAt(end))) end += 1;
  if (end - start < 22 || text.charCodeAt(end) !== 34) return undefined;
  if (runs.keyType(text, Math.max(0, i - keyReach)) + '"kty"'.length > end + keyReach) return undefined;
  return { type: 'secret', start, end, confidence: 0.97, kind: 'jwk' };
}

function isBase64Url(c: number): boolean {
  return isAlnum(c) || c === 45 || c === 95;
}
