/** proof/SPECIFICATION.md and the measurements name each other: nothing is promised without a proof that exists, nothing is measured in secret. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { paths, projectFolder, read } from './tree.ts';

const text = read('proof/SPECIFICATION.md').text;
const rows = text
  .split('\n')
  .filter((line) => line.startsWith('|') && !/^\|\s*(promise|-)/.test(line))
  .map((line) =>
    line
      .slice(1, -1)
      .split(/(?<!\\)\|/)
      .map((cell) => cell.trim()),
  );
const promise = (row: readonly string[]): string => row[0] ?? '';
const proof = (row: readonly string[]): string => row.at(-2) ?? '';
const state = (row: readonly string[]): string => row.at(-1) ?? '';
const isPending = (row: readonly string[]): boolean => state(row) === '*pending*';

const figureName = /`((?:syscall|sandbox|work|network|proxy|policy|router|pipeline|approval|pii|ledger|cli)\.[a-z0-9.]+)`/g;
/** The names that reports use; the one list of them. */
const reported = [
  'syscall.open',
  'sandbox.launch',
  'sandbox.launch.alone',
  'sandbox.create',
  'sandbox.destroy',
  'sandbox.memory',
  'sandbox.scale',
  'sandbox.scale.idle',
  'network.apply',
  'proxy.added',
  'proxy.rate',
  'proxy.handshakes',
  'proxy.fairness',
  'policy.decide',
  'policy.replay',
  'router.added',
  'router.added.100k',
  'router.rate',
  'pipeline.first',
  'pipeline.later',
  'approval.resume',
  'pii.precision',
  'pii.recall',
  'pii.throughput',
  'pii.throughput.hyperscan',
  'ledger.append',
  'ledger.commit',
  'ledger.search',
  'cli.start',
];
const benchFiles = paths(['.ts'])
  .filter((path) => /(^|\/)(bench|evaluate)[a-z-]*\.ts$/.test(path) || /^proof\/(performance|evaluate)\//.test(path))
  .map(read);
const measured = new Set(
  benchFiles.flatMap((file) => [...file.text.matchAll(/['"`]((?:syscall|sandbox|work|network|proxy|policy|router|pipeline|approval|pii|ledger|cli)\.[a-z0-9.]+)['"`]/g)].map((match) => match[1] ?? '')),
);
const named = new Set([...text.matchAll(figureName)].map((match) => match[1] ?? ''));

test('there are promises, and each says how it stands', () => {
  assert.ok(rows.length >= 35, String(rows.length));
  assert.deepEqual(rows.filter((row) => !['*pending*', 'tested', 'measured'].includes(state(row))).map(promise), []);
});

test('every test that is named exists', () => {
  const missing: string[] = [];
  for (const row of rows) {
    for (const [, path = '', words = ''] of proof(row).matchAll(/test `([^`]+)` "([^"]+)"/g)) {
      if (!existsSync(join(projectFolder, path))) missing.push(`${promise(row)}: no ${path}`);
      else if (!read(path).text.includes(words)) missing.push(`${promise(row)}: ${path} has no test "${words}"`);
    }
  }
  assert.deepEqual(missing, []);
});

test('what is not pending has a proof', () => {
  for (const row of rows.filter((r) => !isPending(r))) {
    const figures = [...proof(row).matchAll(figureName)].map((match) => match[1] ?? '');
    if (state(row) === 'tested') assert.match(proof(row), /test `/, promise(row));
    else assert.deepEqual({ promise: promise(row), notMeasured: figures.filter((name) => !measured.has(name)), some: figures.length > 0 }, { promise: promise(row), notMeasured: [], some: true });
  }
});

test('every figure that reports use is promised, and every figure that is measured belongs to a promise', () => {
  assert.deepEqual(
    reported.filter((name) => !named.has(name)),
    [],
  );
  const roots = [...named];
  assert.deepEqual(
    [...measured].filter(
      (name) => !/\.(ya?ml|json|ts|js)$/.test(name) && !roots.some((root) => name === root || name.startsWith(`${root}.`) || root.startsWith(`${name.split('.')[0]}.${name.split('.')[1]}`)),
    ),
    [],
  );
});

test('the README claims no figure that is pending', () => {
  const readme = read('README.md').text;
  const pending = new Set(rows.filter(isPending).flatMap((row) => [...proof(row).matchAll(figureName)].map((match) => match[1] ?? '')));
  assert.deepEqual(
    [...readme.matchAll(figureName)].map((match) => match[1] ?? '').filter((name) => pending.has(name)),
    [],
  );
});
