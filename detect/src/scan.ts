/** The scanner: one pass over the text, which looks closer only where a character can be part of something. */
import { ibanAt, ipv6At } from './addresses.ts';
import { assignmentAt, pemAt, userinfoAt } from './assignments.ts';
import * as chars from './characters.ts';
import { emailAt } from './email.ts';
import { settle, type Finding } from './finding.ts';
import { compileKnown, findKnown, type Known } from './known.ts';
import { numbersAt } from './numbers.ts';
import { tokenAt } from './tokens.ts';

export interface ScanOptions {
  /** Values that must not occur, whatever they look like. */
  readonly known?: Known;
}

/**
 * Finds personal data and secrets in a string or in bytes (taken as ASCII-compatible; offsets are then byte offsets).
 * Findings are sorted and do not overlap. Never throws. Encoded or compressed content must be decoded by the caller.
 */
export function scan(input: string | Uint8Array, options: ScanOptions = {}): Finding[] {
  const isText = typeof input === 'string';
  const text = isText ? input : Buffer.from(input.buffer, input.byteOffset, input.byteLength).toString('latin1');
  const out: Finding[] = [];
  pass(text, out);
  if (options.known) {
    const known = compileKnown(options.known);
    findKnown(text, isText ? known.index : known.byteIndex, out);
  }
  return settle(out);
}

function pass(text: string, out: Finding[]): void {
  const classOf = chars.classOf;
  const n = text.length;
  /** Start of the word the scanner is in, or -1. */
  let word = -1;
  const add = (finding: Finding | undefined): number => {
    if (!finding) return 0;
    out.push(finding);
    return finding.end;
  };
  for (let i = 0; i < n; i += 1) {
    const c = text.charCodeAt(i);
    const kind = classOf[c];
    if (kind === chars.letter) {
      if (word < 0) {
        word = i;
        const end = add(tokenAt(text, i, c));
        if (end > 0) {
          i = end - 1;
          word = -1;
          continue;
        }
      }
      // Letters are most of any text, and inside a word nothing starts.
      while (classOf[text.charCodeAt(i + 1)] === chars.letter) i += 1;
    } else if (kind === chars.digit) {
      if (word < 0) {
        i = numbersAt(text, i, out) - 1;
        word = i;
      } else if (i - word === 2) {
        const end = add(ibanAt(text, i));
        if (end > 0) i = end - 1;
      }
    } else {
      word = -1;
      if (kind === chars.other) continue;
      if (kind === chars.at) add(emailAt(text, i));
      else if (kind === chars.dash) {
        const end = text.charCodeAt(i + 1) === 45 ? add(pemAt(text, i)) : 0;
        if (end > 0) i = end - 1;
      } else {
        add(assignmentAt(text, i));
        if (kind === chars.colon) {
          add(userinfoAt(text, i));
          const end = add(ipv6At(text, i));
          if (end > 0) i = end - 1;
        }
      }
    }
  }
}
