/** Searches the end of what passes, together with what came before it. Pure. */
import { Scanner, type KnownSet } from '@nemoclaw/detect';
import type { Found } from './findings.ts';
import { messageText } from './protobuf-view.ts';
import { taintedIn, type Sought } from '../taint/memory.ts';
import { undoEscapes } from '../taint/pieces.ts';

export interface PassingWindow {
  readonly bytes: Uint8Array;
  /** So many at its end are new: what ends before them was judged already. */
  readonly fresh: number;
  readonly known: KnownSet;
  /** What came from labelled hosts and may not go where this goes. */
  readonly tainted: Sought | undefined;
  /** They may be a message of protobuf. */
  readonly message: boolean;
}

export function searchWindow({ bytes, fresh, known, tainted, message }: PassingWindow): Found[] {
  const window = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const scanner = new Scanner({ known });
  const found: Found[] = [...scanner.push(window), ...scanner.end()].filter(({ end }) => end > window.length - fresh).map(({ type, kind, confidence }) => ({ type, kind, confidence, place: 'the body' }));
  if (tainted && taintedAtEnd(window, fresh, tainted, message)) found.push({ type: 'tainted', kind: 'tainted', confidence: 1, place: 'the body' });
  return found;
}

/** Whether something tainted stands in the last `fresh` bytes, as they are or undone. */
function taintedAtEnd(window: Buffer, fresh: number, sought: Sought, message: boolean): boolean {
  const text = window.toString('utf8');
  if (taintedIn(text, sought).some(({ end }) => end > text.length - fresh)) return true;
  const told = message ? messageText(window) : undefined;
  return [undoEscapes(text), told, undoEscapes(told ?? '')].some((form) => form !== undefined && taintedIn(form, sought).length > 0);
}
