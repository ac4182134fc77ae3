/** What a log says of an error that nobody caught. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorPlace } from './error-place.ts';

function thrown(work: () => unknown): unknown {
  try {
    return work();
  } catch (error) {
    return error;
  }
}

test('kind, code and place are told, and nothing that was read', () => {
  const read = 'carried-4711';
  const parsed = thrown(() => JSON.parse(`{"a":${read}`));
  assert.ok(String(parsed).includes(read.slice(0, 5)), 'its message would quote it');
  const invalid = thrown(() => Buffer.alloc(1).write(read, 'no' as BufferEncoding));
  const lines = new RangeError(`one\n    at ${read} (x)\n    at ${read}`);
  for (const error of [parsed, invalid, lines, read, { message: read }]) for (const frames of [1, 20]) assert.ok(!errorPlace(error, frames).includes(read.slice(0, 5)), errorPlace(error, frames));
  assert.match(errorPlace(parsed, 20), /^SyntaxError at JSON\.parse .*error-place\.test\.ts:\d+:\d+/);
  assert.match(errorPlace(Object.assign(new Error(read), { code: 'ECONNRESET' }), 1), /^Error ECONNRESET at .*error-place\.test\.ts:\d+/);
  assert.equal(errorPlace(lines, 1).split(' at ').length, 2);
});
