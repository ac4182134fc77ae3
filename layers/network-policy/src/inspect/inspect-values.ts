/** Values of one command or of several messages, each read by itself. */
import type { Known, Scan } from '@nemoclaw/detect';
import type { Found } from './findings.ts';
import { inspectBody, type Inspected } from './inspect-body.ts';
import type { Sought } from '../taint/memory.ts';

/** `ends`: where each value ends in `bytes`. Places are `value 1` and so on. Nothing can be taken out of them. Never throws. */
export function inspectValues(bytes: Buffer, ends: Uint32Array, contentType: string, known: Known, tainted?: Sought, search?: Scan): Inspected {
  const found: Found[] = [];
  let from = 0;
  for (const [i, end] of ends.entries()) {
    for (const one of inspectBody(bytes.subarray(from, end), contentType, known, tainted, search).found) found.push({ ...one, place: one.place.replace('the body', `value ${i + 1}`) });
    from = end;
  }
  return { found, redacted: () => undefined };
}

/** Values in the form in which they are inspected. */
export function valuesOf(values: readonly Buffer[]): { readonly bytes: Buffer; readonly ends: Uint32Array } {
  let end = 0;
  return { bytes: Buffer.concat(values), ends: Uint32Array.from(values, (value) => (end += value.length)) };
}
