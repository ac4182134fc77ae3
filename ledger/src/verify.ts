/** Independent check of a record: every fingerprint, every link, every signed checkpoint. Reads only; needs no running process. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BadLine, checkLine, noHead } from './chain.ts';
import { checkpointFile, readCheckpoints, type Checkpoints } from './checkpoints.ts';
import { eachLine, listSegments, type Segment } from './segments.ts';

/**
 * - `damaged`, `edited`: the line is no record, or not the one that was written.
 * - `removed`, `reordered`, `relinked`: records are missing before it, it stands in the wrong place, or it follows another history.
 * - `segment-missing`: a whole file is gone.
 * - `tail-cut`: a signed checkpoint is past the end.
 * - `rewritten`: the record at a signed checkpoint is another one.
 * - `checkpoint-bad`, `checkpoint-missing`: the checkpoints themselves do not hold.
 */
export type FindingKind = 'damaged' | 'edited' | 'removed' | 'reordered' | 'relinked' | 'segment-missing' | 'tail-cut' | 'rewritten' | 'checkpoint-bad' | 'checkpoint-missing';

export interface Finding {
  readonly kind: FindingKind;
  readonly file: string;
  readonly line: number;
  /** Sequence at which it shows. */
  readonly sequence: number;
  readonly what: string;
}

export interface Report {
  readonly ok: boolean;
  /** At most 100; `more` counts the rest. */
  readonly findings: readonly Finding[];
  readonly more: number;
  readonly records: number;
  readonly segments: number;
  readonly chain: string;
  readonly head: string;
  readonly checkpoints: { readonly signed: number; readonly lastCount: number; readonly lastTime: number };
  /** Records after the last checkpoint: chained, not yet signed. */
  readonly unsigned: number;
  /** Bytes after the last whole line: a write in progress, or the remains of a crash. */
  readonly unfinished: number;
}

export interface VerifyOptions {
  /** Folder of the segments. */
  readonly dir: string;
  /** Folder of checkpoints.jsonl and public.key. */
  readonly checkpoints: string;
  readonly onProgress?: (done: number, total: number) => void;
}

/** Checks a record. Never throws for what is wrong with the record; throws if the ledger folder cannot be read. */
export function verifyLedger(options: VerifyOptions): Report {
  // Read first: a record that grows meanwhile can then only be longer than its checkpoints.
  const checkpoints = loadCheckpoints(options.checkpoints);
  const walk = new Walk(checkpoints.good);
  const segments = listSegments(options.dir);
  segments.forEach((segment, index) => {
    options.onProgress?.(index, segments.length);
    walk.segment(segment, index === segments.length - 1);
  });
  walk.end(join(options.checkpoints, checkpointFile), checkpoints);
  const last = checkpoints.good.at(-1);
  return {
    ok: walk.findings.length === 0,
    findings: walk.findings.slice(0, 100),
    more: Math.max(0, walk.findings.length - 100),
    records: walk.records,
    segments: segments.length,
    chain: walk.chain,
    head: walk.head,
    checkpoints: { signed: checkpoints.good.length, lastCount: last?.count ?? 0, lastTime: last?.time ?? 0 },
    unsigned: Math.max(0, walk.sequence - (last?.count ?? 0)),
    unfinished: walk.unfinished,
  };
}

function loadCheckpoints(dir: string): Checkpoints & { readonly missing?: string } {
  try {
    return readCheckpoints(dir);
  } catch (error) {
    return { good: [], bad: [], missing: error instanceof Error ? error.message : String(error) };
  }
}

class Walk {
  readonly findings: Finding[] = [];
  records = 0;
  sequence = 0;
  head = noHead;
  chain = '';
  unfinished = 0;
  /** Signed head by count. */
  readonly #signed: ReadonlyMap<number, string>;
  #where = { file: '', line: 0 };

  constructor(checkpoints: readonly { readonly count: number; readonly head: string }[]) {
    this.#signed = new Map(checkpoints.map(({ count, head }) => [count, head]));
  }

  segment(segment: Segment, last: boolean): void {
    this.#where = { file: segment.path, line: 1 };
    if (segment.first > this.sequence + 1) {
      this.#found('segment-missing', segment.first, `records ${this.sequence + 1} to ${segment.first - 1} are missing: the file before this one is gone or cut`);
      // Reported once, here; the first line is then judged by its own place.
      this.sequence = segment.first - 1;
      this.head = '';
    } else if (segment.first <= this.sequence) this.#found('reordered', segment.first, `the file claims to start at ${segment.first}, after record ${this.sequence}`);
    const rest = eachLine(readFileSync(segment.path), (line, number) => {
      this.#where = { file: segment.path, line: number };
      this.#line(line);
    });
    if (rest.length === 0) return;
    if (last) this.unfinished = rest.length;
    else this.#found('damaged', this.sequence + 1, `${rest.length} bytes at the end of the file are not a whole line`);
  }

  #line(line: string): void {
    this.records += 1;
    try {
      const checked = checkLine(line);
      this.#place(checked.sequence, checked.previous, checked.chain);
      this.sequence = checked.sequence;
      this.head = checked.fingerprint;
    } catch (error) {
      const bad = error instanceof BadLine ? error : new BadLine('damaged', 0, String(error));
      this.#found(bad.kind, bad.sequence || this.sequence + 1, bad.message);
      this.sequence = bad.sequence || this.sequence + 1;
      this.head = '';
    }
    const signed = this.#signed.get(this.sequence);
    if (signed !== undefined && this.head !== '' && signed !== this.head) {
      this.#found('rewritten', this.sequence, `the signed checkpoint at ${this.sequence} names another record`);
    }
  }

  /** A head of '' means that the line before was already reported; its successor is then not blamed for the link. */
  #place(sequence: number, previous: string, chain: string): void {
    if (this.chain === '') this.chain = chain;
    const expected = this.sequence + 1;
    if (sequence > expected) this.#found('removed', sequence, `records ${expected} to ${sequence - 1} are missing before this one`);
    else if (sequence < expected) this.#found('reordered', sequence, `record ${sequence} stands where ${expected} should`);
    else if (this.head !== '' && previous !== this.head) this.#found('relinked', sequence, 'it names another record as the one before it');
    else if (chain !== this.chain) this.#found('relinked', sequence, `it belongs to chain ${chain}, not ${this.chain}`);
  }

  end(file: string, checkpoints: Checkpoints & { readonly missing?: string }): void {
    const missing = checkpoints.missing;
    this.#where = { file, line: 0 };
    if (missing !== undefined) this.#found('checkpoint-missing', this.sequence, missing);
    else if (checkpoints.good.length === 0) this.#found('checkpoint-missing', this.sequence, 'no checkpoint holds, so nothing shows that this is the record that was written');
    for (const bad of checkpoints.bad) {
      this.#where = { file, line: bad.line };
      this.#found('checkpoint-bad', bad.count, bad.what);
    }
    const last = checkpoints.good.at(-1);
    if (last && last.count > this.sequence) {
      this.#where = { file, line: last.line };
      this.#found('tail-cut', this.sequence, `${last.count} records were signed, the record ends at ${this.sequence}`);
    }
  }

  #found(kind: FindingKind, sequence: number, what: string): void {
    this.findings.push({ kind, ...this.#where, sequence, what });
  }
}
