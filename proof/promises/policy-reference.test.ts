/** docs/policy.md and the JSON Schemas say what the schemas, levels and tables say: every field has words, and the files are current. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { policyReference, policySchemas, unmatchedWords } from '../../docs/policy-reference.ts';
import { read } from './tree.ts';

const again = 'run: node_modules/.bin/node docs/write-policy.ts';

test('every field of a policy file is explained in docs/policy-words.ts, and nothing else is', () => {
  assert.deepEqual(unmatchedWords(), { fieldsWithoutWords: [], wordsWithoutField: [] });
});

test('docs/policy.md and docs/schemas are current', () => {
  const text = policyReference();
  for (const word of ['filesystem.escalate[].on[]', '`ephemeral`', '`.envrc`', 'process_vm_readv']) assert.ok(text.includes(word), word);
  assert.ok(read('docs/policy.md').text === text, `docs/policy.md is not current; ${again}`);
  for (const [name, schema] of policySchemas()) assert.ok(read(`docs/schemas/${name}`).text === schema, `docs/schemas/${name} is not current; ${again}`);
});
