/** Attribute expressions: what parses, what it gives, and that nothing inherited is ever read. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { evaluateAttribute, parseAttribute } from './attribute.ts';

const document = new Map<string, unknown>([['amount', 12_345], ['to', { list: [{ mail: 'a@x.org' }] }], ['odd name', 1], ['text', '5']]);
const value = (text: string): unknown => {
  const expression = parseAttribute(text);
  assert.ok(expression, text);
  return evaluateAttribute(expression, document);
};

test('paths and arithmetic by constants, from left to right', () => {
  assert.equal(value('$.amount'), 12_345);
  assert.equal(value('$.amount / 100'), 123.45);
  assert.equal(value('$.amount + 5 * 2 - 100'), 24_600);
  assert.equal(value('$.to.list[0].mail'), 'a@x.org');
  assert.equal(value("$['odd name']"), 1);
});

test('what is not there, not a number, or inherited is undefined', () => {
  for (const text of ['$.nothing', '$.to.list[9].mail', '$.text * 1', '$.to.constructor', '$.to.list.length', '$.to.__proto__', '$.text.length']) assert.equal(value(text), undefined, text);
});

test('anything else does not parse', () => {
  for (const text of ['', '$', 'amount', '$.a / 0', '$.a + $.b', '$.a()', '$..a', '$.a[-1]', '$.a[*]', '$.a; x', '$.a / 1e400', `$${'.a'.repeat(17)}`]) assert.equal(parseAttribute(text), undefined, text);
});
