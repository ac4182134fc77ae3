/** Numbers and keys on which two JSON parsers disagree. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { foldKey, hasInexactNumber } from './exact-json.ts';

test('numbers that another parser would read as another number are found', () => {
  for (const text of ['{"a":12345678901234567891}', '[9007199254740993]', '{"a":1e400}', '{"a":{"b":[-1e999]}}', '{"a":1e-400}', '{"a":0.1000000000000000000001}', `[${'9'.repeat(500)}]`]) assert.equal(hasInexactNumber(text), true, text);
});

test('ordinary numbers, and digits inside strings, are not', () => {
  for (const text of ['{"a":9007199254740992,"b":-1.5,"c":0,"d":1e20,"e":0.30000000000000004,"f":1E-7,"g":1760000000000,"h":0e0}', '{"a":"12345678901234567891","12345678901234567891":"\\"9007199254740993"}', '"1e999"', 'null']) assert.equal(hasInexactNumber(text), false, text);
});

test('keys fold as a parser that ignores case folds them', () => {
  assert.equal(foldKey('amountUsd'), foldKey('AMOUNTUSD'));
  assert.equal(foldKey('\u212aey'), foldKey('key'));
  assert.equal(foldKey('\u017fum'), foldKey('sum'));
  assert.notEqual(foldKey('a_b'), foldKey('ab'));
});
