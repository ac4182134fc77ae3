/** IBANs (from two letters and two digits at the start of a word) and IPv6 addresses (from a colon). */
import { isIPv6 } from 'node:net';
import { isAlnum, isDigit, isWord } from './characters.ts';
import { ibanHolds, ibanLengths } from './checks.ts';
import type { Finding } from './finding.ts';

/** The IBAN whose first digit stands at `i`, or undefined. */
export function ibanAt(text: string, i: number): Finding | undefined {
  if (!isDigit(text.charCodeAt(i + 1))) return undefined;
  const start = i - 2;
  const length = ibanLengths.get(text.slice(start, i).toUpperCase());
  if (length === undefined) return undefined;
  let compact = '';
  let p = start;
  for (; compact.length < length; p += 1) {
    const c = text.charCodeAt(p);
    if (isAlnum(c)) compact += text[p];
    // Printed in groups: one space or dash between them.
    else if (!((c === 32 || c === 45) && isAlnum(text.charCodeAt(p + 1)) && compact.length > 3)) return undefined;
  }
  if (isWord(text.charCodeAt(p)) || !ibanHolds(compact.toUpperCase())) return undefined;
  return { type: 'iban', start, end: p, confidence: 0.99, kind: 'iban' };
}

const inAddress = new Uint8Array(128);
for (const c of '0123456789abcdefABCDEF:.') inAddress[c.charCodeAt(0)] = 1;

function isAddressChar(c: number): boolean {
  return c < 128 && inAddress[c] === 1;
}

/** The IPv6 address around the colon at `i`, or undefined. Too-short forms (`::1`, `a::b`) are left alone: in code they are rarely addresses. */
export function ipv6At(text: string, i: number): Finding | undefined {
  const next = text.charCodeAt(i + 1);
  // Nor does one have three colons in a row.
  if (!isAddressChar(next) || next === 46 || (next === 58 && text.charCodeAt(i - 1) === 58)) return undefined;
  let start = i;
  while (start > 0 && i - start < 5 && isAddressChar(text.charCodeAt(start - 1))) start -= 1;
  if (start > 0 && isWord(text.charCodeAt(start - 1))) return undefined;
  let end = i;
  let colons = 0;
  let pairs = 0;
  for (; end - start < 46 && isAddressChar(text.charCodeAt(end)); end += 1) {
    if (text.charCodeAt(end) !== 58) continue;
    colons += 1;
    if (text.charCodeAt(end + 1) === 58) pairs += 1;
    // One pair at most stands for zeros, and there are at most eight groups.
    if (pairs > 1 || colons > 9) return undefined;
  }
  if (colons < 2 || isWord(text.charCodeAt(end))) return undefined;
  while (end > i && (text.charCodeAt(end - 1) === 46 || (text.charCodeAt(end - 1) === 58 && text.charCodeAt(end - 2) !== 58))) end -= 1;
  const value = text.slice(start, end);
  // Without a pair there are seven colons, or six before an IPv4 address, two of them before `i` at most: a time of day is none.
  if (value.length < 7 || (colons < 4 && !value.includes('::')) || !/\d/.test(value) || !isIPv6(value)) return undefined;
  return { type: 'ip', start, end, confidence: 0.97, kind: 'ipv6' };
}
