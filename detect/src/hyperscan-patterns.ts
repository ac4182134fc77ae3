/** Patterns that match wherever a detector could start, and never later: what they do not match, the scanner need not look at. */
import { tokenShapes } from './tokens.ts';

/** The beginnings of what the pass looks closer at. The text from a match's anchor to its end holds none of `isSafeBefore` except in `userinfo`. */
export interface Pattern {
  readonly expression: string;
  readonly caseless?: true;
  /** The anchor is at the `//` before the match's end, however far. */
  readonly fromScheme?: true;
}

/**
 * Characters after which the pass is in no word, and that stand in nothing it jumps over but a private key: behind one of them it can start anew.
 * Line ends, tab, quote, comma, semicolon, angle brackets, braces.
 */
export const isSafeBefore = new Uint8Array(65536);
for (const c of '\n\r\t",;<>{}') isSafeBefore[c.charCodeAt(0)] = 1;

const separators = '[ .()/\\-\\xa0]';
const escape = (text: string): string => text.replaceAll(/[^A-Za-z0-9]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);

export const patterns: readonly Pattern[] = [
  ...tokenShapes.map(({ prefix, extra, least }): Pattern => ({ expression: `${escape(prefix)}[A-Za-z0-9${escape(extra)}]{${Math.min(least, 10)}}` })),
  { expression: '\\bidentified', caseless: true },
  { expression: 'password\\b', caseless: true },
  { expression: 'curl\\b' },
  { expression: `[0-9](?:${separators}{0,2}[0-9]){6}` },
  // What is found in fewer than seven digits is an address.
  { expression: '[0-9](?:\\.[0-9]{1,3}){2}\\.[0-9]' },
  // Any two letters: the countries that have such numbers by name cost the library many times as much.
  { expression: '\\b[A-Za-z]{2}[0-9]{2}(?:[ -]?[A-Za-z0-9]){11}' },
  { expression: "[A-Za-z0-9._%+'\\-]@[A-Za-z0-9]" },
  { expression: '--BEGIN ' },
  { expression: "(?:passw(?:or)?d|pwd|passphrase|secret|key|token|credentials?|auth|sig(?:nature)?|authorization)[ \"'`:\\]\\x5c]{0,4}[=:]", caseless: true },
  { expression: ':\\/\\/[^\\x00-\\x20\\/?#"\'<>\\x5c@:]{0,255}:', fromScheme: true },
  { expression: '"[dk]":' },
  { expression: ':[0-9a-f]{0,4}:', caseless: true },
];
