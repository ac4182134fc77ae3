/** One way over the text that looks closer only where a character can be part of something; it can stop anywhere and go on with more text. */
import { ibanAt, ipv6At } from './addresses.ts';
import { assignmentAt, nameGap, pemAt, userinfoAt } from './assignments.ts';
import * as chars from './characters.ts';
import { emailAt } from './email.ts';
import type { Finding } from './finding.ts';
import { numbersAt } from './numbers.ts';
import { jwkAt, phraseAt } from './phrases.ts';
import { Runs } from './runs.ts';
import { mayStart, tokenAt } from './tokens.ts';

/** How far a detector may look back from where it starts, and how far ahead: with that much text around it, it says what it would say with all of it. */
export const lookBack = 4 * 1024;
export const lookAhead = 17 * 1024;

/** Where the way stands: the next character, and the start of the word it is in, or -1. */
export interface Position {
  at: number;
  word: number;
}

/** Goes from `position` to `until`, or a little further where something found ends behind it. Appends what it finds, in no strict order. `bytes`: of this text (`bytesOf`); `runs`: what is known of it already. */
export function pass(text: string, bytes: Uint8Array, position: Position, until: number, out: Finding[], runs = new Runs()): void {
  const classOf = chars.classOf;
  let word = position.word;
  /** Behind it, up to here, is no letter. */
  let letter = position.at;
  const add = (finding: Finding | undefined): number => {
    if (!finding) return 0;
    out.push(finding);
    return finding.end;
  };
  let i = position.at;
  for (; i < until; i += 1) {
    const c = bytes[i] ?? 0;
    const kind = classOf[c];
    if (kind === chars.letter) {
      if (word < 0) {
        word = i;
        if (mayStart(c, bytes[i + 1] ?? 0)) {
          const end = add(tokenAt(text, i, c, runs));
          if (end > 0) {
            letter = i = end - 1;
            word = -1;
            continue;
          }
          add(phraseAt(text, i, c, runs));
        }
      }
      // Letters are most of any text, and inside a word nothing starts.
      while (i + 1 < until && classOf[bytes[i + 1] ?? 0] === chars.letter) i += 1;
      letter = i;
    } else if (kind === chars.digit) {
      if (word < 0) {
        letter = word = i = numbersAt(text, i, out, runs) - 1;
      } else if (i - word === 2) {
        const end = add(ibanAt(text, i));
        if (end > 0) letter = i = end - 1;
      }
    } else {
      word = -1;
      if (kind === chars.other) continue;
      if (kind === chars.at) add(emailAt(text, i));
      else if (kind === chars.dash) {
        const end = text.charCodeAt(i + 1) === 45 ? add(pemAt(text, i)) : 0;
        if (end > 0) letter = i = end - 1;
      } else {
        // A long row of signs is no more work than any other text.
        if (i - letter <= nameGap) add(assignmentAt(text, i, runs));
        if (kind === chars.colon) {
          add(userinfoAt(text, i));
          if (i - letter <= 2) add(jwkAt(text, i, runs));
          const end = add(ipv6At(text, i));
          if (end > 0) letter = i = end - 1;
        }
      }
    }
  }
  position.at = i;
  position.word = word;
}
