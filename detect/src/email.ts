/** Email addresses, found from their `@`. */
import { isAlnum } from './characters.ts';
import type { Finding } from './finding.ts';

function isLocal(c: number): boolean {
  // . _ % + - ' and alphanumerics: the unquoted local parts people really have.
  return isAlnum(c) || c === 46 || c === 95 || c === 37 || c === 43 || c === 45 || c === 39;
}

/** The address around the `@` at `i`, or undefined. */
export function emailAt(text: string, i: number): Finding | undefined {
  let start = i;
  while (start > 0 && i - start < 64 && isLocal(text.charCodeAt(start - 1))) start -= 1;
  // Leading punctuation belongs to the sentence (a quote, a list dash).
  while (start < i && !isAlnum(text.charCodeAt(start)) && text.charCodeAt(start) !== 95) start += 1;
  if (start === i) return undefined;
  let end = i + 1;
  let label = end;
  let good = -1;
  for (; end - i < 254; end += 1) {
    const c = text.charCodeAt(end);
    if (isAlnum(c) || (c === 45 && end > label)) continue;
    if (end > label && end - label <= 63 && label > i + 1 && isTld(text, label, end)) good = end;
    if (c !== 46 || end === label) break;
    label = end + 1;
  }
  if (good < 0) return undefined;
  return { type: 'email', start, end: good, confidence: 0.99, kind: 'email' };
}

function isTld(text: string, from: number, to: number): boolean {
  if (to - from < 2) return false;
  if (text.startsWith('xn--', from)) return true;
  for (let i = from; i < to; i += 1) {
    const c = text.charCodeAt(i) | 32;
    if (c < 97 || c > 122) return false;
  }
  return true;
}
