/** What the table of the proxy shows of its figures; nothing here measures time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cells, figuresOf, quickCells } from '../../layers/network-policy/src/bench/bench-cells.ts';
import type { Figures } from './figure.ts';
import { isTableCell, proxyTable } from './proxy-table.ts';

test('every cell of the table has its own name, a row shows every way, and a short run has some of them', () => {
  const names = figuresOf(cells);
  assert.equal(new Set(names).size, 2 * 2 * 3 * 3 * 3);
  assert.ok(names.every(isTableCell) && !isTableCell('proxy.table') && !isTableCell('proxy.rate'));
  assert.ok(quickCells.length >= 4 && quickCells.every((cell) => cells.includes(cell)));
  const one = (value: number): { p50: number; p99: number; unit: string; n: number } => ({ p50: value, p99: value * 2, unit: 'ms', n: 9 });
  const figures: Figures = Object.fromEntries(cells.flatMap(({ name }) => [
    [name, { ...one(5), peers: { direct: one(1), mitmproxy: one(50) } }],
    [`${name}.rate`, { ...one(2000), peers: { direct: one(9000), mitmproxy: one(100) } }],
    [`${name}.cpu`, { ...one(150), peers: { mitmproxy: one(4000) } }],
  ]));
  const shown = proxyTable(figures) ?? '';
  assert.equal(shown.split('\n').filter((line) => /^(1k|100k|1m) × (1|32|256) /.test(line)).length, 36);
  assert.match(shown, /^1k × 32 +1\.00\/2\.00 9000\/s +5\.00\/10\.0 2000\/s 150µs +50\.0\/100 100\/s 4000µs$/m);
  assert.match(shown, /^1m × 32 +1\.00\/2\.00 9437 MB\/s /m);
  assert.equal(proxyTable({}), undefined);
});
