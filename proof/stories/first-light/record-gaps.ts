/** Reads a record with eyes of its own: every source counts its events, so whatever is missing must be admitted by the record itself. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Instance } from '../../harness/instance.ts';

interface Line {
  readonly metadata: { readonly sequence: number };
  readonly unmapped: { readonly source: { readonly name: string; readonly run: string; readonly seq: number }; readonly data?: Record<string, unknown> };
}
interface Heard {
  run: string;
  last: number;
  /** The record says that the source began anew. */
  restarted: boolean;
  /** Numbers up to this one are admitted as missing. */
  missing: number;
}

/** Places where numbers of a source, or of the record itself, jump and the record does not say so; and how many lines were read. */
export function unadmittedGaps(instance: Instance): { lines: number; gaps: string[] } {
  const lines = readdirSync(join(instance.state, 'ledger')).filter((name) => name.endsWith('.jsonl')).sort().flatMap((name) => instance.lines<Line>(`ledger/${name}`));
  const sources = new Map<string, Heard>();
  const gaps: string[] = [];
  let expected = lines[0]?.metadata.sequence ?? 1;
  for (const { metadata, unmapped } of lines) {
    if (metadata.sequence !== expected) gaps.push(`record ${metadata.sequence} stands where ${expected} should`);
    expected = metadata.sequence + 1;
    const { name, run, seq } = unmapped.source;
    const { kind, source, to } = unmapped.data ?? {};
    if (name === 'ledger') {
      const heard = sources.get(String(source));
      if (heard && kind === 'source.restarted') Object.assign(heard, { restarted: true, last: 0, missing: 0 });
      if (kind === 'source.gap') sources.set(String(source), { ...(heard ?? { run: '', last: 0, restarted: true }), missing: Number(to) });
      continue;
    }
    const heard = sources.get(name) ?? { run, last: 0, restarted: false, missing: 0 };
    if (heard.run !== run && !heard.restarted) gaps.push(`record ${metadata.sequence}: ${name} is another process, and nothing says so`);
    if (seq !== Math.max(heard.last, heard.missing) + 1) gaps.push(`record ${metadata.sequence}: ${name} jumps from ${heard.last} to ${seq}`);
    sources.set(name, { run, last: seq, restarted: false, missing: 0 });
  }
  return { lines: lines.length, gaps };
}
