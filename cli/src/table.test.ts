/** Columns, ages and remaining times. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fakeWorld } from './fake-gateway.ts';
import type { CliContext } from './context.ts';
import { age, remaining, table, wrapped } from './table.ts';
import { mark } from './verdict-mark.ts';
import { forPeople } from './quiet-output.ts';

const contextFor = (tty: boolean): CliContext => ({ world: fakeWorld('/x', { tty }).world }) as unknown as CliContext;

test('colour does not shift columns, and a pipe gets no colour', () => {
  const context = contextFor(true);
  const lines = table(
    context,
    ['A', 'B'],
    [
      [mark(context, 'Denied'), 'x'],
      ['plain', 'y'],
    ],
  ).split('\n');
  const plain = lines.map((line) => line.replaceAll(/\u001b\[\d+m/g, ''));
  assert.deepEqual(
    plain.map((line) => line.search(/[Bxy]$/)),
    [10, 10, 10],
  );
  assert.equal(table(contextFor(false), ['A', 'B'], [['a\tb', 'c']]), 'a b\tc');
});

test('a line fits the terminal: the widest texts are cut, columns without a word are left out', () => {
  const rows = [
    ['Allowed', 'a'.repeat(90), '-', 'rule-1'],
    ['Denied', 'short', '', 'r'.repeat(60)],
  ];
  const lines = table(contextFor(true), ['VERDICT', 'WHAT', 'NOTE', 'RULE'], rows).split('\n').map((line) => line.replaceAll(/\u001b\[\d+m/g, ''));
  assert.ok(lines.every((line) => line.length <= 120), String(lines.map((line) => line.length)));
  assert.ok(lines.some((line) => line.length === 120) && lines[1]?.includes('a…  rule-1') && !lines[0]?.includes('NOTE'), lines.join('\n'));
  assert.equal(table(contextFor(false), ['VERDICT', 'WHAT', 'NOTE', 'RULE'], rows).split('\n')[0], `Allowed\t${'a'.repeat(90)}\t-\trule-1`);
});

test('long lines are broken at spaces, and inside what has none', () => {
  assert.equal(wrapped('one two three four five six', 24, '  '), 'one two three four five\n  six');
  assert.equal(wrapped(`${'x'.repeat(30)} y`, 24, '  '), `${'x'.repeat(24)}\n  ${'x'.repeat(6)} y`);
  assert.equal(wrapped('one two', undefined, '  '), 'one two');
});

test('ages and remaining times', () => {
  assert.deepEqual([age(10_000, 4_000), age(200_000, 0), age(7_200_000, 0), age(864e5 * 3, 0), age(0, 50)], ['6s', '3m', '2h', '3d', '0s']);
  assert.deepEqual([remaining(0, 872_000), remaining(0, 3_661_000), remaining(5, 5), remaining(9, 1)], ['14:32', '1:01:01', 'over', 'over']);
});

test('what an agent prints cannot steer a terminal, even when cut inside a character', async () => {
  const written: string[] = [];
  const out = await forPeople({ isTTY: true, write: (data) => written.push(String(data)) });
  const bytes = Buffer.from('a\tb\u001b]52;c;eA==\u0007\r\nž\u202ex');
  for (const byte of bytes) out.write(Buffer.from([byte]));
  const shown = written.join('');
  assert.match(shown, /^a\tb\\u\{1b\}\]52;c;eA==\\u\{7\}/);
  assert.ok(shown.includes('ž') && !/[\u001b\u0007\u202e]/.test(shown), JSON.stringify(shown));
  const pipe = { write: () => undefined };
  assert.equal(await forPeople(pipe), pipe);
});
