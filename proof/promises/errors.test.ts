/** One table of errors: every code that is used exists, every code that exists is used, and the documentation lists all. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorTable } from '@nemoclaw/contract';
import { paths, read } from './tree.ts';

const files = paths(['.ts', '.c', '.h', '.js'])
  .filter((path) => path !== 'contract/src/errors.ts')
  .map(read);
const used = new Map<string, string>();
for (const file of files) for (const [code] of file.text.matchAll(/\bNEMO_E_[A-Z0-9_]*[A-Z0-9]\b/g)) if (!used.has(code)) used.set(code, file.path);

test('every code that is used is in the table', () => {
  assert.ok(used.size > 0, 'codes were found');
  assert.deepEqual(
    [...used].filter(([code]) => !Object.hasOwn(errorTable, code)).map(([code, path]) => `${path}: ${code}`),
    [],
  );
});

test('every code of the table is used', () => {
  assert.deepEqual(
    Object.keys(errorTable).filter((code) => !used.has(code)),
    [],
  );
});

test('every code has a title, a fix and an exit code of the command line, and docs/errors.md shows them all', () => {
  const documented = read('docs/errors.md').text;
  for (const [code, entry] of Object.entries(errorTable)) {
    assert.ok(entry.title.length > 0 && entry.fix.length > 0, code);
    assert.ok([1, 2, 3, 4, 5].includes(entry.exit), code);
    assert.ok(
      documented.includes(`| \`${code}\` | ${entry.exit} | ${entry.title} | ${entry.fix} |`),
      `docs/errors.md lacks ${code} as it is in the table; run: node_modules/.bin/node docs/write-errors.ts`,
    );
  }
});
