import assert from 'node:assert/strict';
import { test } from 'node:test';
import canonicalize from 'canonicalize';
import fc from 'fast-check';
import { seal, noHead } from './chain.ts';
import { canonical, ordered } from './canonical.ts';
import { glance } from './glance.ts';
import { redactor } from './redactor.ts';
import { event } from './test-kit.ts';

const json = fc.jsonValue({ noUnicodeString: false }).filter((v) => typeof v === 'object' && v !== null) as fc.Arbitrary<object>;

test('the fast way gives what RFC 8785 says, ordered or not', () => {
  fc.assert(
    fc.property(json, (value) => {
      fc.pre(JSON.stringify(value).isWellFormed());
      let expected: string;
      try {
        expected = canonicalize(value) as string;
      } catch {
        return;
      }
      assert.equal(canonical(value), expected);
      assert.equal(canonical(ordered(value)), expected);
    }),
    { numRuns: 1000, examples: [[{ b: 1, a: { 10: 1, 9: 2 }, 1: [] }], [JSON.parse('{"z":1,"__proto__":{"b":1,"a":2}}') as object], [{ a: [{ c: -0, b: 1e21 }] }]] },
  );
});

test('a sealed line is canonical, and a glance sees what parsing sees', () => {
  const redact = redactor();
  fc.assert(
    fc.property(json, fc.string({ unit: 'binary' }), fc.option(fc.constantFrom('deny' as const, 'approved' as const)), (data, words, verdict) => {
      const e = redact({ ...event(words, { sandbox: words, ...(verdict !== null && { verdict }) }), data });
      const { line } = seal(e, { chain: 'chain_1', count: 7, head: noHead, typeUid: 3 }, { name: 'worker:1', run: words.toWellFormed(), seq: 9 }, 5);
      const record = JSON.parse(line) as { metadata: { sequence: number }; unmapped: { sandbox: string; source: unknown } };
      assert.equal(canonicalize(record), line);
      assert.deepEqual(glance(line), { sequence: 8, sandbox: record.unmapped.sandbox, source: record.unmapped.source });
    }),
    { numRuns: 1000 },
  );
});

test('a glance at what is no record sees nothing', () => {
  for (const line of ['', '{}', '{"ac', 'null', '{"action_id":1,"metadata":{"sequence":5}}']) assert.equal(glance(line), undefined);
});
