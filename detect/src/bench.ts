/** Measures the scanner: throughput on generated traffic and on real text, precision and recall on generated labels, false positives on real code. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Figure } from '@nemoclaw/contract';
import { score } from './evaluate.ts';
import { generateDocuments } from './generate.ts';
import { findHyperscan } from './hyperscan-setup.ts';
import { loadHyperscan } from './hyperscan.ts';
import { scan } from './scan.ts';

/** Names of what is measured here. `pii.throughput.hyperscan` only where the library is there. */
export type DetectFigures = Readonly<Partial<Record<'pii.throughput' | 'pii.throughput.hyperscan' | 'pii.precision' | 'pii.recall' | 'pii.mistaken.code' | 'pii.mistaken.readme', Figure>>>;

const piece = 100_000;

/**
 * `pii.throughput` in MB/s (`p99` is the slow end) over 100 KB buffers of mixed prose, JSON and log lines, most of which hold something; `.hyperscan` over source code and
 * READMEs, which mostly do not, with the scanner alone beside it. `pii.precision` and `pii.recall` 0 to 1. `pii.mistaken.*`: the share of 2 KB pieces of the packages'
 * own code and READMEs in which a card, social security or account number, or a credential of a known format is found (`p99`: anything at all).
 */
function benchDetect(rounds = 60, tell: (why: string) => void = () => undefined): DetectFigures {
  const documents = generateDocuments(99, 3000);
  const filler = 'The quick answer is in the handbook, section four; ask the people on the second floor if it is not clear enough. ';
  const text = documents.map((d, i) => (i % 2 === 0 ? `{"id":${i},"role":"user","content":${JSON.stringify(filler + d.text)}}` : filler + filler + d.text)).join('\n');
  const all = score(documents).at(-1);
  const single = (value: number): Figure => ({ p50: Math.round(value * 10_000) / 10_000, p99: Math.round(value * 10_000) / 10_000, unit: '', n: documents.length });
  const code = realText(/\.(?:[cm]?js|ts)$/, 4_000_000);
  const readmes = realText(/\.md$/i, 2_000_000);
  const real = Buffer.concat([Buffer.from(code, 'latin1'), Buffer.from(readmes, 'latin1')]);
  const library = findHyperscan(tell);
  const hyperscan = library === undefined ? undefined : loadHyperscan(tell, library);
  return {
    'pii.throughput': rate(Buffer.from(text), scan, rounds),
    ...(hyperscan ? { 'pii.throughput.hyperscan': { ...rate(real, (bytes) => hyperscan(bytes), rounds / 6), peers: { javascript: rate(real, scan, rounds / 6) } } } : {}),
    'pii.precision': single(all?.precision ?? 0),
    'pii.recall': single(all?.recall ?? 0),
    'pii.mistaken.code': falsePositives(code),
    'pii.mistaken.readme': falsePositives(readmes),
  };
}

function rate(bytes: Buffer, find: (bytes: Buffer) => unknown, rounds: number): Figure {
  const rates: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    for (let at = 0; at + piece <= bytes.length; at += piece) {
      const t = process.hrtime.bigint();
      find(bytes.subarray(at, at + piece));
      rates.push(piece / (Number(process.hrtime.bigint() - t) / 1e3));
    }
  }
  // The first fifth warms the compiler up.
  const sorted = rates.slice(rates.length / 5).sort((a, b) => b - a);
  return { p50: Math.round(sorted[sorted.length >> 1] ?? 0), p99: Math.round(sorted[Math.floor(sorted.length * 0.99)] ?? 0), unit: 'MB/s', n: sorted.length };
}

/** Files of the installed packages, in the order of their names, so that every run reads the same. */
function realText(name: RegExp, most: number): string {
  const packages = join(import.meta.dirname, '../../node_modules');
  let out = '';
  for (const file of readdirSync(packages, { recursive: true, encoding: 'utf8' }).filter((path) => name.test(path) && !path.startsWith('@nemoclaw') && !path.startsWith('.cache')).toSorted()) {
    if (out.length >= most) break;
    out += readFileSync(join(packages, file), 'latin1').slice(0, 200_000);
  }
  return out;
}

const hard = new Set(['credit-card', 'us-ssn', 'iban', 'secret']);

function falsePositives(text: string): Figure {
  let [pieces, any, sure] = [0, 0, 0];
  for (let at = 0; at < text.length; at += 2048) {
    const found = scan(text.slice(at, at + 2048));
    pieces += 1;
    if (found.length > 0) any += 1;
    if (found.some(({ type, confidence }) => hard.has(type) && confidence >= 0.9)) sure += 1;
  }
  return { p50: Math.round((sure / pieces) * 10_000) / 10_000, p99: Math.round((any / pieces) * 10_000) / 10_000, unit: '', n: pieces };
}

if (import.meta.main) process.stdout.write(`${JSON.stringify(benchDetect(60, (why) => void process.stderr.write(`NOT MEASURED: pii.throughput.hyperscan. ${why}\n`)), undefined, 2)}\n`);
