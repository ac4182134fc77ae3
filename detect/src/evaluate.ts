/** Accuracy of the structured detectors on labelled texts: precision and recall for each type. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Finding, FindingType } from './finding.ts';
import { generateDocuments, type LabelledDocument } from './generate.ts';
import { scan } from './scan.ts';

export interface Score {
  readonly type: string;
  readonly precision: number;
  readonly recall: number;
  readonly truePositives: number;
  readonly falsePositives: number;
  readonly falseNegatives: number;
}

/** Names of the types in Presidio's labelled sets. */
const presidio: ReadonlyMap<string, FindingType> = new Map([
  ['EMAIL_ADDRESS', 'email'],
  ['CREDIT_CARD', 'credit-card'],
  ['US_SSN', 'us-ssn'],
  ['IBAN_CODE', 'iban'],
  ['IP_ADDRESS', 'ip'],
  ['PHONE_NUMBER', 'phone'],
]);

/**
 * Scores the scanner on the sets in `dir` (every JSON file below `pii/` in Presidio's format), or on the project's own generated one.
 * A finding counts if it is more likely than not, and is right if a label of its type covers at least half of the two together. Prints one line a type with `print`.
 * The last score has the type `all`. Throws if a file cannot be read.
 */
export function evaluate(dir?: string, print: (line: string) => void = (line) => void process.stdout.write(`${line}\n`)): Score[] {
  const documents = dir === undefined ? generateDocuments(20_261, 4000) : readdirSync(join(dir, 'pii')).filter((name) => name.endsWith('.json')).toSorted().flatMap((name) => loadPresidio(join(dir, 'pii', name)));
  const scores = score(documents);
  print(`${'type'.padEnd(14)} ${'P'.padStart(6)} ${'R'.padStart(6)} ${'labels'.padStart(7)}`);
  for (const s of scores) print(`${s.type.padEnd(14)} ${s.precision.toFixed(3).padStart(6)} ${s.recall.toFixed(3).padStart(6)} ${String(s.truePositives + s.falseNegatives).padStart(7)}`);
  return scores;
}

/** Precision and recall of the scanner on labelled documents, by type, and for all types together, of what is more likely than not. Types without label or finding count as 1. */
export function score(documents: readonly LabelledDocument[]): Score[] {
  const counts = new Map<string, { tp: number; fp: number; fn: number }>();
  const count = (type: string): { tp: number; fp: number; fn: number } => {
    const c = counts.get(type) ?? { tp: 0, fp: 0, fn: 0 };
    counts.set(type, c);
    return c;
  };
  for (const { text, labels } of documents) {
    const found = scan(text).filter(({ confidence }) => confidence >= 0.5);
    const open = new Set(labels);
    for (const finding of found) {
      const match = [...open].find((label) => label.type === finding.type && overlap(label, finding) >= 0.5);
      if (match) open.delete(match);
      if (match) count(finding.type).tp += 1;
      else count(finding.type).fp += 1;
    }
    for (const label of open) count(label.type).fn += 1;
  }
  const all = { tp: 0, fp: 0, fn: 0 };
  for (const c of counts.values()) {
    all.tp += c.tp;
    all.fp += c.fp;
    all.fn += c.fn;
  }
  return [...[...counts].sort(([a], [b]) => (a < b ? -1 : 1)), ['all', all] as const].map(([type, { tp, fp, fn }]) => ({
    type,
    precision: tp + fp === 0 ? 1 : tp / (tp + fp),
    recall: tp + fn === 0 ? 1 : tp / (tp + fn),
    truePositives: tp,
    falsePositives: fp,
    falseNegatives: fn,
  }));
}

type Span = Pick<Finding, 'start' | 'end'>;

function overlap(a: Span, b: Span): number {
  const both = Math.min(a.end, b.end) - Math.max(a.start, b.start);
  return both <= 0 ? 0 : both / (Math.max(a.end, b.end) - Math.min(a.start, b.start));
}

interface PresidioDocument {
  readonly full_text: string;
  readonly spans: readonly { readonly entity_type: string; readonly start_position: number; readonly end_position: number }[];
}

function loadPresidio(file: string): LabelledDocument[] {
  const documents = JSON.parse(readFileSync(file, 'utf8')) as PresidioDocument[];
  // Other files may lie beside the sets.
  if (!Array.isArray(documents)) return [];
  return documents.filter((one) => typeof one.full_text === 'string' && Array.isArray(one.spans)).map(({ full_text, spans }) => ({
    // Presidio counts code points; strings here count UTF-16 units.
    text: full_text,
    labels: spans.flatMap((span) => {
      const type = presidio.get(span.entity_type);
      if (type === undefined) return [];
      const start = units(full_text, span.start_position);
      return [{ type, start, end: start + units(full_text.slice(start), span.end_position - span.start_position) }];
    }),
  }));
}

function units(text: string, codePoints: number): number {
  let at = 0;
  for (let n = 0; n < codePoints && at < text.length; n += 1) at += (text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1;
  return at;
}
