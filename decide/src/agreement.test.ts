/** `decide` and plain Cedar over the policy's text agree on generated policies and requests; an encoded policy decides as before. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { ActionRequest } from '@nemoclaw/contract';
import { decideByCedar } from './cedar-plain.ts';
import { toCedarText } from './cedar-text.ts';
import { decodePolicy, encodePolicy } from './codec.ts';
import { decide } from './decide.ts';
import { policies, requests } from './generated.test.ts';
import type { CompiledPolicy } from './policy.ts';

const total = Number(process.env['NEMOCLAW_AGREEMENT'] ?? '20000');
const perPolicy = 100;

test(`decide agrees with Cedar alone on ${total} requests`, () => {
  const seen = { allow: 0, deny: 0, escalate: 0 };
  let count = 0;
  fc.assert(
    fc.property(policies, fc.array(requests, { minLength: perPolicy, maxLength: perPolicy, size: 'max' }), (policy, makers) => {
      const plain = decideByCedar(policy);
      for (const make of makers) {
        const request = make(policy);
        const ours = decide(policy, request);
        const theirs = plain(request);
        if (ours.verdict !== theirs) assert.fail(`ours ${ours.verdict} (${ours.rules.map((r) => r.id).join(', ')}: ${ours.reason}), Cedar ${theirs}\n${show(request)}\n${toCedarText(policy)}`);
        assert.ok(ours.rules.length > 0 && ours.reason !== '' && ours.hint !== '');
        seen[theirs] += 1;
        count += 1;
      }
    }),
    { numRuns: Math.ceil(total / perPolicy), endOnFailure: true },
  );
  assert.ok(count >= total);
  // the test means nothing if the generators do not reach every answer
  for (const [verdict, n] of Object.entries(seen)) assert.ok(n > count / 100, `${verdict}: ${n} of ${count}`);
});

test('decode(encode(policy)) decides the same, and equal policies give equal bytes', () => {
  fc.assert(
    fc.property(policies, fc.array(requests, { minLength: 20, maxLength: 20 }), (policy, makers) => {
      const bytes = encodePolicy(policy);
      const again = decodePolicy(bytes);
      assert.deepEqual(encodePolicy(again), bytes);
      for (const make of makers) {
        const request = make(policy);
        assert.deepEqual(timeless(again, request), timeless(policy, request));
      }
    }),
    { numRuns: 100 },
  );
});

function timeless(policy: CompiledPolicy, request: ActionRequest): object {
  return { ...decide(policy, request), micros: 0 };
}

function show(request: ActionRequest): string {
  return JSON.stringify({ ...request, params: [...request.params] });
}
