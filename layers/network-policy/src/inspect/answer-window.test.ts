/** The window over a passing answer: nothing found reaches the reader whole, and what passes is what came. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AnswerWindow } from './answer-window.ts';
import type { Found } from './findings.ts';

const values = ['4111 1111 1111 1111', '536-22-8145', 'DE89 3704 0044 0532 0130 00', 'ghp_16C7e42F292c6912E7710c838347Ae178B4a', 'jane.roe@example.org'];
const pem = `-----BEGIN PRIVATE KEY-----\n${'MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n'.repeat(90)}-----END PRIVATE KEY-----`;
const filler = fc.constantFrom('', 'some words ', 'a line\n', '{"key":"', '", ', 'data: ', '\n\n', 'é', 'number ', `${'long text without any break '.repeat(30)}`, `${'x, y; z\n'.repeat(400)}`);
const pieces = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 12 });

function cut(text: string, sizes: readonly number[], step: (chunk: Buffer) => void): void {
  const bytes = Buffer.from(text);
  for (let at = 0, i = 0; at < bytes.length; i += 1) {
    const size = (sizes[i % sizes.length] ?? 1) * (i % 5 === 4 ? 97 : 1);
    step(bytes.subarray(at, at + size));
    at += size;
  }
}

class Ended extends Error {}

test('a value is found however it is cut, and none of it was delivered by then', () => {
  fc.assert(fc.property(fc.array(filler, { maxLength: 6 }), fc.constantFrom(...values, pem), fc.array(filler, { maxLength: 3 }), pieces, (before, value, behind, sizes) => {
    const start = `${before.join('')} \n"`;
    let got = Buffer.alloc(0);
    const window = new AnswerWindow((all) => { if (all.some(({ confidence }) => confidence >= 0.9)) throw new Ended(); });
    assert.throws(() => {
      cut(`${start}${value}"\n${behind.join('')}`, sizes, (chunk) => { got = Buffer.concat([got, window.next(chunk)]); });
      got = Buffer.concat([got, window.rest()]);
    }, Ended, value);
    assert.ok(got.length <= Buffer.byteLength(start) && Buffer.from(start).subarray(0, got.length).equals(got), got.toString().slice(-80));
  }), { seed: 21, numRuns: 300 });
});

test('what passes is what came, in order, and each finding is told once', () => {
  fc.assert(fc.property(fc.array(fc.oneof(filler, fc.constantFrom(...values).map((value) => `\n${value}\n`)), { maxLength: 10 }), pieces, fc.boolean(), (parts, sizes, rests) => {
    const text = parts.join('');
    const found: Found[] = [];
    const window = new AnswerWindow((all) => { found.push(...all); });
    let got = Buffer.alloc(0);
    cut(text, sizes, (chunk) => {
      got = Buffer.concat([got, window.next(chunk)]);
      if (rests && chunk.includes(10)) got = Buffer.concat([got, window.rest()]);
    });
    got = Buffer.concat([got, window.rest()]);
    assert.ok(got.equals(Buffer.from(text)));
    assert.equal(window.holds, false);
    if (!rests) for (const type of ['credit-card', 'secret', 'email', 'iban'] as const) assert.equal(found.filter((one) => one.type === type && one.confidence >= 0.9).length, parts.filter((part) => part === `\n${values[{ 'credit-card': 0, iban: 2, secret: 3, email: 4 }[type]] ?? ''}\n`).length, type);
  }), { seed: 22, numRuns: 300 });
});

test('a longer number is not taken for the shorter one that it begins with', () => {
  const found: Found[] = [];
  const window = new AnswerWindow((all) => { found.push(...all); });
  const out = [window.next(Buffer.from('id 4111111111111111')), window.next(Buffer.from('2345 and more\n')), window.rest()];
  assert.equal(Buffer.concat(out).toString(), 'id 41111111111111112345 and more\n');
  assert.deepEqual(found, []);
});

test('what waits for its rest is little, and an event that ends with its line waits for nothing', () => {
  const window = new AnswerWindow(() => undefined);
  assert.equal(window.next(Buffer.from('data: {"a":1}\n\n')).toString(), 'data: {"a":1}\n\n');
  assert.ok(window.next(Buffer.from('word '.repeat(1000))).length >= 4700);
});
