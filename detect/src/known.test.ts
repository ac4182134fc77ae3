import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compileKnown, maskKnown } from './known.ts';
import { redact } from './redact.ts';
import { scan } from './scan.ts';

const secret = fc.string({ unit: 'grapheme', minLength: 8, maxLength: 40 }).filter((s) => s.trim().length >= 8 && s.isWellFormed());

test('a known value is found in any surroundings and in each usual encoding', () => {
  fc.assert(
    fc.property(secret, fc.string(), fc.string(), (value, before, after) => {
      const known = [value];
      const base64 = Buffer.from(`${before}${value}${after}`, 'utf8').toString('base64');
      const each = (form: (byte: number) => string): string => Array.from(Buffer.from(value), form).join('');
      const escaped = [each((byte) => `%${byte.toString(16).padStart(2, '0')}`), each((byte) => `&#${byte};`), each((byte) => `&#x${byte.toString(16).padStart(2, '0').toUpperCase()};`), each((byte) => `\\u00${byte.toString(16).padStart(2, '0')}`)];
      const encodings = [value, JSON.stringify(value).slice(1, -1), encodeURIComponent(value), Buffer.from(value).toString('hex'), [...value].join('\0'), ...escaped].map((form) => `${before}${form}${after}`);
      for (const text of [...encodings, base64]) {
        assert.ok(
          scan(text, { known }).some(({ type }) => type === 'known-secret'),
          text,
        );
        assert.ok(
          scan(Buffer.from(text), { known }).some(({ type }) => type === 'known-secret'),
          text,
        );
      }
    }),
    { numRuns: 300 },
  );
});

test('nothing of a known value is left after redaction', () => {
  fc.assert(
    fc.property(secret, fc.array(fc.string(), { maxLength: 5 }), (value, parts) => {
      const out = redact(parts.join(value), [value]);
      assert.ok(!out.includes(value) || '[redacted:known-secret]'.includes(value));
    }),
  );
});

test('masking in JSON keeps it JSON', () => {
  fc.assert(
    fc.property(secret, fc.string(), (value, rest) => {
      const text = JSON.stringify({ a: `${rest}${value}`, b: [value] });
      const out = JSON.parse(maskKnown(text, [value])) as { b: string[] };
      assert.deepEqual(out.b, ['[redacted:known-secret]']);
    }),
  );
});

test('short values are not searched for, and an array is compiled once', () => {
  assert.deepEqual(scan('abc abc', { known: ['abc'] }), []);
  const known = ['a-long-secret'];
  assert.equal(compileKnown(known), compileKnown(known));
});
