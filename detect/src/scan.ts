/** The scanner of a whole text. */
import { bytesOf } from './characters.ts';
import { settle, type Finding } from './finding.ts';
import { compileKnown, findKnown, type Known } from './known.ts';
import { pass } from './pass.ts';

export interface ScanOptions {
  /** Values that must not occur, whatever they look like. */
  readonly known?: Known;
}

/**
 * Finds personal data and secrets in a string or in bytes (taken as ASCII-compatible; offsets are then byte offsets).
 * Findings are sorted and do not overlap. Never throws. Encoded or compressed content must be decoded by the caller.
 */
export type Scan = (input: string | Uint8Array, options?: ScanOptions) => Finding[];

export const scan: Scan = (input, options) => scanBy(lookEverywhere, input, options);

/** Appends what stands in a text, in no strict order. `bytes`: of the same text (`bytesOf`). */
export type Look = (text: string, bytes: Uint8Array, out: Finding[]) => void;

export const lookEverywhere: Look = (text, bytes, out) => pass(text, bytes, { at: 0, word: -1 }, text.length, out);

/** As `scan`, with another way over the text. */
export function scanBy(look: Look, input: string | Uint8Array, options: ScanOptions = {}): Finding[] {
  const isText = typeof input === 'string';
  const text = isText ? input : Buffer.from(input.buffer, input.byteOffset, input.byteLength).toString('latin1');
  const out: Finding[] = [];
  look(text, isText ? bytesOf(text) : input, out);
  if (options.known) {
    const known = compileKnown(options.known);
    findKnown(text, isText ? known.index : known.byteIndex, out);
  }
  return settle(out);
}
