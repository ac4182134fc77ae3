/** Opens an existing record after any end of its writer: finds the last whole record, recalls the sources, and reports a torn tail. */
import { readFileSync } from 'node:fs';
import { checkLine, noHead, type ChainState, type Checked } from './chain.ts';
import { glance } from './glance.ts';
import { eachLine, type Segment } from './segments.ts';
import type { SourceBook } from './source-book.ts';

export interface Opened {
  readonly state: ChainState;
  /** Segment to go on in; undefined where a new one must be made. */
  readonly segment: Segment | undefined;
  /** Length of the good part of that segment, bytes. */
  readonly size: number;
  /** What follows the good part; empty after a clean end. */
  readonly torn: Buffer;
  /** Whole records of the last segment, for the recent-events ring. */
  readonly lines: readonly { readonly sequence: number; readonly sandbox: string; readonly line: string }[];
}

/**
 * Reads the last segment. Lines that do not parse at its end are the torn tail (a crash can tear more than one line: blocks reach
 * the disk in any order). Only the last whole record is checked against its fingerprint: checking all is `verifyLedger`'s work,
 * and a writer that refused to start on an old edit would stop the record for everyone.
 */
export function openExisting(segments: readonly Segment[], book: SourceBook): Opened | undefined {
  const segment = segments.at(-1);
  if (!segment) return undefined;
  const bytes = readFileSync(segment.path);
  const lines: { sequence: number; sandbox: string; line: string; end: number }[] = [];
  eachLine(bytes, (line, _number, offset) => {
    const seen = glance(line);
    // What is no record is part of the torn tail, or damage in the middle that verification reports.
    if (!seen) return;
    lines.push({ sequence: seen.sequence, sandbox: seen.sandbox, line, end: offset + Buffer.byteLength(line) + 1 });
    book.recall(seen.source, seen.source.name === 'ledger' ? line : '');
  });
  for (let last = lines.pop(); last; last = lines.pop()) {
    const checked = tryCheck(last.line);
    if (!checked) continue;
    return {
      state: { chain: checked.chain, count: checked.sequence, head: checked.fingerprint, typeUid: checked.typeUid },
      segment,
      size: last.end,
      torn: bytes.subarray(last.end),
      lines: [...lines, last],
    };
  }
  return openBefore(segments, segment, bytes, book);
}

/** The last segment holds no whole record (a crash at its very beginning): the chain ends in the one before. */
function openBefore(segments: readonly Segment[], segment: Segment, bytes: Buffer, book: SourceBook): Opened {
  const before = openExisting(segments.slice(0, -1), book);
  const state = before?.state ?? { chain: '', count: 0, head: noHead, typeUid: 0 };
  return { state, segment, size: 0, torn: bytes, lines: before?.lines ?? [] };
}

function tryCheck(line: string): Checked | undefined {
  try {
    return checkLine(line);
  } catch {
    return undefined;
  }
}
