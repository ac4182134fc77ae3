/** The names of the figures are those of the specification; nothing here measures time. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkout } from '../harness/instance.ts';
import { groups } from './groups.ts';
import { targets } from './targets.ts';

const rows = readFileSync(join(checkout, 'proof/SPECIFICATION.md'), 'utf8').split('\n').filter((line) => line.startsWith('|'));
const namesIn = (text: string): string[] => [...text.matchAll(/`([a-z]+\.[a-z0-9.]+)`/g)].map((match) => match[1] ?? '');
const promised = new Set(rows.flatMap((row) => namesIn(/bench [^|]*/.exec(row)?.[0] ?? '')));
const names = groups.flatMap((group) => group.names);

test('every figure belongs to one that is promised, and has one place where it is made', () => {
  assert.ok(promised.size > 20, `${promised.size} promised figures`);
  assert.deepEqual(names.filter((name) => !promised.has(name) && ![...promised].some((one) => name.startsWith(`${one}.`))), []);
  assert.equal(new Set(names).size, names.length);
});

test('every figure that the specification calls measured is made', () => {
  const measured = rows.filter((row) => / measured \|$/.test(row)).flatMap((row) => namesIn(/bench [^|]*/.exec(row)?.[0] ?? ''));
  assert.ok(measured.length > 10, `${measured.length} measured figures`);
  assert.deepEqual(measured.filter((name) => !names.includes(name)), []);
});

test('the bounds that a run compares with stand in the specification', () => {
  assert.ok(Object.keys(targets).length > 20);
  for (const [name, { p50, p99 }] of Object.entries(targets)) {
    const root = [...promised].filter((one) => name === one || name.startsWith(`${one}.`)).toSorted((a, b) => b.length - a.length)[0] ?? '';
    const cells = rows.filter((row) => row.includes(`\`${root}\``)).map((row) => (row.split('|')[4] ?? '').replaceAll(',', ''));
    for (const bound of [p50, p99]) {
      const text = String(bound).replace(/^0\./, '0?\\.');
      if (bound !== undefined) assert.ok(cells.some((cell) => new RegExp(`[≤≥] ${text}\\b`).test(cell)), `${name} ${bound}: ${cells.join(' | ')}`);
    }
  }
});
