/** Measures the scanner: throughput on generated traffic, precision and recall on generated labels. */
import type { Figure } from '@nemoclaw/contract';
import { score } from './evaluate.ts';
import { generateDocuments } from './generate.ts';
import { scan } from './scan.ts';

/** `pii.throughput` in MB/s (`p99` is the slow end) over 100 KB buffers of mixed prose, JSON and log lines; `pii.precision` and `pii.recall` 0 to 1. */
export function benchDetect(rounds = 60): Readonly<Record<'pii.throughput' | 'pii.precision' | 'pii.recall', Figure>> {
  const documents = generateDocuments(99, 3000);
  const filler = 'The quick answer is in the handbook, section four; ask the people on the second floor if it is not clear enough. ';
  const text = documents.map((d, i) => (i % 2 === 0 ? `{"id":${i},"role":"user","content":${JSON.stringify(filler + d.text)}}` : filler + filler + d.text)).join('\n');
  const bytes = Buffer.from(text).subarray(0, 100_000 * Math.floor(text.length / 100_000));
  const rates: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    for (let at = 0; at + 100_000 <= bytes.length; at += 100_000) {
      const t = process.hrtime.bigint();
      scan(bytes.subarray(at, at + 100_000));
      rates.push(1e5 / (Number(process.hrtime.bigint() - t) / 1e3));
    }
  }
  // The first fifth warms the compiler up.
  const sorted = rates.slice(rates.length / 5).sort((a, b) => b - a);
  const all = score(documents).at(-1);
  const single = (value: number): Figure => ({ p50: Math.round(value * 10_000) / 10_000, p99: Math.round(value * 10_000) / 10_000, unit: '', n: documents.length });
  return {
    'pii.throughput': { p50: Math.round(sorted[sorted.length >> 1] ?? 0), p99: Math.round(sorted[Math.floor(sorted.length * 0.99)] ?? 0), unit: 'MB/s', n: sorted.length },
    'pii.precision': single(all?.precision ?? 0),
    'pii.recall': single(all?.recall ?? 0),
  };
}

if (import.meta.main) process.stdout.write(`${JSON.stringify(benchDetect(), undefined, 2)}\n`);
