/** House rules that a file can break: size, first line, names, ambient state, unfinished work, names of places outside. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { linesMatching, paths, read, sources, type SourceFile } from './tree.ts';

const production = sources({ tests: false });
const everything = sources({ tests: true });
const typescript = everything.filter((file) => file.path.endsWith('.ts'));

/** All offending lines in `files`, with places. */
const offences = (files: readonly SourceFile[], pattern: RegExp, comments = false): string[] => files.flatMap((file) => linesMatching(file, pattern, { comments }));
const lineCount = (file: SourceFile): number => file.text.split('\n').length - 1;

test('files were read', () => {
  assert.ok(production.length > 50, `${production.length} production files`);
});

test('a file has at most 500 lines, half of them at most 100', (t) => {
  assert.deepEqual(
    everything.filter((file) => lineCount(file) > 500).map((file) => `${file.path}: ${lineCount(file)}`),
    [],
  );
  const counts = production.map(lineCount).sort((a, b) => a - b);
  const median = counts[Math.floor(counts.length / 2)] ?? 0;
  t.diagnostic(`${counts.length} production files, median ${median} lines, largest ${counts.at(-1)}`);
  assert.ok(median <= 100, `median ${median}`);
});

test('a file begins with one sentence that says what it is for', () => {
  const first = (file: SourceFile): string => file.text.split('\n').find((line) => line !== '' && !line.startsWith('#!')) ?? '';
  assert.deepEqual(
    production.filter((file) => !first(file).startsWith('/*')).map((file) => file.path),
    [],
  );
});

test('file names are kebab-case', () => {
  const wrong = paths(['.ts', '.c', '.h']).filter((path) => !/^[a-z0-9]+([-._][a-z0-9]+)*$/.test(path.split('/').at(-1) ?? ''));
  assert.deepEqual(wrong, []);
});

test('SQL is only in the adapter of the store', () => {
  const sql = /\b(SELECT\s.+\sFROM|INSERT\s+(OR\s+\w+\s+)?INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|CREATE\s+TABLE|PRAGMA\s+\w+)\b/;
  const holders = production.filter((file) => linesMatching(file, sql, { comments: false }).length > 0 || /from 'node:sqlite'/.test(file.text)).map((file) => file.path);
  assert.deepEqual(
    holders.filter((path) => !/^gateway\/src\/store\/sqlite[a-z-]*\.ts$/.test(path)),
    [],
  );
});

test('time and chance come from a clock and ids that are passed in', () => {
  const product = production.filter(
    (file) =>
      file.path.endsWith('.ts') && !file.path.startsWith('proof/') && !/(^|\/)bench[a-z-]*\.ts$/.test(file.path) && !/(clock|ids)[a-z-]*\.ts$/.test(file.path) && !file.path.startsWith('blueprints/'),
  );
  assert.deepEqual(offences(product, /\b(Date\.now|Math\.random)\s*\(|\bnew Date\(\)/), []);
});

test('no `any`, no ignored types, no shell strings', () => {
  assert.deepEqual(offences(typescript, /(:|<|\bas)\s*any\b(?!-)|@ts-(ignore|nocheck|expect-error)/), []);
  assert.deepEqual(
    offences(
      production.filter((file) => file.path.endsWith('.ts')),
      /(?<![.\w])(execSync|exec)\(\s*[`'"]|shell:\s*true/,
    ),
    [],
  );
});

test('process.exit is left to the command line and to entry points', () => {
  const inner = production.filter((file) => file.path.endsWith('.ts') && !/^(cli|proof)\/|-main\.ts$|\/processes\/|\/bin\/|\/demo\/|\/bench-[a-z-]+\.ts$|-test-[a-z-]+\.ts$/.test(file.path));
  assert.deepEqual(offences(inner, /\bprocess\.exit\(/), []);
});

test('no work is left half done', () => {
  const words = new RegExp(['TO' + 'DO', 'FIX' + 'ME', '\\bXX' + 'X\\b', 'not ' + 'implemented', '\\bst' + 'ubs?\\b', '\\bfor ' + 'now\\b'].join('|'));
  const files = [...production.filter((file) => file.path.endsWith('.ts') || /\.[ch]$/.test(file.path)), ...paths(['.md', '.yaml', '.sh']).map(read)];
  assert.deepEqual(offences(files, words, true), []);
});

test('nothing names a place outside the project', () => {
  const outside = new RegExp(['\\.\\./sha' + 'red', '/wo' + 'rk/', '/tmp/te' + 'am'].join('|'));
  const files = [
    ...everything,
    ...paths(['.md', '.yaml', '.json', '.sh', '.js'])
      .filter((path) => path !== 'package-lock.json')
      .map(read),
    read('nemoclaw'),
  ];
  assert.deepEqual(offences(files, outside, true), []);
});
