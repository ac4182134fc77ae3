/** What a record says of a request is bounded, whatever the request says. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { httpRecord } from './records.ts';

const seen = { sandbox: 's', time: 0, correlation: 'c' };
const place = { name: 'api.test', port: 443, tls: true };

test('a method and a path that are no plain ones are cut and escaped; plain ones are there as they are', () => {
  const odd = httpRecord(seen, place, `m${'x'.repeat(5000)}\u202e`, `/${'y'.repeat(5000)}\u001b[2J`, 'deny', 'denied');
  assert.ok(JSON.stringify(odd).length < 2000);
  assert.ok(!/[\u001b\u202e]/.test(JSON.stringify(odd)));
  for (const method of ['GET', 'PROPFIND', '']) {
    const { message, data } = httpRecord(seen, place, method, '/x', 'allow', 'allowed');
    assert.equal(message, `${method} https://api.test/x: allowed`);
    assert.deepEqual(data, { method, host: 'api.test', port: 443, path: '/x', tls: true });
  }
});
