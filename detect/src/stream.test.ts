/** A text in pieces gives what the whole gives. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Finding } from './finding.ts';
import { generateDocuments, makers } from './generate.ts';
import { Random } from './random.ts';
import { scan } from './scan.ts';
import { Scanner } from './stream.ts';

function inPieces(bytes: Buffer, cuts: readonly number[], known?: readonly string[]): Finding[] {
  const scanner = new Scanner(known ? { known } : {});
  const out: Finding[] = [];
  let from = 0;
  for (const cut of [...cuts, bytes.length]) {
    out.push(...scanner.push(bytes.subarray(from, cut)));
    from = Math.max(from, cut);
  }
  return [...out, ...scanner.end()];
}

const filler = fc.constantFrom('a ', 'x'.repeat(3000), '1'.repeat(5000), ' lorem ipsum dolor '.repeat(900), '-----BEGIN PRIVATE KEY-----\n', '-----END PRIVATE KEY-----', 'ghp_', '12 ', 'password="', '{"kty":"OKP","d":"', '\n'.repeat(9000), 'eyJ' + 'aB3_'.repeat(5000), '@', 'DE89 ', 'the-known-value', '::1:2');

test('wherever a stream is cut, the findings are those of the whole text', () => {
  const value = fc.tuple(fc.constantFrom<keyof typeof makers>('email', 'credit-card', 'us-ssn', 'iban', 'ip', 'phone', 'secret'), fc.nat()).map(([kind, seed]) => makers[kind](new Random(seed)));
  fc.assert(
    fc.property(fc.array(fc.oneof(filler, value, fc.constantFrom(' ', '\n', ': ')), { minLength: 1, maxLength: 40 }), fc.array(fc.nat(200_000), { maxLength: 12 }), fc.boolean(), (parts, cuts, withKnown) => {
      const bytes = Buffer.from(parts.join(''));
      const known = withKnown ? ['the-known-value'] : undefined;
      const sorted = cuts.filter((cut) => cut < bytes.length).toSorted((a, b) => a - b);
      assert.deepEqual(inPieces(bytes, sorted, known), scan(bytes, known ? { known } : {}));
    }),
    { numRuns: 300 },
  );
});

test('byte by byte is the same as at once', () => {
  const bytes = Buffer.from(generateDocuments(7, 250).map(({ text }) => text).join('\n'));
  assert.deepEqual(inPieces(bytes, Array.from({ length: bytes.length - 1 }, (_, i) => i + 1)), scan(bytes));
});
