/** Searches the end of what passes, together with what came before it, or a whole message. Pure. */
import { scan, Scanner, type Finding, type KnownSet } from '@nemoclaw/detect';
import type { Found } from './findings.ts';
import { condense } from './examine.ts';
import { inspectReadings } from './inspect-body.ts';
import { messageText, unnamed } from './protobuf-view.ts';
import { readText } from './read-text.ts';
import { taintedIn, type Sought } from '../taint/memory.ts';
import { undoEscapes } from '../taint/pieces.ts';

export interface PassingWindow {
  readonly bytes: Uint8Array;
  /** So many at its end are new: what ends before them was judged already. */
  readonly fresh: number;
  readonly known: KnownSet;
  /** What came from labelled hosts and may not go where this goes. */
  readonly tainted: Sought | undefined;
  /** They are a whole message, which is read as its readers do. */
  readonly message: boolean;
}

export function searchWindow({ bytes, fresh, known, tainted, message }: PassingWindow): readonly Found[] {
  const window = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (message) return condense(inspectReadings(window, messageText(window, unnamed), { known, tainted }));
  const scanner = new Scanner({ known });
  const found: Found[] = [...scanner.push(window), ...scanner.end(), ...inWideText(window, known)].filter(({ end }) => end > window.length - fresh).map(({ type, kind, confidence }) => ({ type, kind, confidence, place: 'the body' }));
  if (tainted && taintedAtEnd(window, fresh, tainted)) found.push({ type: 'tainted', kind: 'tainted', confidence: 1, place: 'the body' });
  return found;
}

/** Where it looks like UTF-16 or UTF-32, as a short body does that is read so. */
function inWideText(window: Buffer, known: KnownSet): readonly Finding[] {
  if (!window.subarray(0, 1024).includes(0)) return [];
  const { text, encoding } = readText(window, '');
  if (encoding === 'utf8' || encoding === 'latin1') return [];
  const width = text.length * 3 > window.length ? 2 : 4;
  return scan(text, { known }).map((one) => ({ ...one, start: one.start * width, end: one.end * width }));
}

/** Whether something tainted stands in the last `fresh` bytes, as they are or undone. */
function taintedAtEnd(window: Buffer, fresh: number, sought: Sought): boolean {
  const text = window.toString('utf8');
  if (taintedIn(text, sought).some(({ end }) => end > text.length - fresh)) return true;
  const unescaped = undoEscapes(text);
  return unescaped !== undefined && taintedIn(unescaped, sought).length > 0;
}
