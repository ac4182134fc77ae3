/** The files of the record: JSONL segments named by the sequence of their first record, so that their names sort in order and a missing one shows. */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

export interface Segment {
  readonly file: string;
  readonly path: string;
  /** Sequence of the first record. */
  readonly first: number;
}

const shape = /^events-(\d{16})\.jsonl$/;

/** File name of the segment that starts with record `first`. */
export function segmentName(first: number): string {
  return `events-${String(first).padStart(16, '0')}.jsonl`;
}

/** All segments of a folder, oldest first. Throws if it cannot be read. */
export function listSegments(dir: string): Segment[] {
  const found: Segment[] = [];
  for (const file of readdirSync(dir)) {
    const match = shape.exec(file);
    if (match?.[1] !== undefined) found.push({ file, path: join(dir, file), first: Number(match[1]) });
  }
  return found.sort((a, b) => a.first - b.first);
}

/** Bytes of all segments together. */
export function segmentBytes(segments: readonly Segment[]): number {
  return segments.reduce((sum, segment) => sum + statSync(segment.path).size, 0);
}

/** Calls `onLine(line, number, offset, end)` for each newline-ended line; returns the bytes after the last newline. Offsets in bytes (`end`: after the newline), numbers from 1. */
export function eachLine(bytes: Buffer, onLine: (line: string, number: number, offset: number, end: number) => void): Buffer {
  let offset = 0;
  let number = 0;
  for (;;) {
    const end = bytes.indexOf(10, offset);
    if (end < 0) return bytes.subarray(offset);
    number += 1;
    onLine(bytes.toString('utf8', offset, end), number, offset, end + 1);
    offset = end + 1;
  }
}
