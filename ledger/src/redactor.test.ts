import assert from 'node:assert/strict';
import { test } from 'node:test';
import canonicalize from 'canonicalize';
import fc from 'fast-check';
import { redactor } from './redactor.ts';
import { event } from './test-kit.ts';

test('every string and key is masked: known secrets, tokens, personal data', () => {
  const redact = redactor({ known: ['placeholder-key-4711'] });
  const out = redact(
    event('jane@example.org used placeholder-key-4711', {
      correlation: 'apr_1',
      decision: { action: 'mail.send', rules: [{ id: 'r[0]' }], reason: 'to bob@example.org', policyVersion: 3, decidedBy: 'table', micros: 4 },
      data: { 'key carol@example.org': 1, deep: [{ card: '4111 1111 1111 1111', token: 'ghp_16C7e42F292c6912E7710c838347Ae178B4a' }], password: 'plain', address: '203.0.113.9' },
    }),
  );
  const text = JSON.stringify(out);
  for (const leak of ['jane', 'bob', 'carol', '4711', '4111', 'ghp_', 'plain']) assert.ok(!text.includes(leak), leak);
  assert.ok(text.includes('203.0.113.9'), 'what was connected to is what the record is about');
  assert.equal(out.decision?.action, 'mail.send');
});

test('payloads are withheld unless the event is marked and the ledger may keep them; then they are still masked', () => {
  const data = { payload: 'hello jane@example.org', nested: { requestBody: { a: 1 } }, logPayloads: true };
  const never = JSON.stringify(redactor().call(undefined, event('x', { data })));
  assert.ok(!never.includes('hello') && never.includes('"withheld":true'));
  const marked = JSON.stringify(redactor({ payloads: 'as-marked' })(event('x', { data })));
  assert.ok(marked.includes('hello [redacted:email]'));
  assert.ok(!JSON.stringify(redactor({ payloads: 'as-marked' })(event('x', { data: { ...data, logPayloads: 'yes' } }))).includes('hello'));
});

test('anything a source may send becomes an event that can be chained', () => {
  const redact = redactor();
  fc.assert(
    fc.property(fc.anything({ withBigInt: true, withNullPrototype: true, withObjectString: true }), (data) => {
      for (const raw of [data, { ...event('m'), data }, { ...event('m'), decision: data }, { class: data, time: data, message: data }]) {
        const out = redact(raw);
        assert.equal(typeof out.message, 'string');
        assert.ok((canonicalize(out) ?? '').length > 0);
      }
    }),
    { numRuns: 500 },
  );
});

test('hostile shapes: deep, huge, with __proto__ and lone surrogates', () => {
  const redact = redactor();
  let deep: unknown = 'end';
  for (let i = 0; i < 50_000; i += 1) deep = { a: deep };
  assert.ok(JSON.stringify(redact(event('deep', { data: { deep } }))).length < 2000);
  assert.equal(redact(event('payload', { data: { body: deep } })).data?.['malformed'] === undefined, false);
  const huge = redact(event('huge', { data: { list: Array.from({ length: 50_000 }, (_, i) => `item ${i} of many`) } }));
  assert.equal(huge.data?.['withheld'], 'the event was too large');
  const proto = redact(JSON.parse('{"class":"httpActivity","activity":1,"severity":1,"time":1,"sandbox":"","layer":"proxy","message":"\\ud800","data":{"__proto__":{"polluted":1}}}'));
  assert.ok(proto.message.isWellFormed());
  assert.equal(({} as { polluted?: unknown }).polluted, undefined);
  assert.ok(JSON.stringify(proto).includes('polluted'));
});
