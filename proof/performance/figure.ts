/** What a measurement gives: percentiles in a unit, and the same of other programs in the same run. */
import type { Figure, Percentiles } from '@nemoclaw/contract';
import { bounds, verdict } from './targets.ts';

export type { Figure, Percentiles };
export type Figures = Readonly<Record<string, Figure>>;

const rounded = (value: number): number => Number(value.toPrecision(4));

/** The value below which `share` (0 to 1) of the values lie. Throws for none: no figure is better than a wrong one. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const found = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
  if (found === undefined) throw new Error('nothing was measured');
  return found;
}

export function percentiles(values: readonly number[]): Percentiles {
  return { p50: rounded(percentile(values, 0.5)), p99: rounded(percentile(values, 0.99)) };
}

export function figure(values: readonly number[], unit: string, peers: Readonly<Record<string, readonly number[]>> = {}): Figure {
  return { ...percentiles(values), unit, n: values.length, peers: Object.fromEntries(Object.entries(peers).map(([name, of]) => [name, percentiles(of)])) };
}

/** What `values` have more than the median of `plain`: p99 is the slow hundredth above it, the machine's own noise included (`above(plain, plain)` says how much that is). */
export function above(values: readonly number[], plain: readonly number[]): Percentiles {
  const base = percentile(plain, 0.5);
  return { p50: rounded(percentile(values, 0.5) - base), p99: rounded(percentile(values, 0.99) - base) };
}

function shown(value: number): string {
  const size = Math.abs(value);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : size >= 0.1 || size === 0 ? 2 : 4);
}

/** Table for people, with what is promised; `×`: this program's p50 divided by the peer's. */
export function table(figures: Figures): string {
  const rows = [['figure', 'p50', 'p99', 'unit', 'n', 'promised', '', 'in the same run']];
  for (const [name, figure] of Object.entries(figures)) {
    const { p50, p99, unit, n, peers = {} } = figure;
    const others = Object.entries(peers).map(([peer, of]) => `${peer} ${shown(of.p50)} / ${shown(of.p99)}${of.p50 > 0 && p50 > 0 ? ` (× ${shown(p50 / of.p50)})` : ''}`);
    rows.push([name, shown(p50), shown(p99), unit, String(n), bounds(name), verdict(name, figure), others.join(', ')]);
  }
  const right = new Set([1, 2, 4]);
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  const line = (row: readonly string[]): string => row.map((cell, column) => (column === row.length - 1 ? cell : right.has(column) ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0))).join('  ');
  return rows.map((row) => line(row).trimEnd()).join('\n');
}
